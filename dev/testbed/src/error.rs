//! Everything that can go wrong in the testbed, said so that the reader can fix it.

use std::{fmt, io, path::PathBuf, process::ExitStatus, time::Duration};

/// An error of the testbed.
#[derive(thiserror::Error)]
pub enum Error {
    /// A file, folder, socket or process could not be handled.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried, as in "read /some/file".
        what: String,
        /// The reason.
        source: io::Error,
    },
    /// Something that this machine must have is missing.
    #[error("{what} is missing: {hint}")]
    Missing {
        /// What is missing.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A command ran and failed.
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// A child process ended although it was still needed.
    #[error("{name} has stopped ({status}), its log {} ends with:\n{tail}", log.display())]
    Stopped {
        /// Name of the child.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {within:?}{detail}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
        /// More to know, empty or starting with a separator.
        detail: String,
    },
    /// An HTTP call to graphite-web failed.
    #[error("{url}: {reason}")]
    Http {
        /// The URL without its query.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
}

/// As the message, so that an `unwrap` in a test shows quoted logs line by line.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// Wraps an I/O error with what was tried: `.map_err(Error::io(|| format!("read {path}")))`.
    pub(crate) fn io(what: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what: what(),
            source,
        }
    }
}
