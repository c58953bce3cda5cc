//! Why a call to Catchpoint brought no data, and what to do about it.

use chrono::{DateTime, Utc};

use super::body::BodyError;
use crate::host::SendError;

/// What to do about a test that Catchpoint refuses.
pub const REFUSED_MEND: &str = "check that the test exists, is listed under its own type, and is in the same division as the others";

/// What to do when Catchpoint refuses v1's ranged calls.
pub const RANGED_MEND: &str = "the results of the last 15 minutes are collected all the same; check the keys time_format and rawdata_endpoint, or use version: v2, which fills gaps without ranged calls";

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer came.
    #[error("{0}")]
    Send(#[from] SendError),
    /// The host does not let us call this origin.
    #[error("the host does not allow calls to {0}")]
    Denied(String),
    /// HTTP says that it failed.
    #[error("HTTP {status}{}", quoted(.text))]
    Status {
        /// The status code.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// Too many calls for the second, minute or hour.
    #[error("HTTP 429, too many calls{}", quoted(.0))]
    TooMany(String),
    /// Too many calls for the day.
    #[error("the day's quota is exceeded{}", quoted(.0))]
    Quota(String),
    /// The body could not be read to its end.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// The answer says that the query is wrong.
    #[error("Catchpoint refused the query: {0}")]
    Refused(String),
    /// There is more data, but the answer does not say where.
    #[error("the answer says that there is more, but not where")]
    Cut,
    /// The client id and secret, or the API key, are not accepted.
    #[error("the credentials were refused{}", quoted(.0))]
    Credentials(String),
    /// A limit of the API leaves no call before the run must end.
    #[error("the limit {limit} is used up until {}", .until.format("%H:%M:%S UTC"))]
    Budget {
        /// The key under `limits`, or words for a limit that Catchpoint has set.
        limit: &'static str,
        /// When it is free again.
        until: DateTime<Utc>,
    },
    /// The run's time is up.
    #[error("the run's time was up")]
    NoTime,
    /// The lines could not be handed over.
    #[error("the relay did not take the lines")]
    Stopped,
}

impl CallError {
    /// Whether the same call may well succeed a little later.
    pub fn passes(&self) -> bool {
        match self {
            Self::Send(_) | Self::TooMany(_) => true,
            Self::Body(error) => *error != BodyError::Stopped,
            Self::Status { status, .. } => *status >= 500 || *status == 408,
            _ => false,
        }
    }

    /// Whether fewer tests in one call may help: the query itself was refused.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Status { status, .. } => (400..500).contains(status) && *status != 408,
            _ => false,
        }
    }

    /// Whether no other call of this run can succeed either.
    pub fn ends_run(&self) -> bool {
        matches!(
            self,
            Self::Denied(_)
                | Self::Quota(_)
                | Self::Credentials(_)
                | Self::Budget { .. }
                | Self::NoTime
                | Self::Stopped
        )
    }

    /// Whether nothing is wrong but that limits or time are used up.
    pub fn is_spent(&self) -> bool {
        matches!(self, Self::Quota(_) | Self::Budget { .. } | Self::NoTime)
    }

    /// What to do.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Denied(_) => {
                "set the variable catchpoint_host to this origin; spin.toml's allowed_outbound_hosts takes it from there"
            }
            Self::Send(_) => {
                "nothing is lost: the next run fills the gap; if it stays, check the network and the keys protocol and domain"
            }
            Self::Status { status: 403, .. } => "check that the API consumer may read this test",
            Self::Status { status: 404, .. } => {
                "check the keys domain, version and rawdata_endpoint, and that the test exists"
            }
            Self::Status { status, .. } if *status < 500 => {
                "check the test ids, and the keys version and rawdata_endpoint"
            }
            Self::Status { .. } | Self::Body(BodyError::Truncated(_) | BodyError::TimedOut) => {
                "nothing is lost: the next run fills the gap; if it stays, ask Catchpoint's support"
            }
            Self::Body(_) => {
                "nothing is lost: the next run fills the gap; if it stays, check the keys domain and version, and for a proxy in between"
            }
            Self::TooMany(_) | Self::Quota(_) => {
                "nothing is lost: later runs fill the gap; if others use this API consumer too, lower `limits` to our share"
            }
            Self::Refused(_) => REFUSED_MEND,
            Self::Cut => "what came is in the relay; lower batch_size, so that an answer is whole",
            Self::Credentials(_) => {
                "check client_id and client_secret (v1) or api_key (v2), in the variables and in config_catchpoint.yaml; the wrong form of bearer is mended with token_encoding"
            }
            Self::Budget { .. } => {
                "nothing is lost: later runs fill the gap; `check` shows what this configuration needs"
            }
            Self::NoTime => {
                "nothing is lost: the next run goes on from here; raise run_deadline_seconds if it happens often"
            }
            Self::Stopped => "see the relay's failure",
        }
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}
