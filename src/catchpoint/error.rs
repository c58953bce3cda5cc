//! Why a call to Catchpoint brought no data: what it is, whether to try again, to ask for fewer
//! tests, or to stop, whom it concerns, and what to do. One table, `class`, says it all.

use chrono::{DateTime, Utc};

use super::complaint;
use super::query::Query;
use super::rate_limit::Stated;
use crate::hint::Hint;
use crate::host::body::excerpt;
use crate::host::{Headers, SendError};

/// What later runs do where this one got nothing.
const NEXT_RUN: &str = "nothing is lost: the next run fills the gap; if it continues, ";

/// The same where it may take several.
const LATER_RUNS: &str = "nothing is lost: later runs fill the gap; ";

/// What to do about a test that Catchpoint refuses.
pub const REFUSED: Hint = Hint::new(
    "check that the test exists, is listed under its own type, and is in the same division as the others",
);

/// What to do when Catchpoint refuses v1's ranged calls.
pub const RANGED: Hint = Hint::assured(
    "the results of the last 15 minutes are still collected; ",
    "check the keys time_format and rawdata_endpoint, use version: v2, which fills gaps without ranged calls, or run every 10 minutes, so that no time lies between two windows",
);

/// What to do when the answer is not the API's.
const BODY: Hint = Hint::assured(
    NEXT_RUN,
    "check the keys domain and version, and whether a proxy is in between",
);

/// The same of an answer that refuses the credentials.
const PAGE_CREDENTIALS: Hint = Hint::new(
    "the answer is a web page: check the key domain first; then client_id and client_secret (v1) or api_key (v2 and later)",
);

/// The same of the token call.
const TOKEN_ADDRESS: Hint = Hint::new("check the keys protocol, domain and token_endpoint");

/// How often a call is made while that may help.
const ATTEMPTS: u32 = 4;

/// How often a call is made whose answer arrived, but broken.
const ATTEMPTS_BROKEN: u32 = 2;

/// Which call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// v1's call for a token.
    Token,
    /// A call for results.
    Results,
}

/// What a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The host does not let us call this origin.
    Denied,
    /// No connection.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// HTTP 3xx.
    Redirect,
    /// Too many calls for a second, minute or hour.
    TooManyCalls,
    /// Too many calls for the day.
    DayQuota,
    /// A limit of ours leaves no call before the run must end.
    Budget,
    /// Cloudflare, which stands before the API, does not let us through.
    Blocked,
    /// The client id and secret, the token, or the API key, are not accepted.
    Credentials,
    /// HTTP 403 for these tests.
    Forbidden,
    /// Nothing is at this address.
    WrongPath,
    /// The query, or one of its tests, is refused.
    Refused,
    /// v1's call for a past time range is refused.
    RangedRefused,
    /// HTTP 5xx or 408.
    ServerError,
    /// A web page instead of JSON.
    Html,
    /// The answer broke off.
    Truncated,
    /// The answer is larger than a page may be.
    TooLarge,
    /// The answer is not JSON.
    Syntax,
    /// The answer is JSON, but not in the documented form.
    Shape,
    /// The answer's times cannot be converted.
    TimeZone,
    /// The next page is not at the same origin, or pages lead in circles.
    Paging,
    /// The run's time is up.
    NoTime,
    /// Another run has the lease.
    LeaseLost,
}

/// Whether to ask for fewer tests at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// It is not about some of the tests.
    Never,
    /// It may be about some of the tests, or about how many they are.
    Now,
    /// The same, but only if Catchpoint answers other calls: else it is down.
    IfOthersAnswer,
}

/// Whom a failure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concerns {
    /// The credentials or the token endpoint: the whole run, never a test.
    Token,
    /// Some of the tests asked for.
    Tests,
    /// The configuration of the API's address.
    Configuration,
    /// Catchpoint itself.
    Catchpoint,
    /// The way to Catchpoint.
    Network,
    /// Limits or time are used up; there will be another time.
    Limits,
    /// This run.
    Run,
}

/// One row of the table of failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// What it is in words, before the details; empty where these say it all.
    pub words: &'static str,
    /// How often the call is made before its failure counts.
    pub attempts: u32,
    /// Whether fewer tests in one call may help.
    pub split: Split,
    /// No other call of this run can succeed either.
    pub stops_run: bool,
    /// Whom it concerns.
    pub concerns: Concerns,
    /// What to do.
    pub hint: Hint,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// What it is.
    pub kind: Kind,
    /// Which call it was.
    pub call: Call,
    /// [`Kind::Budget`]: the limit that is used up, and when it is free again.
    pub limit: Option<(&'static str, DateTime<Utc>)>,
    /// What the answer states about limits, and how long it asks to wait.
    pub(super) stated: Stated,
    /// The answer is a web page, which Catchpoint's API never sends.
    pub(super) is_page: bool,
    /// The details in words.
    pub(super) detail: String,
}

impl std::error::Error for CallError {}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.call == Call::Token && self.kind != Kind::Credentials {
            f.write_str("token call: ")?;
        }
        let words = [class(self.kind).words, &self.detail];
        let said = words.into_iter().filter(|words| !words.is_empty());
        f.write_str(&said.collect::<Vec<_>>().join(": "))
    }
}

impl CallError {
    /// A failure of a call for results, with its details in words.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            call: Call::Results,
            limit: None,
            stated: Stated::default(),
            is_page: false,
            detail: detail.into(),
        }
    }

    /// No answer came from this origin.
    pub fn sending(error: &SendError, origin: &str) -> Self {
        let (kind, words) = match error {
            SendError::Denied => (
                Kind::Denied,
                format!("the host does not allow calls to {origin}"),
            ),
            SendError::TimedOut => (Kind::TimedOut, format!("no answer from {origin} in time")),
            SendError::Unreachable(words) if words.contains(origin) => {
                (Kind::Unreachable, words.clone())
            }
            SendError::Unreachable(words) => (Kind::Unreachable, format!("{origin}: {words}")),
        };
        Self::new(kind, words)
    }

    /// A call was answered with another status than success. `query` is none for the token call.
    pub fn answered(
        status: u16,
        headers: &Headers,
        body: &str,
        query: Option<&Query>,
        now: DateTime<Utc>,
    ) -> Self {
        let stated = Stated::read(headers, body, now);
        let text = complaint::words_of(body);
        let is_page = complaint::title(body).is_some();
        let is_ranged = matches!(query, Some(Query::Ranged(..)));
        let kind = match status {
            300..=399 => Kind::Redirect,
            429 if stated.is_day() => Kind::DayQuota,
            429 => Kind::TooManyCalls,
            401 => Kind::Credentials,
            _ if is_about_token(&text) => Kind::Credentials,
            403 if is_cloudflare(headers, body, is_page) => Kind::Blocked,
            // Cloudflare's other 503s are Catchpoint's own.
            503 if headers.get("cf-mitigated").is_some() => Kind::Blocked,
            408 | 500..=599 => Kind::ServerError,
            400 | 403 if query.is_none() => Kind::Credentials,
            _ if query.is_none() => Kind::WrongPath,
            403 => Kind::Forbidden,
            404 if is_ranged => Kind::RangedRefused,
            404 if !is_page && names_a_test(&text) => Kind::Refused,
            404 | 405 | 410 => Kind::WrongPath,
            _ if is_ranged => Kind::RangedRefused,
            _ => Kind::Refused,
        };
        let detail = match (kind, headers.get("location")) {
            (Kind::Redirect, Some(location)) => {
                let location = excerpt(location);
                format!("HTTP {status}: Catchpoint redirects to {location}, which is not followed")
            }
            (Kind::Redirect, None) => format!("HTTP {status}: a redirect without a Location"),
            (Kind::TooManyCalls | Kind::DayQuota | Kind::Credentials, _) => text,
            _ if text.is_empty() => format!("HTTP {status}"),
            _ => format!("HTTP {status}: {text}"),
        };
        Self {
            stated,
            is_page,
            call: query.map_or(Call::Token, |_| Call::Results),
            ..Self::new(kind, detail)
        }
    }

    /// The answer to this query is about another time range: its times had no effect.
    pub fn other_time(query: &Query) -> Self {
        let kind = match query {
            Query::Ranged(..) => Kind::RangedRefused,
            _ => Kind::Refused,
        };
        Self::new(kind, "the answer is about another time range")
    }

    /// A success whose body holds a complaint.
    pub fn complained(text: String, now: DateTime<Utc>) -> Self {
        let stated = Stated::read(&Headers::default(), &text, now);
        let lower = text.to_ascii_lowercase();
        let kind = if is_about_token(&text) {
            Kind::Credentials
        } else if stated.is_day() {
            Kind::DayQuota
        } else if stated.quota || lower.contains("rate limit") {
            Kind::TooManyCalls
        } else {
            Kind::Refused
        };
        Self {
            stated,
            ..Self::new(kind, text)
        }
    }

    /// What it means and what to do: the table of failures.
    pub fn class(&self) -> Class {
        let mut class = class(self.kind);
        match self.kind {
            Kind::Credentials if self.is_page => class.hint = PAGE_CREDENTIALS,
            Kind::ServerError | Kind::Forbidden | Kind::Refused | Kind::RangedRefused
                if self.is_page =>
            {
                class.hint = BODY;
            }
            _ => {}
        }
        if self.call == Call::Results || class.concerns == Concerns::Limits {
            return class;
        }
        // Without a token there is no call at all, whatever the tests.
        Class {
            split: Split::Never,
            stops_run: true,
            concerns: Concerns::Token,
            hint: match self.kind {
                Kind::WrongPath | Kind::Redirect | Kind::Html | Kind::Syntax | Kind::Shape => {
                    TOKEN_ADDRESS
                }
                Kind::ServerError if self.is_page => TOKEN_ADDRESS,
                _ => class.hint,
            },
            ..class
        }
    }
}

/// The table itself.
#[rustfmt::skip]
fn class(kind: Kind) -> Class {
    use Concerns as C;
    use Split::{IfOthersAnswer, Never, Now};
    const WAIT: Hint = Hint::assured(NEXT_RUN, "ask Catchpoint's support");
    const NET: Hint = Hint::assured(NEXT_RUN, "check the network and the keys protocol and domain");
    const LIMITS: Hint = Hint::assured(LATER_RUNS, "if others use this API consumer too, lower `limits` to this collector's share");
    let (words, attempts, split, stops_run, concerns, hint) = match kind {
        Kind::Denied        => ("", 1, Never, true,  C::Configuration, Hint::new("set the variable catchpoint_host (SPIN_VARIABLE_CATCHPOINT_HOST in the environment) to this origin, for allowed_outbound_hosts in spin.toml; check also that relay_url is not empty, because Spin then ignores the whole list")),
        Kind::Unreachable   => ("", ATTEMPTS, Never, false, C::Network, NET),
        Kind::TimedOut      => ("", ATTEMPTS, IfOthersAnswer, false, C::Network, NET),
        Kind::Redirect      => ("", 1, Never, true,  C::Configuration, Hint::new("set the keys protocol and domain to where it redirects, if that is Catchpoint")),
        Kind::TooManyCalls  => ("HTTP 429, too many calls", ATTEMPTS, Never, false, C::Catchpoint, LIMITS),
        Kind::DayQuota      => ("the day's quota is exceeded", 1, Never, true,  C::Limits, LIMITS),
        Kind::Budget        => ("", 1, Never, true,  C::Limits, Hint::assured(LATER_RUNS, "`check` shows what this configuration needs")),
        Kind::Blocked       => ("Cloudflare, which protects Catchpoint's API, blocks this client", 1, Never, true,  C::Network, Hint::new("set the key user_agent in config_catchpoint.yaml to that of a known client, for instance curl/8.5.0, or ask Catchpoint's support to allow this address")),
        Kind::Credentials   => ("the credentials were refused", 1, Never, true,  C::Token, Hint::new("check client_id and client_secret (v1) or api_key (v2 and later), in the variables and in config_catchpoint.yaml; if the token format is rejected, try `token_encoding: plain`")),
        Kind::Forbidden     => ("", 1, Now,   false, C::Tests, Hint::new("check that the API consumer may read this test")),
        Kind::WrongPath     => ("", 1, Never, true,  C::Configuration, Hint::new("check the keys domain, version, rawdata_endpoint (v1) and explorer_endpoint (v2 and later)")),
        Kind::Refused       => ("Catchpoint refused the query", 1, Now,   false, C::Tests, REFUSED),
        Kind::RangedRefused => ("", 1, Now,   false, C::Tests, RANGED),
        Kind::ServerError   => ("", ATTEMPTS, IfOthersAnswer, false, C::Catchpoint, WAIT),
        Kind::Html          => ("", ATTEMPTS, Never, false, C::Catchpoint, BODY),
        Kind::Truncated     => ("the answer is truncated", ATTEMPTS_BROKEN, Now, false, C::Catchpoint, WAIT),
        Kind::TooLarge      => ("", 1, Now,   false, C::Tests, Hint::assured("nothing is lost: the next calls ask for fewer tests or a shorter time range; ", "lower batch_size to save these calls")),
        Kind::Syntax        => ("the answer cannot be read", ATTEMPTS_BROKEN, Now, false, C::Catchpoint, BODY),
        Kind::Shape         => ("the answer is not what the API documents", ATTEMPTS_BROKEN, IfOthersAnswer, false, C::Catchpoint, BODY),
        Kind::TimeZone      => ("the answer's times are in a time zone whose offset is not known", 1, Never, false, C::Catchpoint, Hint::new("set the time zone of the API consumer to UTC in Catchpoint's portal")),
        Kind::Paging        => ("", 1, Now,   false, C::Catchpoint, Hint::new("lower batch_size, so that an answer is one page")),
        Kind::NoTime        => ("the run's time is up", 1, Never, true,  C::Limits, Hint::assured("nothing is lost: the next run continues from here; if it happens often, ", "raise run_deadline_seconds")),
        Kind::LeaseLost     => ("another run has taken over", 1, Never, true,  C::Run, Hint::assured("nothing is lost: the other run continues from here; if it happens often, ", "see what suspends this machine, or lower request_timeout_seconds")),
    };
    Class { words, attempts, split, stops_run, concerns, hint }
}

/// Whether Catchpoint's words are about the token: "Expired token", "Invalid token", in any case.
fn is_about_token(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let words = ["expired token", "invalid token", "token expired"];
    words.iter().any(|words| text.contains(words))
}

/// Whether Catchpoint's words are about a test, and not about the address.
fn names_a_test(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("test") && !text.contains("://") && !text.contains("resource")
}

/// Whether Cloudflare has answered in Catchpoint's place.
fn is_cloudflare(headers: &Headers, body: &str, html: bool) -> bool {
    let server = headers.get("server").unwrap_or_default();
    let by_cloudflare = server.eq_ignore_ascii_case("cloudflare");
    let lower = body.to_ascii_lowercase();
    let has = |words: &str| lower.contains(words);
    headers.get("cf-mitigated").is_some()
        || (html && (by_cloudflare || has("cloudflare")))
        || has("browser_signature_banned")
        || has("error code: 10")
        || (has("error_code") && has("1010"))
}

#[cfg(test)]
mod tests;
