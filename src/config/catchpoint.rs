//! `config_catchpoint.yaml`: the original's keys, unchanged, and our optional ones.

mod tests_by_type;
mod wanted;

use std::fmt::Write;
use std::time::Duration;

use catchpoint_graphite_settings::problem::Problem;
use catchpoint_graphite_settings::secret::Secret;
use catchpoint_graphite_settings::yaml::{self, Section};
use chrono::DateTime;

pub use tests_by_type::TestGroup;
pub use wanted::{NEEDS_V2, TYPE_IDS, WantedTests};

/// The name of the file.
pub const FILE_NAME: &str = "config_catchpoint.yaml";

/// Which of Catchpoint's APIs is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiVersion {
    /// The one of the original script: a token, then LastRaw.
    V1,
    /// The test explorer's raw data with an API key; the text is the version as it stands in the
    /// path, for instance `v2`.
    Explorer(&'static str),
}

impl ApiVersion {
    /// The version as it stands in paths and in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Explorer(version) => version,
        }
    }
}

/// What runs ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Everything, in each run.
    Full,
    /// Everything, but only every few hours: push has brought most of it.
    Gaps,
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

/// How many calls Catchpoint allows a consumer, each 1 to 1000000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In a second. Default 7.
    pub per_second: u32,
    /// In a minute. Default 20.
    pub per_minute: u32,
    /// In an hour. Default 500.
    pub per_hour: u32,
    /// In a day; the day begins at 00:00 UTC. Default 2000.
    pub per_day: u32,
}

/// The content of the file.
#[derive(Debug, Clone)]
pub struct CatchpointSettings {
    /// Key of the API consumer, for v1.
    pub client_id: Option<Secret>,
    /// Secret of the API consumer, for v1.
    pub client_secret: Option<Secret>,
    /// REST API key, for v2 and later.
    pub api_key: Option<Secret>,
    /// `https`, or `http` for a local stand-in. Default `https`.
    pub protocol: &'static str,
    /// Host, and the path that v1 is under. Default `io.catchpoint.com/ui/api`.
    pub domain: String,
    /// Path of the token call, below `domain`. Default `token`.
    pub token_endpoint: String,
    /// The API version: `v1`, `v2`, `v3`, `v3.3`, `v3.4` or `v4`. Default `v1`.
    pub version: ApiVersion,
    /// Path and first parameter of LastRaw, below `domain` and version. Default
    /// `performance/raw?tests`.
    pub rawdata_endpoint: String,
    /// Path of the explorer's raw data, below the host of `domain`. Default
    /// `api/<version>/tests/explorer/raw`.
    pub explorer_endpoint: String,
    /// The dimensions that v2 and later are asked for, by Catchpoint's numbers; empty: none are
    /// asked for, and Catchpoint chooses. Default Test 16, Node 1, Step 6 and HopNumber 90.
    pub dimension_ids: Vec<u32>,
    /// The `User-Agent` header of calls to Catchpoint. Default `catchpoint-graphite/<version>`.
    pub user_agent: String,
    /// How a time is written in a v1 query, in strftime's terms. Default `%Y-%m-%dT%H:%M:%S`.
    pub time_format: String,
    /// How the bearer token is sent. Default `base64`.
    pub token_encoding: TokenEncoding,
    /// The tests to collect, by type; types without ids are left out. Types that are not
    /// known must be in `other_test_types`.
    pub tests: Vec<TestGroup>,
    /// Which tests Catchpoint is asked to list, to be collected as well; with v2 and later.
    pub wanted: Option<WantedTests>,
    /// How many test ids go into one call, 1 to 1000. Default 10.
    pub batch_size: usize,
    /// What the log holds: `debug`, `info` or `error`. Default `info`.
    pub log_level: LogLevel,
    /// The API's limits.
    pub limits: Limits,
    /// How often a run is scheduled, 1 to 1440 minutes; the calls of a day are planned with it.
    /// Default 15.
    pub run_every: Duration,
    /// What runs ask for when results are pushed, too. Default `full`.
    pub poll: Poll,
    /// After this long, a run leaves what is left to the next one, 10 to 86400 seconds. Default 600.
    pub run_deadline: Duration,
    /// Longest wait for a connection, and for the next bytes of an answer, 1 to 600 seconds. Default
    /// 60.
    pub request_timeout: Duration,
    /// How much of the end of a window is fetched again by the next run, for late results, 0 to 720
    /// minutes. Default 5.
    pub overlap: Duration,
    /// How far back a gap is filled, 1 to 720 hours. Default 24.
    pub max_backfill: Duration,
}

impl Default for CatchpointSettings {
    fn default() -> Self {
        Self::read(FILE_NAME, "").0
    }
}

impl CatchpointSettings {
    /// Reads a file's text, and what is wrong in it; a wrong value has its default.
    #[must_use]
    pub fn read(file: &str, text: &str) -> (Self, Vec<Problem>) {
        yaml::read(file, text, Self::keys)
    }

    fn keys(top: &mut Section<'_>) -> Self {
        let seconds = Duration::from_secs;
        let minutes = |number: u64| Duration::from_secs(60 * number);
        let client_id = top.secret("client_id");
        let client_secret = top.secret("client_secret");
        let api_key = top.secret("api_key");
        // Part of the original's file; neither its script nor the API uses it.
        top.text("refresh_token");
        // The host program decides where the log goes.
        top.text("log_file");
        let version = top.choice("version", ApiVersion::V1, &VERSIONS);
        let explorer = match version {
            ApiVersion::V1 => "v2",
            ApiVersion::Explorer(version) => version,
        };
        let explorer = format!("api/{explorer}/tests/explorer/raw");
        Self {
            client_id,
            client_secret,
            api_key,
            protocol: top.choice("protocol", "https", &[("https", "https"), ("http", "http")]),
            domain: top.checked("domain", "io.catchpoint.com/ui/api", url_part),
            token_endpoint: top.checked("token_endpoint", "token", url_part),
            version,
            rawdata_endpoint: top.checked("rawdata_endpoint", "performance/raw?tests", url_part),
            explorer_endpoint: top.checked("explorer_endpoint", &explorer, url_part),
            dimension_ids: dimension_ids(top),
            user_agent: top.checked("user_agent", USER_AGENT, user_agent),
            time_format: top.checked("time_format", "%Y-%m-%dT%H:%M:%S", time_format),
            token_encoding: top.choice(
                "token_encoding",
                TokenEncoding::Base64,
                &[
                    ("base64", TokenEncoding::Base64),
                    ("plain", TokenEncoding::Plain),
                ],
            ),
            tests: tests_by_type::read(top),
            wanted: wanted::read(top, version),
            batch_size: top.number("batch_size", 1..=1000, 10),
            log_level: top.choice(
                "log_level",
                LogLevel::Info,
                &[
                    ("info", LogLevel::Info),
                    ("debug", LogLevel::Debug),
                    ("error", LogLevel::Error),
                ],
            ),
            limits: top.section("limits", "{ per_day: 2000 }", |limits| Limits {
                per_second: limits.number("per_second", 1..=1_000_000, 7),
                per_minute: limits.number("per_minute", 1..=1_000_000, 20),
                per_hour: limits.number("per_hour", 1..=1_000_000, 500),
                per_day: limits.number("per_day", 1..=1_000_000, 2000),
            }),
            run_every: minutes(top.number("run_every_minutes", 1..=1440, 15)),
            poll: top.choice(
                "poll",
                Poll::Full,
                &[("full", Poll::Full), ("gaps", Poll::Gaps)],
            ),
            run_deadline: seconds(top.number("run_deadline_seconds", 10..=86_400, 600)),
            request_timeout: seconds(top.number("request_timeout_seconds", 1..=600, 60)),
            overlap: minutes(top.number("overlap_minutes", 0..=720, 5)),
            max_backfill: minutes(60 * top.number("max_backfill_hours", 1..=720, 24)),
        }
    }

    /// All test ids, in the order of the file, then of Catchpoint's list.
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

const USER_AGENT: &str = concat!("catchpoint-graphite/", env!("CARGO_PKG_VERSION"));

/// The values of the key `version`.
const VERSIONS: [(&str, ApiVersion); 6] = [
    ("v1", ApiVersion::V1),
    ("v2", ApiVersion::Explorer("v2")),
    ("v3", ApiVersion::Explorer("v3")),
    ("v3.3", ApiVersion::Explorer("v3.3")),
    ("v3.4", ApiVersion::Explorer("v3.4")),
    ("v4", ApiVersion::Explorer("v4")),
];

/// A text that becomes part of a URL: not empty, no blanks, no slashes at its ends.
fn url_part(text: &str) -> Result<&str, &'static str> {
    let part = text.trim().trim_matches('/');
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    if part.contains('@') {
        Err(
            "cannot hold a user name and password; credentials belong in client_id, client_secret and api_key",
        )
    } else if part.contains("://") {
        Err("must not begin with a protocol; that is the key `protocol`")
    } else if part.is_empty() || part.contains(is_blank) {
        Err("cannot be part of a URL")
    } else {
        Ok(part)
    }
}

fn time_format(text: &str) -> Result<&str, &'static str> {
    // Some parts can be read in a time, but not written.
    let mut written = String::new();
    write!(written, "{}", DateTime::UNIX_EPOCH.format(text))
        .map(|()| text)
        .map_err(|_| "is not a strftime format that a time can be written in")
}

fn user_agent(text: &str) -> Result<&str, &'static str> {
    let is_visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    match !text.trim().is_empty() && text.bytes().all(is_visible) {
        true => Ok(text.trim()),
        false => Err("cannot be an HTTP header: use ASCII letters, digits, signs and spaces"),
    }
}

fn dimension_ids(top: &mut Section<'_>) -> Vec<u32> {
    let hint = "write numbers, for instance `dimension_ids: [16, 1, 6, 90]`";
    let ids = top.list("dimension_ids", "the number of a dimension", hint);
    let ids = ids.map(|ids| ids.into_iter().map(|(id, _)| id).collect());
    ids.unwrap_or_else(|| vec![16, 1, 6, 90])
}
