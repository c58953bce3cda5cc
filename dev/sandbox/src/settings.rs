//! How the API behaves where the real one is not known, or differs by account or by day.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::limits::Limits;
use crate::stamp::SECOND;
use crate::token::TokenTrouble;

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
    /// How API v1 refuses a token.
    pub token_trouble: TokenTrouble,
    /// The status of API v1's answer to test ids that it does not know.
    pub unknown_test: StatusCode,
    /// What API v1 answers to a range of time of a list of tests.
    pub ranged_lists: RangedLists,
    /// How API v1 says that there are no results.
    pub empty: Empty,
    /// The time zone of the account: all times of an answer are in it.
    pub time_zone: TimeZone,
    /// The limits of calls, or none.
    pub limits: Option<Limits>,
    /// Whether a 429 of the limits has Retry-After. None is documented.
    pub retry_after: bool,
    /// Whether a 429 of the limits has X-Rate-Limit-Limit, -Remaining and -Reset.
    pub rate_limit_headers: bool,
    /// Whether answers are compressed for callers that read gzip.
    pub gzip: bool,
    /// A part of a User-Agent that the proxy in front of the API does not let through.
    pub banned_agent: Option<String>,
    /// API v2: the most results on a page, at least one.
    pub page_size: u64,
    /// API v2: how the link to the next page is written.
    pub next_link: NextLink,
    /// API v2: whether the dimensions of a row have a `type`; without it their place tells.
    pub dimension_types: bool,
    /// API v2: whether a row's time is in `reportDate`, with a null `dateTime`.
    pub report_date: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_id: "sandbox-client".into(),
            client_secret: "sandbox-secret".into(),
            api_key: "sandbox-key".into(),
            token_lifetime: Duration::from_secs(900),
            token_trouble: TokenTrouble::Unauthorized,
            unknown_test: StatusCode::OK,
            ranged_lists: RangedLists::Answered,
            empty: Empty::Absent,
            time_zone: TimeZone::utc(),
            limits: Some(Limits::default()),
            retry_after: false,
            rate_limit_headers: true,
            gzip: true,
            banned_agent: None,
            page_size: 5_000,
            next_link: NextLink::Absolute,
            dimension_types: true,
            report_date: false,
        }
    }
}

/// How API v2 writes the link to the next page. Its document says only that it is a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextLink {
    /// With scheme and host.
    Absolute,
    /// From the path on.
    Relative,
    /// From the path on, without its first part, `/api`.
    Short,
    /// Null, also where there are more pages: `pageNumber` has to be counted up.
    Null,
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

/// How API v1 says that there are no results. Both were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// There is no `detail`.
    Absent,
    /// `detail` is null.
    Null,
}

/// One of the API's time zones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimeZone {
    /// The API's id; 4 is UTC.
    pub id: u32,
    /// The API's name of it.
    pub name: String,
    /// Minutes from UTC, positive in the east.
    #[serde(skip)]
    pub offset_minutes: i32,
}

impl TimeZone {
    /// UTC, as in all public answers.
    pub fn utc() -> Self {
        Self {
            id: 4,
            name: "UTC".into(),
            offset_minutes: 0,
        }
    }

    /// A time of UTC in this zone; both in ticks.
    pub(crate) fn local(&self, ticks: i64) -> i64 {
        ticks.saturating_add(i64::from(self.offset_minutes) * 60 * SECOND)
    }

    /// The hours from UTC, as API v2 states them; nothing for UTC.
    pub(crate) fn hours(&self) -> Option<f64> {
        (self.offset_minutes != 0).then(|| f64::from(self.offset_minutes) / 60.0)
    }
}
