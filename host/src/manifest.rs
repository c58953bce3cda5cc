//! `spin.toml`, read and validated: what the host runs, with which variables, files, stores and
//! outbound hosts.
//!
//! All problems of a file are found before any is shown, each with its line and column.

mod schema;
pub(crate) mod validate;

use crate::route::Route;
use crate::schedule::Schedule;
use crate::template::Template;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A valid manifest. Its paths are absolute or relative to the working directory, no longer to the
/// manifest; every name it refers to exists in it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file it was read from.
    pub path: PathBuf,
    /// `application.name`.
    pub name: String,
    /// `application.version`, or empty.
    pub version: String,
    /// `[variables]` by name.
    pub variables: BTreeMap<String, VariableDeclaration>,
    /// `[[trigger.cron]]`, in order.
    pub crons: Vec<CronTrigger>,
    /// `[[trigger.http]]`, in order.
    pub routes: Vec<HttpTrigger>,
    /// `[component.*]` by id.
    pub components: BTreeMap<String, ComponentDeclaration>,
}

/// One entry of `[variables]`.
#[derive(Clone)]
pub struct VariableDeclaration {
    /// The value when none is given; absent means that one must be given.
    pub default: Option<String>,
    /// Whether the value is kept out of all output.
    pub secret: bool,
}

/// One `[[trigger.cron]]`.
#[derive(Debug, Clone)]
pub struct CronTrigger {
    /// The id of the component that it fires.
    pub component: String,
    /// When it fires.
    pub schedule: Schedule,
}

/// One `[[trigger.http]]`.
#[derive(Debug, Clone)]
pub struct HttpTrigger {
    /// The id of the component that answers.
    pub component: String,
    /// The paths that it answers for.
    pub route: Route,
}

/// One `[component.*]`.
#[derive(Debug, Clone)]
pub struct ComponentDeclaration {
    /// The wasm file.
    pub source: PathBuf,
    /// What the component can read, in order.
    pub files: Vec<Mount>,
    /// Globs of files that stay out of it.
    pub exclude_files: Vec<glob::Pattern>,
    /// Labels of the key-value stores that it may open.
    pub key_value_stores: BTreeSet<String>,
    /// Where it may send requests.
    pub allowed_outbound_hosts: Vec<HostEntry>,
    /// Its variables, made of those of the application.
    pub variables: BTreeMap<String, Template>,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
}

/// One entry of `files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A glob; what it matches appears under the same path below `/`.
    Pattern(String),
    /// A directory or file of the host, and where the guest sees it.
    Placement {
        /// On the host.
        source: PathBuf,
        /// In the guest: absolute.
        destination: String,
    },
}

/// One entry of `allowed_outbound_hosts`.
#[derive(Debug, Clone)]
pub struct HostEntry {
    /// As written.
    pub text: String,
    /// As parsed.
    pub template: Template,
    /// Where it stands in the manifest, from 1.
    pub line: usize,
}

/// Why a manifest cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error(
        "cannot read the manifest {}: {reason}; name the file with `--manifest`", path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The file says something that it may not, once or several times.
    #[error("{}", Self::list(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All of it, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl ManifestError {
    fn list(path: &Path, problems: &[Problem]) -> String {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| {
                let Problem {
                    line,
                    column,
                    message,
                } = problem;
                format!("{}:{line}:{column}: {message}", path.display())
            })
            .collect();
        lines.join("\n")
    }
}

impl Manifest {
    /// Reads and validates the manifest at `path`.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|reason| ManifestError::Read {
            path: path.to_owned(),
            reason,
        })?;
        Self::parse(path, &text)
    }

    /// Validates `text` as if it had been read from `path`, without touching the disk.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ManifestError> {
        validate::manifest(path, text).map_err(|mut problems| {
            problems.sort();
            ManifestError::Invalid {
                path: path.to_owned(),
                problems,
            }
        })
    }

    /// The declaration of a component that a trigger names.
    pub fn component(&self, id: &str) -> Option<&ComponentDeclaration> {
        self.components.get(id)
    }
}

impl fmt::Debug for VariableDeclaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = self
            .default
            .as_deref()
            .map(|value| if self.secret { "***" } else { value });
        f.debug_struct("VariableDeclaration")
            .field("default", &default)
            .field("secret", &self.secret)
            .finish()
    }
}
