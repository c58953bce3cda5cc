//! The configuration: two YAML files as the original wrote them, and the host's variables, which
//! win over the files.
//!
//! # Layout
//! - [`catchpoint`] the keys of `config_catchpoint.yaml`
//! - this file: both files and the variables together
//! - [`graphite`], [`problem`], [`secret`] are shared with the relay, in the crate of settings

pub mod catchpoint;

use std::path::Path;

use catchpoint_graphite_settings::yaml::quote;
pub use catchpoint_graphite_settings::{graphite, problem, secret};

use catchpoint::{ApiVersion, CatchpointSettings, Poll};
use graphite::{GraphiteSettings, Label};
use problem::{Problem, Problems};
use secret::{NO_CREDENTIAL, Secret, is_placeholder};

/// Catchpoint's number of the dimension that holds the names of steps.
const STEP_NAME: u32 = 23;

/// Reads a configuration file from the folder that the host shows to the component.
///
/// # Errors
/// The file cannot be read, or is not UTF-8; the error names the path.
pub fn read_file(folder: &str, name: &str) -> std::io::Result<String> {
    catchpoint_graphite_settings::text::read(Path::new(folder).join(name))
}

/// What the name of a variable begins with in the environment: Spin's prefix. The command for WASI hosts
/// reads the name alone.
const PREFIX: &str = if cfg!(feature = "component") {
    "SPIN_VARIABLE_"
} else {
    ""
};

/// A variable for a message: its name, and what sets it.
pub fn variable(name: &str) -> String {
    let capitals = name.to_ascii_uppercase();
    format!("the variable {name} ({PREFIX}{capitals} in the environment)")
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
        Self::load_for(source, true)
    }

    /// The same; it may be without tests for what does not need them.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub fn load_for(source: &dyn Source, needs_tests: bool) -> Result<Self, Problems> {
        let mut reader = Reader {
            source,
            problems: Vec::new(),
        };
        let mut catchpoint = reader.file(catchpoint::FILE_NAME, CatchpointSettings::read);
        let graphite = reader.file(graphite::FILE_NAME, GraphiteSettings::read);
        let dimensions = &mut catchpoint.dimension_ids;
        let by_name = graphite.labels.contains(&Label::StepName);
        // Without any, Catchpoint chooses the dimensions.
        if by_name && !dimensions.is_empty() && !dimensions.contains(&STEP_NAME) {
            dimensions.push(STEP_NAME);
        }
        let relay_url = reader.relay_url();
        let relay_token = reader.secret("relay_token");
        for (name, secret) in [
            ("catchpoint_client_id", &mut catchpoint.client_id),
            ("catchpoint_client_secret", &mut catchpoint.client_secret),
            ("catchpoint_api_key", &mut catchpoint.api_key),
        ] {
            *secret = reader.secret(name).or(secret.take());
        }
        let mut problems = reader.problems;
        problems.extend(missing(&catchpoint, &problems, needs_tests));
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        Ok(Self {
            catchpoint,
            graphite,
            relay_url,
            relay_token,
        })
    }
}

/// A source, and what is wrong with it so far.
struct Reader<'s> {
    source: &'s dyn Source,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Reads a file with `parse`, which gives what it read and what is wrong in it.
    fn file<T>(&mut self, name: &str, parse: fn(&str, &str) -> (T, Vec<Problem>)) -> T {
        let text = self.source.file(name).unwrap_or_else(|error| {
            let missing = format!(
                "put {name} into the configuration folder (`files` in spin.toml, or --config)"
            );
            let problem = Problem::unreadable(name, &error, &missing);
            self.problems.push(problem);
            String::new()
        });
        let (settings, found) = parse(name, &text);
        self.problems.extend(found);
        settings
    }

    fn variable(&mut self, name: &str) -> Option<String> {
        self.source.variable(name).unwrap_or_else(|error| {
            self.problems.push(Problem {
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

    fn secret(&mut self, name: &str) -> Option<Secret> {
        let text = self.variable(name)?;
        if is_placeholder(&text) {
            self.problems.push(Problem {
                key: Some(name.trim_start_matches("catchpoint_").to_owned()),
                ..Problem::of(
                    &format!("variable {name}"),
                    NO_CREDENTIAL,
                    format!("set {} to the credential itself", variable(name)),
                )
            });
        }
        Secret::new(&text)
    }

    fn relay_url(&mut self) -> String {
        const DEFAULT: &str = "http://127.0.0.1:2080";
        let url = self.variable("relay_url");
        let url = url
            .as_deref()
            .unwrap_or(DEFAULT)
            .trim()
            .trim_end_matches('/');
        let host = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"));
        let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
        if !host.is_some_and(is_host) {
            self.problems.push(Problem::of(
                "variable relay_url",
                format!("{} is not the address of a relay", quote(url)),
                format!("set it to scheme, host and port only, for instance {DEFAULT}"),
            ));
        }
        url.to_owned()
    }
}

/// What a run cannot do without or with, unless there is a problem with that key or the file already.
fn missing(
    catchpoint: &CatchpointSettings,
    problems: &[Problem],
    needs_tests: bool,
) -> Vec<Problem> {
    let is_noted = |key: &str| {
        problems.iter().any(|problem| match &problem.key {
            Some(noted) => noted.split('.').next() == Some(key),
            None => problem.file == catchpoint::FILE_NAME,
        })
    };
    let is_v1 = catchpoint.version == ApiVersion::V1;
    let version = !is_noted("version");
    let without_key = format!(
        "version is {}, but api_key is not set",
        catchpoint.version.as_str()
    );
    let [client_id, client_secret, api_key] = [
        "catchpoint_client_id",
        "catchpoint_client_secret",
        "catchpoint_api_key",
    ]
    .map(variable);
    let needed = [
        (
            version && is_v1 && catchpoint.client_id.is_none(),
            "client_id",
            "client_id is not set",
            format!("write the key of your API consumer here, or set {client_id}"),
        ),
        (
            version && is_v1 && catchpoint.client_secret.is_none(),
            "client_secret",
            "client_secret is not set",
            format!("write the secret of your API consumer here, or set {client_secret}"),
        ),
        (
            version && !is_v1 && catchpoint.api_key.is_none(),
            "api_key",
            &without_key,
            format!("set {api_key} to a REST API key of the portal, or write it here as api_key"),
        ),
        (
            version && is_v1 && catchpoint.poll == Poll::Gaps,
            "poll",
            "poll is gaps, which API v1 cannot do: it has no call for a time range of many tests",
            "set version to v2 and an API key, or remove poll".to_owned(),
        ),
        (
            needs_tests
                && catchpoint.tests.is_empty()
                && catchpoint.wanted.is_none()
                && !is_noted("tests"),
            "test_ids",
            "test_ids holds no test id",
            "list what to collect, for instance `test_ids: { web: ['142619', '142620'] }`, or with v2 and later let Catchpoint list it: `tests: { folders: [7120] }`".to_owned(),
        ),
    ];
    needed
        .into_iter()
        .filter(|(is_missing, key, ..)| *is_missing && !is_noted(key))
        .map(|(_, _, what, hint)| Problem::of(catchpoint::FILE_NAME, what, hint))
        .collect()
}

#[cfg(test)]
mod tests;
