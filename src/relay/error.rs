//! Why lines could not be delivered, and what to do about it.

use crate::config::variable;
use crate::hint::Hint;
use crate::host::SendError;

/// What the next run does about lines that the relay does not have.
const FETCHED_AGAIN: &str = "nothing is lost: the next run fetches these results again; ";

/// Why lines could not be delivered. They are still at Catchpoint, and the next run fetches them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// No answer came.
    #[error("no connection to the relay{}: {error}", address(.url, .error))]
    Unreachable {
        /// The relay's address.
        url: String,
        /// What the host says.
        error: SendError,
    },
    /// The relay answered with something else than 202.
    #[error("the relay answered HTTP {status}{}{text}", if .text.is_empty() { "" } else { ": " })]
    Refused {
        /// The status code.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
}

impl RelayError {
    /// Whether no other batch would be taken either. If not, the relay refuses this batch alone.
    pub fn is_down(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => !matches!(status, 400 | 413 | 415 | 422),
        }
    }

    /// What to do.
    pub fn hint(&self) -> Hint {
        let named = |assurance, advice: String| Hint {
            assurance,
            advice: advice.into(),
        };
        match self {
            Self::Unreachable {
                error: SendError::Denied,
                ..
            } => Hint::new(
                "add the variable relay_url to allowed_outbound_hosts in spin.toml, as the shipped file has it",
            ),
            Self::Unreachable { .. } => {
                let variable = variable("relay_url");
                let advice = format!("start the relay, or set {variable} to where it listens");
                named(FETCHED_AGAIN, advice)
            }
            Self::Refused {
                status: 401 | 403, ..
            } => {
                let variable = variable("relay_token");
                named(
                    "",
                    format!("set {variable} to a line of the relay's token file"),
                )
            }
            Self::Refused { status: 413, .. } => Hint::new(
                "lower batch_bytes in config_graphite.yaml, or raise the relay's max_body_bytes",
            ),
            Self::Refused { status: 503, text } if text.contains("clock_skew") => Hint::assured(
                FETCHED_AGAIN,
                "set the clocks of this machine and of the relay's machine by NTP",
            ),
            Self::Refused { status: 503, .. } => Hint::assured(
                FETCHED_AGAIN,
                "the relay's spool is full or it is stopping: see its log, and check that carbon is up",
            ),
            Self::Refused { .. } => {
                Hint::new("see the relay's log; check that relay_url is the relay's address")
            }
        }
    }

    /// Whether the same post may succeed a little later.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { error, .. } => *error != SendError::Denied,
            Self::Refused { status, .. } => *status >= 500 || matches!(status, 408 | 429),
        }
    }
}

/// The relay's address, where the host's words do not name it.
fn address(url: &str, error: &SendError) -> String {
    match error {
        SendError::Unreachable(words) if words.contains("://") => String::new(),
        _ => format!(" at {url}"),
    }
}
