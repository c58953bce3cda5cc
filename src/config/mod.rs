//! The configuration: two YAML files as the original wrote them, and the host's variables, which
//! win over the files.
//!
//! # Layout
//! - [`yaml`] one file, read key by key, with the place of everything in it
//! - [`problem`] what is wrong, where, and how to mend it
//! - [`secret`] the type that credentials live in
//! - [`catchpoint`], [`graphite`] the keys of the two files

pub mod catchpoint;
pub mod graphite;
pub mod problem;
pub mod secret;
pub mod yaml;

use catchpoint::{CatchpointFile, Version};
use graphite::GraphiteFile;
use problem::{Problem, Problems};
use secret::Secret;
use yaml::{Document, Section};

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
    pub catchpoint: CatchpointFile,
    /// `config_graphite.yaml`.
    pub graphite: GraphiteFile,
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
            CatchpointFile::read,
            &mut problems,
        );
        let graphite = read(
            source,
            graphite::FILE_NAME,
            GraphiteFile::read,
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
        let catchpoint = catchpoint.map(|file| CatchpointFile {
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

/// Reads the Graphite file alone, for the relay.
///
/// # Errors
/// Everything that is wrong in it.
pub fn load_graphite_file(file: &str, text: &str) -> Result<GraphiteFile, Problems> {
    let document = Document::new(file, text);
    let read = GraphiteFile::read(document.top());
    match document.into_problems() {
        problems if problems.is_empty() => Ok(read),
        problems => Err(Problems(problems)),
    }
}

fn read<T>(
    source: &dyn Source,
    name: &str,
    keys: impl FnOnce(Section<'_>) -> T,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match source.file(name) {
        Ok(text) => {
            let document = Document::new(name, &text);
            let value = keys(document.top());
            // In a file that is no YAML everything would be missing.
            let readable = document.is_readable();
            problems.extend(document.into_problems());
            readable.then_some(value)
        }
        Err(error) => {
            problems.push(Problem {
                file: name.to_owned(),
                place: None,
                line: None,
                what: format!("cannot be read: {error}"),
                mend: format!(
                    "put {name} into the configuration folder (`files` in spin.toml, or --config)"
                ),
            });
            None
        }
    }
}

fn variable(source: &dyn Source, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
    source.variable(name).unwrap_or_else(|error| {
        problems.push(Problem {
            file: format!("variable {name}"),
            place: None,
            line: None,
            what: format!("cannot be read: {error}"),
            mend: "look after the host's provider of variables; without it nothing is done, because a default may send data elsewhere".to_owned(),
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
    let sound = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    if !host.is_some_and(sound) {
        // Before an `@` there may be a password.
        let shown = url
            .rsplit_once('@')
            .map_or(url.to_owned(), |(_, host)| format!("***@{host}"));
        problems.push(Problem {
            file: "variable relay_url".to_owned(),
            place: None,
            line: None,
            what: format!("`{shown}` is not the address of a relay"),
            mend: format!("set it to scheme, host and port only, for instance {DEFAULT}"),
        });
    }
    url.to_owned()
}

/// Notes what the run cannot do without, but for a key that has a message already.
fn missing(catchpoint: &CatchpointFile, problems: &mut Vec<Problem>) {
    let said = |key: &str, problems: &[Problem]| {
        problems.iter().any(|problem| {
            let meant = problem.mend.contains(&format!("`{key}`"));
            meant || problem.what.starts_with(key) || problem.file.ends_with(key)
        })
    };
    let version_is_known = !said("version", problems);
    let mut note = |key: &str, what: &str, mend: &str| {
        if said(key, problems) {
            return;
        }
        problems.push(Problem {
            file: catchpoint::FILE_NAME.to_owned(),
            place: None,
            line: None,
            what: what.to_owned(),
            mend: mend.to_owned(),
        });
    };
    match catchpoint.version {
        _ if !version_is_known => {}
        Version::V1 => {
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
        Version::V2 => {
            if catchpoint.api_key.is_none() {
                note(
                    "api_key",
                    "version is v2, but api_key is not set",
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
