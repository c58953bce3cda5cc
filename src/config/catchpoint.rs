//! `config_catchpoint.yaml`: the original's keys, unchanged, and our optional ones.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use chrono::DateTime;

use super::secret::Secret;
use super::yaml::{Node, Section, Value};

/// The name of the file.
pub const FILE_NAME: &str = "config_catchpoint.yaml";

/// Which of Catchpoint's APIs is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The one of the original script: a token, then LastRaw.
    V1,
    /// The one Catchpoint documents today: an API key, then the test explorer's raw data.
    V2,
}

/// How the token goes into the `Authorization` header. Both forms are in use against v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenEncoding {
    /// `Bearer base64(token)`, as the original sends it.
    Base64,
    /// `Bearer token`.
    Plain,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every call.
    Debug,
    /// Every run.
    Info,
    /// Only what went wrong.
    Error,
}

/// The tests of one type, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestGroup {
    /// The type's name, as the file has it: `web`, `dns`, …
    pub test_type: String,
    /// The ids, each once.
    pub ids: Vec<u64>,
}

/// How many calls Catchpoint allows a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In a second.
    pub per_second: u32,
    /// In a minute.
    pub per_minute: u32,
    /// In an hour.
    pub per_hour: u32,
    /// In a day; the day begins at 00:00 UTC.
    pub per_day: u32,
}

/// The validated content of the file.
#[derive(Debug, Clone)]
pub struct CatchpointFile {
    /// Key of the API consumer, for v1.
    pub client_id: Option<Secret>,
    /// Secret of the API consumer, for v1.
    pub client_secret: Option<Secret>,
    /// REST API key, for v2.
    pub api_key: Option<Secret>,
    /// `https`, or `http` for a local stand-in.
    pub protocol: &'static str,
    /// Host, and the path that v1 lives under.
    pub domain: String,
    /// Path of the token call, below `domain`.
    pub token_endpoint: String,
    /// The API version.
    pub version: Version,
    /// Path and first parameter of LastRaw, below `domain` and version.
    pub rawdata_endpoint: String,
    /// Path of v2's raw data, below the host of `domain`.
    pub explorer_endpoint: String,
    /// How a time is written in a v1 query, in strftime's terms.
    pub time_format: String,
    /// How the bearer token is sent.
    pub token_encoding: TokenEncoding,
    /// The tests to collect, by type; types without ids are left out.
    pub tests: Vec<TestGroup>,
    /// How many test ids go into one call.
    pub batch_size: usize,
    /// What the log holds.
    pub log_level: LogLevel,
    /// The API's limits.
    pub limits: Limits,
    /// How often a run is scheduled; the budget of a day is planned with it.
    pub run_every: Duration,
    /// After this long, a run leaves what is left to the next one.
    pub run_deadline: Duration,
    /// Longest wait for a connection, and for the next bytes of an answer.
    pub request_timeout: Duration,
    /// How much of the end of a window is fetched again by the next run, for late results.
    pub overlap: Duration,
    /// How far back a gap is filled.
    pub max_backfill: Duration,
}

impl CatchpointFile {
    /// Reads the keys of the file; what is wrong is noted in the section's document.
    pub fn read(mut top: Section<'_>) -> Self {
        let secret = |text: Option<String>| text.as_deref().and_then(Secret::new);
        let client_id = secret(top.text("client_id"));
        let client_secret = secret(top.text("client_secret"));
        let api_key = secret(top.text("api_key"));
        // Part of the original's file, but neither its script nor the API uses it.
        top.text("refresh_token");
        let protocol = top
            .choice("protocol", &["https", "http"])
            .unwrap_or("https");
        let domain = read_path(&mut top, "domain", "io.catchpoint.com/ui/api");
        let token_endpoint = read_path(&mut top, "token_endpoint", "token");
        let version = match top.choice("version", &["v1", "v2"]) {
            Some("v2") => Version::V2,
            _ => Version::V1,
        };
        let rawdata_endpoint = read_path(&mut top, "rawdata_endpoint", "performance/raw?tests");
        let explorer_endpoint =
            read_path(&mut top, "explorer_endpoint", "api/v2/tests/explorer/raw");
        let time_format = read_time_format(&mut top);
        let token_encoding = match top.choice("token_encoding", &["base64", "plain"]) {
            Some("plain") => TokenEncoding::Plain,
            _ => TokenEncoding::Base64,
        };
        let tests = read_tests(&mut top);
        let batch_size = top.number("batch_size", 1..=1000, 10);
        // The host program decides where the log goes; the key stays valid.
        top.text("log_file");
        let log_level = match top.choice("log_level", &["debug", "info", "error"]) {
            Some("debug") => LogLevel::Debug,
            Some("error") => LogLevel::Error,
            _ => LogLevel::Info,
        };
        let limits = read_limits(&mut top);
        let minutes = |n: u64| Duration::from_secs(n * 60);
        let file = Self {
            client_id,
            client_secret,
            api_key,
            protocol,
            domain,
            token_endpoint,
            version,
            rawdata_endpoint,
            explorer_endpoint,
            time_format,
            token_encoding,
            tests,
            batch_size: usize::try_from(batch_size).unwrap_or(usize::MAX),
            log_level,
            limits,
            run_every: minutes(top.number("run_every_minutes", 1..=1440, 15)),
            run_deadline: Duration::from_secs(top.number("run_deadline_seconds", 10..=86_400, 600)),
            request_timeout: Duration::from_secs(top.number(
                "request_timeout_seconds",
                1..=600,
                60,
            )),
            overlap: minutes(top.number("overlap_minutes", 0..=720, 5)),
            max_backfill: minutes(60 * top.number("max_backfill_hours", 1..=720, 24)),
        };
        top.finish();
        file
    }

    /// All test ids, in the order of the file.
    pub fn test_ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.tests
            .iter()
            .flat_map(|group| group.ids.iter().copied())
    }

    /// `https://io.catchpoint.com`: where all calls go, and what `allowed_outbound_hosts` must
    /// hold.
    pub fn origin(&self) -> String {
        let host = self.domain.split('/').next().unwrap_or_default();
        format!("{}://{host}", self.protocol)
    }

    /// Where the token comes from.
    pub fn token_url(&self) -> String {
        format!(
            "{}://{}/{}",
            self.protocol, self.domain, self.token_endpoint
        )
    }
}

/// A text that becomes part of a URL: not empty, no blanks, no slashes at its ends.
fn read_path(top: &mut Section<'_>, key: &'static str, default: &str) -> String {
    let Some((text, place)) = top.text_at(key) else {
        return default.to_owned();
    };
    let trimmed = text.trim().trim_matches('/');
    let scheme = trimmed.contains("://");
    if scheme || trimmed.is_empty() || trimmed.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        let what = if scheme {
            format!("{key}: `{text}` must not begin with a protocol; that is the key `protocol`")
        } else {
            format!("{key}: `{text}` cannot be part of a URL")
        };
        top.note(
            place,
            what,
            format!("write, for instance, `{key}: '{default}'`"),
        );
    }
    trimmed.to_owned()
}

fn read_time_format(top: &mut Section<'_>) -> String {
    const DEFAULT: &str = "%Y-%m-%dT%H:%M:%S";
    let Some((text, place)) = top.text_at("time_format") else {
        return DEFAULT.to_owned();
    };
    // Some parts can be read in a time, but not written.
    let mut written = String::new();
    if write!(written, "{}", DateTime::UNIX_EPOCH.format(&text)).is_ok() {
        return text;
    }
    top.note(
        place,
        format!("time_format: `{text}` is not a strftime format that a time can be written in"),
        format!("write, for instance, `time_format: '{DEFAULT}'`"),
    );
    DEFAULT.to_owned()
}

fn read_limits(top: &mut Section<'_>) -> Limits {
    let mut section = top.section("limits");
    let mut limit = |key, default| {
        u32::try_from(section.number(key, 1..=1_000_000, default)).unwrap_or(u32::MAX)
    };
    let limits = Limits {
        per_second: limit("per_second", 7),
        per_minute: limit("per_minute", 20),
        per_hour: limit("per_hour", 500),
        per_day: limit("per_day", 2000),
    };
    section.finish();
    limits
}

/// `test_ids`: a map of test type to a list of ids, quoted or not. An id that is listed twice
/// counts once.
fn read_tests(top: &mut Section<'_>) -> Vec<TestGroup> {
    let mut seen = BTreeSet::new();
    let mut groups = Vec::new();
    let section = top.section("test_ids");
    for (test_type, node) in section.into_entries() {
        let mut ids = Vec::new();
        for node in listed(&test_type.name, node, top) {
            if let Some(id) = read_id(&test_type.name, &node, top)
                && seen.insert(id)
            {
                ids.push(id);
            }
        }
        if ids.is_empty() {
            continue;
        }
        groups.push(TestGroup {
            test_type: test_type.name,
            ids,
        });
    }
    groups
}

/// The items of a list; a lone id is a list of one, nothing is an empty list.
fn listed(test_type: &str, node: Node, top: &Section<'_>) -> Vec<Node> {
    match node.value {
        Value::Null => Vec::new(),
        Value::List(nodes) => nodes,
        Value::Scalar(ref text) if text.trim().is_empty() => Vec::new(),
        Value::Scalar(_) => vec![node],
        Value::Map(_) => {
            top.note(
                node.place,
                format!("test_ids.{test_type}: expected a list of test ids, found a map"),
                format!("write `{test_type}: ['142619', '142620']`"),
            );
            Vec::new()
        }
    }
}

fn read_id(test_type: &str, node: &Node, top: &Section<'_>) -> Option<u64> {
    let found = match &node.value {
        Value::Scalar(text) => {
            let text = text.trim();
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if let Some(id) = digits.then(|| text.parse().ok()).flatten() {
                return Some(id);
            }
            format!("`{text}`")
        }
        other => other.kind().to_owned(),
    };
    top.note(
        node.place,
        format!("test_ids.{test_type}: {found} is not a test id"),
        "a test id is the number in the test's address in the portal, for instance 142619"
            .to_owned(),
    );
    None
}
