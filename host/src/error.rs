//! How the runner can fail.

use thiserror::Error;

/// Why something did not happen. The text says what, where and how to correct it.
#[derive(Debug, Error)]
pub enum Error {
    /// The user has to correct something: the manifest, a variable, a flag, a file.
    #[error("{0}")]
    Usage(String),
    /// The runner was told to stop.
    #[error("the run was stopped; the next run continues from there")]
    Stopped,
    /// It went wrong by itself.
    #[error("{0}")]
    Failed(String),
}

/// A result with the runner's own error.
pub type Result<T> = std::result::Result<T, Error>;

/// The end of a run that exceeds a limit.
pub(crate) fn stopped(reason: &str) -> Error {
    Error::Failed(format!("the component was stopped: {reason}"))
}

/// What is said of a part of Spin's manifest that this runner does not know.
pub(crate) fn unsupported(what: &str) -> String {
    format!("{what} is not supported by this runner; use `spin up`, or check the spelling")
}
