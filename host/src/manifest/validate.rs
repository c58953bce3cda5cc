//! From what a manifest says to what it means; collects every problem on the way.

mod component;

use super::schema::{RawCron, RawHttp, RawManifest, RawRoute, RawVariable};
use super::{
    ComponentDeclaration, CronTrigger, HttpTrigger, Manifest, Problem, VariableDeclaration,
};
use crate::route::Route;
use crate::template::Template;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
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
