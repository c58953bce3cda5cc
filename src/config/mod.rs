//! The configuration: two YAML files as the original wrote them, and the host's variables, which
//! win over the files.
//!
//! # Layout
//! - [`catchpoint`] the keys of `config_catchpoint.yaml`
//! - this file: both files and the variables together
//! - [`graphite`], [`problem`], [`secret`] are shared with the relay, in the crate of settings

pub mod catchpoint;

use std::path::Path;

pub use catchpoint_graphite_settings::{graphite, problem, secret};

use catchpoint::{ApiVersion, CatchpointSettings};
use graphite::GraphiteSettings;
use problem::{Problem, Problems};
use secret::Secret;

/// Reads a configuration file from the folder that the host shows to the component.
///
/// # Errors
/// The file cannot be read, or is not UTF-8; the error names the path.
pub fn read_file(folder: &str, name: &str) -> std::io::Result<String> {
    catchpoint_graphite_settings::text::read(Path::new(folder).join(name))
}

/// Where a setting's text comes from: the two files by name, and the host's variables.
pub trait Source {
    /// The text of a configuration file, or why it cannot be read.
    fn file(&self, name: &str) -> std::io::Result<String>;
    /// A variable of the host, by its name in `spin.toml`; none if it is not set, or empty.
    ///
    /// # Errors
    /// Whether it is set cannot be told.
    fn variable(&self, name: &str) -> Result<Option<String>, String>;
}

/// Everything a run is told from outside.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `config_catchpoint.yaml`, with the credentials in force.
    pub catchpoint: CatchpointSettings,
    /// `config_graphite.yaml`.
    pub graphite: GraphiteSettings,
    /// Where the relay takes lines: scheme, host and port.
    pub relay_url: String,
    /// The relay's bearer token.
    pub relay_token: Option<Secret>,
}

impl Settings {
    /// Reads both files and the variables.
    ///
    /// # Errors
    /// Everything that is wrong in either, together.
    pub fn load(source: &dyn Source) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let catchpoint = read(
            source,
            catchpoint::FILE_NAME,
            CatchpointSettings::read,
            &mut problems,
        );
        let graphite = read(
            source,
            graphite::FILE_NAME,
            GraphiteSettings::read,
            &mut problems,
        );
        let relay_url = relay_url(source, &mut problems);
        let mut secret = |name| {
            let text = variable(source, name, &mut problems);
            text.as_deref().and_then(Secret::new)
        };
        let relay_token = secret("relay_token");
        let client_id = secret("catchpoint_client_id");
        let client_secret = secret("catchpoint_client_secret");
        let api_key = secret("catchpoint_api_key");
        let catchpoint = catchpoint.map(|file| CatchpointSettings {
            client_id: client_id.or(file.client_id),
            client_secret: client_secret.or(file.client_secret),
            api_key: api_key.or(file.api_key),
            ..file
        });
        if let Some(catchpoint) = &catchpoint {
            missing(catchpoint, &mut problems);
        }
        match (catchpoint, graphite) {
            (Some(catchpoint), Some(graphite)) if problems.is_empty() => Ok(Self {
                catchpoint,
                graphite,
                relay_url,
                relay_token,
            }),
            _ => Err(Problems(problems)),
        }
    }
}

/// Reads a file with `parse`, which gives what it read and what is wrong in it.
fn read<T>(
    source: &dyn Source,
    name: &str,
    parse: impl FnOnce(&str, &str) -> (Option<T>, Vec<Problem>),
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match source.file(name) {
        Ok(text) => {
            let (settings, found) = parse(name, &text);
            problems.extend(found);
            settings
        }
        Err(error) => {
            let missing = format!(
                "put {name} into the configuration folder (`files` in spin.toml, or --config)"
            );
            problems.push(Problem::unreadable(name, &error, &missing));
            None
        }
    }
}

fn variable(source: &dyn Source, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
    source.variable(name).unwrap_or_else(|error| {
        problems.push(Problem {
            key: Some(name.trim_start_matches("catchpoint_").to_owned()),
            ..Problem::of(
                &format!("variable {name}"),
                format!("cannot be read: {error}"),
                "check the host's provider of variables; nothing runs without it, because a default could send data elsewhere",
            )
        });
        None
    })
}

fn relay_url(source: &dyn Source, problems: &mut Vec<Problem>) -> String {
    const DEFAULT: &str = "http://127.0.0.1:2080";
    let url = variable(source, "relay_url", problems).unwrap_or_else(|| DEFAULT.to_owned());
    let url = url.trim().trim_end_matches('/');
    let host = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    if !host.is_some_and(is_host) {
        // Before an `@` there may be a password.
        let shown = url
            .rsplit_once('@')
            .map_or(url.to_owned(), |(_, host)| format!("***@{host}"));
        problems.push(Problem::of(
            "variable relay_url",
            format!("`{shown}` is not the address of a relay"),
            format!("set it to scheme, host and port only, for instance {DEFAULT}"),
        ));
    }
    url.to_owned()
}

/// Notes what a run cannot do without, unless there is a problem with that key already.
fn missing(catchpoint: &CatchpointSettings, problems: &mut Vec<Problem>) {
    let is_noted = |key: &str, problems: &[Problem]| {
        problems.iter().any(|problem| {
            let noted = problem.key.as_deref().unwrap_or_default();
            noted.split('.').next() == Some(key)
        })
    };
    let is_version_known = !is_noted("version", problems);
    let mut note = |key: &str, what: &str, hint: &str| {
        if !is_noted(key, problems) {
            problems.push(Problem::of(catchpoint::FILE_NAME, what, hint));
        }
    };
    match catchpoint.version {
        _ if !is_version_known => {}
        ApiVersion::V1 => {
            if catchpoint.client_id.is_none() {
                note(
                    "client_id",
                    "client_id is not set",
                    "write the key of your API consumer here, or set the variable catchpoint_client_id",
                );
            }
            if catchpoint.client_secret.is_none() {
                note(
                    "client_secret",
                    "client_secret is not set",
                    "write the secret of your API consumer here, or set the variable catchpoint_client_secret",
                );
            }
        }
        ApiVersion::Explorer(version) => {
            if catchpoint.api_key.is_none() {
                note(
                    "api_key",
                    &format!("version is {version}, but api_key is not set"),
                    "set the variable catchpoint_api_key to a REST API key of the portal, or write it here as api_key",
                );
            }
        }
    }
    if catchpoint.tests.is_empty() {
        note(
            "test_ids",
            "test_ids holds no test id",
            "list what to collect, for instance `test_ids: { web: ['142619', '142620'] }`",
        );
    }
}

#[cfg(test)]
mod tests;
