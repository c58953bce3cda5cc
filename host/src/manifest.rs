//! `spin.toml`, as far as this runner goes: one component, one cron trigger, one HTTP trigger for
//! all paths, one mounted folder, the key-value store `default`, outbound hosts.
//!
//! Whatever else Spin's manifest can say is refused: a key that was silently left out would be a
//! promise that is not kept.

use crate::error::{Error, Result, unsupported};
use crate::schedule::Schedule;
use crate::variables::{Template, Variables, is_name};
use serde::de::{Deserializer, Error as _, IgnoredAny};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A valid manifest. Every variable that it refers to is declared in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The file it was read from.
    #[serde(skip)]
    pub path: PathBuf,
    #[serde(rename = "spin_manifest_version")]
    format: i64,
    /// `[application]`.
    pub application: Application,
    /// `[variables]` by name.
    #[serde(default)]
    pub variables: Variables,
    /// What makes the component run.
    #[serde(default)]
    pub trigger: Triggers,
    /// The one component.
    #[serde(deserialize_with = "one")]
    pub component: Component,
}

/// `[application]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Its version, or empty.
    #[serde(default)]
    pub version: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default, rename = "authors")]
    _authors: Vec<String>,
}

/// `[[trigger.…]]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Triggers {
    /// When the component collects.
    #[serde(deserialize_with = "at_most_one")]
    pub cron: Option<Cron>,
    /// Whether its paths are served.
    #[serde(deserialize_with = "at_most_one")]
    pub http: Option<Http>,
}

/// `[[trigger.cron]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cron {
    component: String,
    /// The schedule.
    #[serde(rename = "cron_expression")]
    pub schedule: Schedule,
}

/// `[[trigger.http]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    component: String,
    #[serde(rename = "route")]
    _route: Route,
}

#[derive(Deserialize)]
enum Route {
    #[serde(rename = "/...")]
    All,
}

/// `[component.…]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    #[serde(skip)]
    id: String,
    /// The wasm file; relative to the working directory, no longer to the manifest.
    pub source: PathBuf,
    /// The folder that the component can read, if any.
    #[serde(default, rename = "files", deserialize_with = "at_most_one")]
    pub mount: Option<Mount>,
    /// The component's variables, made of those of the application.
    #[serde(default)]
    pub variables: BTreeMap<String, Template>,
    /// The key-value stores that the component may open.
    #[serde(default)]
    pub key_value_stores: Vec<StoreName>,
    /// Where the component may send requests.
    #[serde(default)]
    pub allowed_outbound_hosts: Vec<Template>,
    #[serde(default, rename = "description")]
    _description: String,
    /// For `spin build` and `spin watch` alone.
    #[serde(default, rename = "build")]
    _build: IgnoredAny,
}

/// The only key-value store that there is.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreName {
    /// Spin keeps it in a file of its own without being told where.
    Default,
}

/// A folder of the host, and where the component sees it, read-only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "{ source = …, destination = … }")]
pub struct Mount {
    /// On the host; relative to the working directory, no longer to the manifest.
    pub source: PathBuf,
    /// In the component: absolute.
    pub destination: String,
}

impl Manifest {
    /// Reads and validates the manifest at `path`.
    ///
    /// # Errors
    /// It cannot be read, or says something that this runner does not do.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|reason| {
            let path = path.display();
            Error::Usage(format!(
                "cannot read the manifest {path}: {reason}; start in the folder that has it, or name the file with --manifest"
            ))
        })?;
        Self::parse(path, &text)
    }

    /// Validates `text` as if it had been read from `path`, without touching the disk.
    ///
    /// # Errors
    /// It says something that this runner does not do: the first such thing, and its place.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let problem = |place: &str, problem: &str| {
            Error::Usage(format!("{}{place}: {problem}", path.display()))
        };
        let mut manifest: Self =
            toml::from_str(text).map_err(|error| problem(&place(text, &error), &words(&error)))?;
        manifest.validate().map_err(|words| problem("", &words))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let component = &mut manifest.component;
        component.source = folder.join(&component.source);
        if let Some(mount) = &mut component.mount {
            mount.source = folder.join(&mount.source);
        }
        path.clone_into(&mut manifest.path);
        Ok(manifest)
    }

    /// What a single value does not show.
    fn validate(&self) -> std::result::Result<(), String> {
        if self.format != 2 {
            return Err(unsupported(&format!("manifest version {}", self.format)));
        }
        if let Some(name) = self.variables.names().find(|name| !is_name(name)) {
            return Err(format!(
                "`{name}` is not a variable name; write lower-case words joined with `_`"
            ));
        }
        let component = &self.component;
        let Triggers { cron, http } = &self.trigger;
        let cron = cron.iter().map(|cron| &cron.component);
        let mut triggered = cron.chain(http.iter().map(|http| &http.component));
        if let Some(other) = triggered.find(|other| **other != component.id) {
            let id = &component.id;
            return Err(format!("there is no [component.{other}]; write `{id}`"));
        }
        let templates = component.variables.values();
        let templates = templates.chain(&component.allowed_outbound_hosts);
        let mut used = templates.filter_map(Template::variable);
        if let Some(name) = used.find(|used| self.variables.names().all(|name| name != used)) {
            return Err(format!("declare `{name}` under [variables]"));
        }
        match &component.mount {
            Some(mount) if !mount.destination.starts_with('/') => {
                Err("`destination` of `files` must start with `/`".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn at_most_one<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    list: D,
) -> std::result::Result<Option<T>, D::Error> {
    let mut items = Vec::<T>::deserialize(list)?;
    let first = items.pop();
    match items.is_empty() {
        true => Ok(first),
        false => Err(D::Error::custom(unsupported("a second entry"))),
    }
}

fn one<'de, D: Deserializer<'de>>(map: D) -> std::result::Result<Component, D::Error> {
    let mut items = BTreeMap::<String, Component>::deserialize(map)?.into_iter();
    match (items.next(), items.next()) {
        (Some((id, component)), None) => Ok(Component { id, ..component }),
        (None, _) => Err(D::Error::custom("there is no [component.…]")),
        (_, Some(_)) => Err(D::Error::custom(unsupported("a second component"))),
    }
}

/// `:line:column`, from 1.
fn place(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().unwrap_or_default().start;
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!(":{line}:{column}")
}

/// What is wrong. What serde does not know is a part of Spin's manifest, or a typing error.
fn words(error: &toml::de::Error) -> String {
    let message = error.message().trim().replace('\n', ", ");
    let field = message.strip_prefix("unknown field `");
    if let Some((name, _)) = field.and_then(|rest| rest.split_once('`')) {
        return unsupported(&format!("`{name}`"));
    }
    match message.split_once(", expected ") {
        // Not what stands there: it may be a secret.
        Some((found, expected))
            if found.starts_with("invalid type") || found.starts_with("unknown variant") =>
        {
            unsupported(&format!("a form other than {expected}"))
        }
        _ => message,
    }
}
