//! `spin.toml`, as far as this runner goes: one component, one cron trigger, one HTTP trigger for
//! all paths, one mounted folder, the key-value store `default`, outbound hosts.
//!
//! Whatever else Spin's manifest can say is refused: a key that was silently left out would be a
//! promise that is not kept.

use crate::schedule::{Schedule, ScheduleError};
use crate::variables::{Template, is_name};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thiserror::Error;
use toml::Spanned;

/// A valid manifest. Every variable that it refers to is declared in it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file it was read from.
    pub path: PathBuf,
    /// `application.name`.
    pub name: String,
    /// `application.version`, or empty.
    pub version: String,
    /// `[variables]` by name.
    pub variables: BTreeMap<String, Variable>,
    /// The schedule of `[[trigger.cron]]`, if there is one.
    pub cron: Option<Schedule>,
    /// Whether there is an `[[trigger.http]]`.
    pub http: bool,
    /// The id of the component.
    pub id: String,
    /// The wasm file; relative to the working directory, no longer to the manifest.
    pub source: PathBuf,
    /// The folder that the component can read, if any.
    pub mount: Option<Mount>,
    /// Whether the component may open the key-value store `default`.
    pub store: bool,
    /// Where the component may send requests.
    pub allowed_outbound_hosts: Vec<Template>,
    /// The component's variables, made of those of the application.
    pub component_variables: BTreeMap<String, Template>,
}

/// One entry of `[variables]`. Not `Debug` with its value: a default may be a secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// The value when none is given.
    pub default: String,
    /// Whether the value is kept out of all output.
    #[serde(default)]
    pub secret: bool,
    #[serde(default, rename = "description")]
    _description: String,
}

/// A folder of the host, and where the component sees it, read-only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// On the host.
    pub source: PathBuf,
    /// In the component: absolute.
    pub destination: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read the manifest {}: {reason}; name the file with --manifest", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The file says something that it may not.
    #[error("{0}")]
    Invalid(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    spin_manifest_version: Spanned<i64>,
    application: RawApplication,
    #[serde(default)]
    variables: BTreeMap<Spanned<String>, Variable>,
    #[serde(default)]
    trigger: RawTriggers,
    component: BTreeMap<Spanned<String>, RawComponent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApplication {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default, rename = "authors")]
    _authors: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTriggers {
    cron: Vec<RawCron>,
    http: Vec<RawHttp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCron {
    component: Spanned<String>,
    cron_expression: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    component: Spanned<String>,
    route: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawComponent {
    source: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    variables: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    files: Vec<Spanned<Mount>>,
    #[serde(default)]
    key_value_stores: Vec<Spanned<String>>,
    #[serde(default)]
    allowed_outbound_hosts: Vec<Spanned<String>>,
    /// For `spin build` and `spin watch` alone.
    #[serde(default, rename = "build")]
    _build: Option<IgnoredAny>,
}

impl Manifest {
    /// Reads and validates the manifest at `path`.
    ///
    /// # Errors
    /// It cannot be read, or says something that this runner does not do.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|reason| ManifestError::Read {
            path: path.to_owned(),
            reason,
        })?;
        Self::parse(path, &text)
    }

    /// Validates `text` as if it had been read from `path`, without touching the disk.
    ///
    /// # Errors
    /// It says something that this runner does not do.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ManifestError> {
        let mut problems = Problems::new(path, text);
        let manifest = problems.read().and_then(|raw| problems.manifest(raw));
        match manifest {
            Some(manifest) if problems.found.is_empty() => Ok(manifest),
            _ => Err(ManifestError::Invalid(problems.lines())),
        }
    }
}

/// Collects all that is wrong with a manifest.
struct Problems<'a> {
    path: &'a Path,
    text: &'a str,
    /// The byte it stands at, and what is wrong.
    found: Vec<(usize, String)>,
}

impl<'a> Problems<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        Self {
            path,
            text,
            found: Vec::new(),
        }
    }

    fn add<T>(&mut self, at: &Spanned<T>, problem: impl Into<String>) {
        self.found.push((at.span().start, problem.into()));
    }

    fn unsupported<T>(&mut self, at: &Spanned<T>, what: &str) {
        self.add(at, unsupported(what));
    }

    /// The structure, or the first thing that is wrong with it.
    fn read(&mut self) -> Option<Raw> {
        let syntax = self.text.parse::<toml::Table>().err();
        let (error, is_syntax) = match (syntax, toml::from_str(self.text)) {
            (Some(error), _) => (error, true),
            (None, Err(error)) => (error, false),
            (None, Ok(raw)) => return Some(raw),
        };
        let message = error.message().trim().replace('\n', ", ");
        let unknown = message.strip_prefix("unknown field `");
        let message = match unknown.and_then(|rest| rest.split_once('`')) {
            Some((name, _)) => unsupported(&format!("`{name}`")),
            None if is_syntax || message.starts_with("missing field") => message,
            None => unsupported(&format!("{message}: this form")),
        };
        let at = error.span().unwrap_or_default().start;
        self.found.push((at, message));
        None
    }

    fn manifest(&mut self, raw: Raw) -> Option<Manifest> {
        let version = raw.spin_manifest_version;
        if *version.get_ref() != 2 {
            self.unsupported(&version, &format!("manifest version {}", version.get_ref()));
        }
        for name in raw.variables.keys() {
            self.variable(name);
        }
        let variables: BTreeMap<_, _> = raw
            .variables
            .into_iter()
            .map(|(name, variable)| (name.into_inner(), variable))
            .collect();
        if let Some((second, _)) = raw.component.iter().nth(1) {
            self.unsupported(second, "a second component");
        }
        let Some((id, component)) = raw.component.into_iter().next() else {
            self.found.push((0, "there is no [component.…]".to_owned()));
            return None;
        };
        if let Some(second) = raw.trigger.cron.get(1) {
            self.unsupported(&second.component, "a second [[trigger.cron]]");
        }
        if let Some(second) = raw.trigger.http.get(1) {
            self.unsupported(&second.component, "a second [[trigger.http]]");
        }
        let cron = raw.trigger.cron.first().and_then(|cron| {
            self.trigger(&cron.component, &id);
            self.schedule(&cron.cron_expression)
        });
        if let Some(http) = raw.trigger.http.first() {
            self.trigger(&http.component, &id);
            if http.route.get_ref() != "/..." {
                self.unsupported(&http.route, "a route other than \"/...\"");
            }
        }
        for store in &component.key_value_stores {
            if store.get_ref() != "default" {
                self.unsupported(store, "a key-value store other than \"default\"");
            }
        }
        Some(Manifest {
            path: self.path.to_owned(),
            name: raw.application.name,
            version: raw.application.version,
            cron,
            http: !raw.trigger.http.is_empty(),
            id: id.into_inner(),
            source: self.folder().join(component.source),
            mount: self.mount(component.files),
            store: !component.key_value_stores.is_empty(),
            allowed_outbound_hosts: component
                .allowed_outbound_hosts
                .iter()
                .filter_map(|host| self.template(host, &variables))
                .collect(),
            component_variables: component
                .variables
                .into_iter()
                .filter_map(|(name, value)| {
                    let template = self.template(&value, &variables)?;
                    Some((name.into_inner(), template))
                })
                .collect(),
            variables,
        })
    }

    fn variable(&mut self, name: &Spanned<String>) {
        let shown = name.get_ref();
        if !is_name(shown) {
            self.add(
                name,
                format!("`{shown}` is not a variable name; write lower-case words joined with `_`"),
            );
        }
    }

    fn trigger(&mut self, component: &Spanned<String>, id: &Spanned<String>) {
        if component.get_ref() != id.get_ref() {
            let (component_id, id) = (component.get_ref(), id.get_ref());
            self.add(
                component,
                format!("there is no [component.{component_id}]; write `{id}`"),
            );
        }
    }

    fn schedule(&mut self, expression: &Spanned<String>) -> Option<Schedule> {
        let parsed: Result<Schedule, ScheduleError> = expression.get_ref().parse();
        parsed
            .map_err(|error| self.add(expression, error.to_string()))
            .ok()
    }

    fn mount(&mut self, files: Vec<Spanned<Mount>>) -> Option<Mount> {
        if let Some(second) = files.get(1) {
            self.unsupported(second, "a second entry of `files`");
        }
        let first = files.into_iter().next()?;
        if !first.get_ref().destination.starts_with('/') {
            self.add(&first, "`destination` must start with `/`");
        }
        let mount = first.into_inner();
        Some(Mount {
            source: self.folder().join(mount.source),
            ..mount
        })
    }

    fn template(
        &mut self,
        text: &Spanned<String>,
        variables: &BTreeMap<String, Variable>,
    ) -> Option<Template> {
        let template = Template::parse(text.get_ref());
        let Some(template) = template else {
            self.add(
                text,
                "`{{` without `}}`; a variable is written `{{ name }}`",
            );
            return None;
        };
        for name in template.variables() {
            if !variables.contains_key(name) {
                self.add(text, format!("declare `{name}` under [variables]"));
            }
        }
        Some(template)
    }

    fn folder(&self) -> &'a Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// All problems in the order of the file, one a line, with line and column from 1.
    fn lines(&mut self) -> String {
        self.found.sort();
        let line = |(at, problem): &(usize, String)| {
            let before = self.text.get(..*at).unwrap_or(self.text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            format!("{}:{line}:{column}: {problem}", self.path.display())
        };
        let lines: Vec<String> = self.found.iter().map(line).collect();
        lines.join("\n")
    }
}

fn unsupported(what: &str) -> String {
    format!("{what} is not supported by this runner; use `spin up`, or check the spelling")
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variable")
            .field("secret", &self.secret)
            .finish()
    }
}
