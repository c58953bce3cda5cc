//! From what a manifest says to what it means; collects every problem on the way.

use super::schema::{RawComponent, RawCron, RawHttp, RawManifest, RawMount, RawRoute, RawVariable};
use super::{
    ComponentDeclaration, CronTrigger, HostEntry, HttpTrigger, Manifest, Mount, Problem,
    VariableDeclaration,
};
use crate::outbound::AllowedHost;
use crate::route::Route;
use crate::template::Template;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The manifest that `text` is, or all that is wrong with it.
pub(super) fn manifest(path: &Path, text: &str) -> Result<Manifest, Vec<Problem>> {
    let mut check = Check {
        text,
        directory: path.parent().unwrap_or(Path::new("")),
        problems: Vec::new(),
    };
    let raw: RawManifest = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let span = error.span().unwrap_or_default();
            check.problem(&span, error.message().trim().replace('\n', ", "));
            return Err(check.problems);
        }
    };
    let version = *raw.spin_manifest_version.get_ref();
    if version != 2 {
        check.problem(
            &raw.spin_manifest_version.span(),
            format!("`spin_manifest_version = {version}` is not known; write 2"),
        );
    }
    let variables = check.variables(raw.variables);
    let components = check.components(raw.component, &variables);
    let crons = raw.trigger.cron.into_iter();
    let routes = raw.trigger.http.into_iter();
    let manifest = Manifest {
        path: path.to_owned(),
        name: raw.application.name,
        version: raw.application.version,
        crons: crons
            .filter_map(|raw| check.cron(raw, &components))
            .collect(),
        routes: routes
            .filter_map(|raw| check.route(raw, &components))
            .collect(),
        variables,
        components,
    };
    if check.problems.is_empty() {
        Ok(manifest)
    } else {
        Err(check.problems)
    }
}

struct Check<'a> {
    text: &'a str,
    directory: &'a Path,
    problems: Vec<Problem>,
}

type Variables = BTreeMap<String, VariableDeclaration>;
type Components = BTreeMap<String, ComponentDeclaration>;

impl Check<'_> {
    fn problem(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let (line, column) = self.place(span.start);
        self.problems.push(Problem {
            line,
            column,
            message: message.into(),
        });
    }

    /// Line and column, from 1, of a byte offset.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    fn variables(&mut self, raw: BTreeMap<Spanned<String>, RawVariable>) -> Variables {
        let mut variables = Variables::new();
        for (name, raw) in raw {
            self.variable_name(&name);
            match (&raw.default, raw.required) {
                (Some(_), true) => self.problem(
                    &name.span(),
                    format!(
                        "variable `{name}` has a `default` and is `required`; keep one",
                        name = name.get_ref()
                    ),
                ),
                (None, false) => self.problem(
                    &name.span(),
                    format!(
                        "variable `{name}` needs `default = \"…\"` or `required = true`",
                        name = name.get_ref()
                    ),
                ),
                _ => {}
            }
            let declaration = VariableDeclaration {
                default: raw.default,
                secret: raw.secret,
            };
            variables.insert(name.into_inner(), declaration);
        }
        variables
    }

    fn variable_name(&mut self, name: &Spanned<String>) {
        if !is_words(name.get_ref(), '_') {
            self.problem(
                &name.span(),
                format!(
                    "`{name}` is not a variable name; write lower-case words joined with `_`",
                    name = name.get_ref()
                ),
            );
        }
    }

    fn components(
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

    fn template(&mut self, text: &Spanned<String>, variables: &Variables) -> Option<Template> {
        let template = match Template::parse(text.get_ref()) {
            Ok(template) => template,
            Err(error) => {
                self.problem(&text.span(), error.to_string());
                return None;
            }
        };
        let unknown: Vec<&str> = template
            .variables()
            .filter(|name| !variables.contains_key(*name))
            .collect();
        for name in &unknown {
            self.problem(
                &text.span(),
                format!("`{{{{ {name} }}}}` names no variable; declare `{name}` under [variables]"),
            );
        }
        unknown.is_empty().then_some(template)
    }

    fn cron(&mut self, raw: RawCron, components: &Components) -> Option<CronTrigger> {
        self.reference(&raw.component, components);
        let schedule = match raw.cron_expression.get_ref().parse() {
            Ok(schedule) => schedule,
            Err(error) => {
                let error: crate::schedule::ScheduleError = error;
                self.problem(&raw.cron_expression.span(), error.to_string());
                return None;
            }
        };
        Some(CronTrigger {
            component: raw.component.into_inner(),
            schedule,
        })
    }

    fn route(&mut self, raw: RawHttp, components: &Components) -> Option<HttpTrigger> {
        self.reference(&raw.component, components);
        if let Some(executor) = raw.executor
            && !matches!(executor.get_ref().r#type.as_str(), "spin" | "http")
        {
            self.problem(
                &executor.span(),
                "this host runs `wasi:http` components only; remove `executor`",
            );
        }
        let path = match raw.route.get_ref() {
            RawRoute::Path(path) => path,
            RawRoute::Private { private: true } => return None,
            RawRoute::Private { private: false } => {
                self.problem(
                    &raw.route.span(),
                    "`private = false` is no route; write the path",
                );
                return None;
            }
        };
        match Route::parse(path) {
            Ok(route) => Some(HttpTrigger {
                component: raw.component.into_inner(),
                route,
            }),
            Err(error) => {
                self.problem(&raw.route.span(), error.to_string());
                None
            }
        }
    }

    fn reference(&mut self, id: &Spanned<String>, components: &Components) {
        if !components.contains_key(id.get_ref()) {
            let known: Vec<&str> = components.keys().map(String::as_str).collect();
            self.problem(
                &id.span(),
                format!(
                    "no [component.{}] in this manifest; it has: {}",
                    id.get_ref(),
                    known.join(", ")
                ),
            );
        }
    }
}

/// Whether `name` is lower-case ASCII words, each starting with a letter, joined with `joint`:
/// the rule that Spin has for variable names (`_`) and component ids (`-`).
pub(crate) fn is_words(name: &str, joint: char) -> bool {
    name.split(joint).all(|word| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}
