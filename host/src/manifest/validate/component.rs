//! The `[component.*]` sections.

use super::{Check, Components, Variables, is_words};
use crate::manifest::schema::{RawComponent, RawMount};
use crate::manifest::{ComponentDeclaration, HostEntry, Mount};
use crate::outbound::AllowedHost;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use toml::Spanned;

impl Check<'_> {
    pub(super) fn components(
        &mut self,
        raw: BTreeMap<Spanned<String>, RawComponent>,
        variables: &Variables,
    ) -> Components {
        let mut components = Components::new();
        for (id, raw) in raw {
            if !is_words(id.get_ref(), '-') {
                self.problem(
                    &id.span(),
                    format!(
                        "`{id}` is not a component id; write lower-case words joined with `-`",
                        id = id.get_ref()
                    ),
                );
            }
            self.unsupported(&raw);
            let declaration = ComponentDeclaration {
                source: self.source(&raw.source),
                files: raw
                    .files
                    .into_iter()
                    .filter_map(|mount| self.mount(mount))
                    .collect(),
                exclude_files: self.excluded(raw.exclude_files),
                key_value_stores: self.stores(raw.key_value_stores),
                allowed_outbound_hosts: raw
                    .allowed_outbound_hosts
                    .into_iter()
                    .filter_map(|host| self.host(&host, variables))
                    .collect(),
                variables: raw
                    .variables
                    .into_iter()
                    .filter_map(|(name, value)| {
                        self.variable_name(&name);
                        let template = self.template(&value, variables)?;
                        Some((name.into_inner(), template))
                    })
                    .collect(),
                environment: raw.environment,
            };
            components.insert(id.into_inner(), declaration);
        }
        components
    }

    /// What Spin knows and this host does not offer.
    fn unsupported(&mut self, raw: &RawComponent) {
        let lists = [
            (
                &raw.allowed_http_hosts,
                "`allowed_http_hosts` is of an older Spin; use `allowed_outbound_hosts`",
            ),
            (
                &raw.sqlite_databases,
                "`sqlite_databases` is not offered by this host; remove it or use `spin up`",
            ),
            (
                &raw.ai_models,
                "`ai_models` is not offered by this host; remove it or use `spin up`",
            ),
        ];
        for (list, message) in lists {
            if let Some(list) = list
                && !list.get_ref().is_empty()
            {
                self.problem(&list.span(), message);
            }
        }
        if let Some(dependencies) = &raw.dependencies
            && !dependencies.get_ref().is_empty()
        {
            self.problem(
                &dependencies.span(),
                "`dependencies` are not composed by this host; remove them or use `spin up`",
            );
        }
    }

    fn source(&mut self, source: &Spanned<toml::Value>) -> PathBuf {
        if let Some(path) = source.get_ref().as_str() {
            return self.directory.join(path);
        }
        self.problem(
            &source.span(),
            "`source` is not a path; this host runs local files only, such as \"target/…/component.wasm\"",
        );
        PathBuf::new()
    }

    fn mount(&mut self, mount: Spanned<RawMount>) -> Option<Mount> {
        let span = mount.span();
        match mount.into_inner() {
            RawMount::Pattern(pattern) => {
                if let Err(error) = glob::Pattern::new(&pattern) {
                    self.problem(
                        &span,
                        format!("`{pattern}` is not a glob pattern: {}", error.msg),
                    );
                    return None;
                }
                Some(Mount::Pattern(pattern))
            }
            RawMount::Placement {
                source,
                destination,
            } => {
                if !destination.starts_with('/') {
                    self.problem(
                        &span,
                        format!("`destination = \"{destination}\"` is not absolute; write \"/{destination}\""),
                    );
                    return None;
                }
                Some(Mount::Placement {
                    source: self.directory.join(source),
                    destination,
                })
            }
        }
    }

    fn excluded(&mut self, patterns: Vec<Spanned<String>>) -> Vec<glob::Pattern> {
        let parse = |pattern: Spanned<String>| match glob::Pattern::new(pattern.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let message = format!(
                    "`{}` is not a glob pattern: {}",
                    pattern.get_ref(),
                    error.msg
                );
                self.problem(&pattern.span(), message);
                None
            }
        };
        patterns.into_iter().filter_map(parse).collect()
    }

    /// A label becomes the name of a folder, so nothing but a plain word may pass.
    fn stores(&mut self, labels: Vec<Spanned<String>>) -> BTreeSet<String> {
        for label in &labels {
            if !is_words(label.get_ref(), '-') && !is_words(label.get_ref(), '_') {
                self.problem(
                    &label.span(),
                    format!(
                        "`{}` is not a store label; write lower-case words, such as \"default\"",
                        label.get_ref()
                    ),
                );
            }
        }
        labels.into_iter().map(Spanned::into_inner).collect()
    }

    fn host(&mut self, host: &Spanned<String>, variables: &Variables) -> Option<HostEntry> {
        let template = self.template(host, variables)?;
        let text = host.get_ref().clone();
        if template.variables().next().is_none()
            && let Err(error) = AllowedHost::parse(&text)
        {
            self.problem(&host.span(), error.to_string());
            return None;
        }
        let (line, _) = self.place(host.span().start);
        Some(HostEntry {
            text,
            template,
            line,
        })
    }
}
