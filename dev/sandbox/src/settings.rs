//! How the API behaves where the real one is not known, or differs by account.

use std::time::Duration;

use crate::limits::Limits;

/// How the API behaves. The default is what was seen most often.
#[derive(Clone)]
pub struct Settings {
    /// API v1: the consumer's key.
    pub client_id: String,
    /// API v1: the consumer's secret.
    pub client_secret: String,
    /// API v2: the bearer key.
    pub api_key: String,
    /// How long a token lives, in whole seconds. 900 and 1800 were seen at the real API.
    pub token_lifetime: Duration,
    /// What API v1 answers to a range of time of a list of tests.
    pub ranged_lists: RangedLists,
    /// The time zone of the account, in which all times of an answer are: minutes from UTC, positive
    /// in the east. All public answers are in UTC.
    pub utc_offset_minutes: i32,
    /// The limits of calls, or none.
    pub limits: Option<Limits>,
    /// Whether answers are compressed for callers that read gzip.
    pub gzip: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_id: "sandbox-client".into(),
            client_secret: "sandbox-secret".into(),
            api_key: "sandbox-key".into(),
            token_lifetime: Duration::from_secs(900),
            ranged_lists: RangedLists::Answered,
            utc_offset_minutes: 0,
            limits: Some(Limits::default()),
            gzip: true,
        }
    }
}

/// What API v1 answers to `?tests=1,2&startTime=…&endTime=…`. One client was seen to ask so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangedLists {
    /// The results of all of them.
    Answered,
    /// An error inside HTTP 200.
    Refused,
    /// The last 15 minutes, as if no times were given.
    Ignored,
}
