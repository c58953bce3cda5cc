//! `config_catchpoint.yaml`: the original's keys, unchanged, and our optional ones.

mod path;
mod tests_by_type;

use std::fmt::Write;
use std::time::Duration;

use catchpoint_graphite_settings::problem::Problem;
use catchpoint_graphite_settings::secret::Secret;
use catchpoint_graphite_settings::yaml::value::{
    apart, hours, minutes, problem, seconds, secret, unused, whole,
};
use catchpoint_graphite_settings::yaml::{File, quote};
use chrono::DateTime;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

pub use tests_by_type::TestGroup;

/// The name of the file.
pub const FILE_NAME: &str = "config_catchpoint.yaml";

/// A word that this program knows. serde would want to borrow a plain `&str` from the file.
type Word = &'static str;

/// Which of Catchpoint's APIs is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "VersionWord")]
pub enum ApiVersion {
    /// The one of the original script: a token, then LastRaw.
    V1,
    /// The test explorer's raw data with an API key; the text is the version as it stands in the
    /// path, for instance `v2`.
    Explorer(Word),
}

/// The values of the key `version`.
#[derive(Deserialize)]
enum VersionWord {
    #[serde(rename = "v1")]
    V1,
    #[serde(rename = "v2")]
    V2,
    #[serde(rename = "v3")]
    V3,
    #[serde(rename = "v3.3")]
    V3_3,
    #[serde(rename = "v3.4")]
    V3_4,
    #[serde(rename = "v4")]
    V4,
}

impl From<VersionWord> for ApiVersion {
    fn from(word: VersionWord) -> Self {
        match word {
            VersionWord::V1 => Self::V1,
            VersionWord::V2 => Self::Explorer("v2"),
            VersionWord::V3 => Self::Explorer("v3"),
            VersionWord::V3_3 => Self::Explorer("v3.3"),
            VersionWord::V3_4 => Self::Explorer("v3.4"),
            VersionWord::V4 => Self::Explorer("v4"),
        }
    }
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

/// How the token goes into the `Authorization` header. Both forms are in use against v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenEncoding {
    /// `Bearer base64(token)`, as the original sends it.
    Base64,
    /// `Bearer token`.
    Plain,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Every call.
    Debug,
    /// Every run.
    Info,
    /// Only what went wrong.
    Error,
}

/// How many calls Catchpoint allows a consumer, each 1 to 1000000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// In a second. Default 7.
    #[serde(deserialize_with = "whole::<1, 1_000_000, 7, _, _>")]
    pub per_second: u32,
    /// In a minute. Default 20.
    #[serde(deserialize_with = "whole::<1, 1_000_000, 20, _, _>")]
    pub per_minute: u32,
    /// In an hour. Default 500.
    #[serde(deserialize_with = "whole::<1, 1_000_000, 500, _, _>")]
    pub per_hour: u32,
    /// In a day; the day begins at 00:00 UTC. Default 2000.
    #[serde(deserialize_with = "whole::<1, 1_000_000, 2000, _, _>")]
    pub per_day: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_second: 7,
            per_minute: 20,
            per_hour: 500,
            per_day: 2000,
        }
    }
}

/// The content of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatchpointSettings {
    /// Key of the API consumer, for v1.
    #[serde(deserialize_with = "secret")]
    pub client_id: Option<Secret>,
    /// Secret of the API consumer, for v1.
    #[serde(deserialize_with = "secret")]
    pub client_secret: Option<Secret>,
    /// REST API key, for v2 and later.
    #[serde(deserialize_with = "secret")]
    pub api_key: Option<Secret>,
    /// Part of the original's file; neither its script nor the API uses it.
    #[serde(deserialize_with = "unused")]
    pub(crate) refresh_token: (),
    /// `https`, or `http` for a local stand-in. Default `https`.
    #[serde(deserialize_with = "protocol")]
    pub protocol: Word,
    /// Host, and the path that v1 is under. Default `io.catchpoint.com/ui/api`.
    #[serde(deserialize_with = "path::domain")]
    pub domain: String,
    /// Path of the token call, below `domain`. Default `token`.
    #[serde(deserialize_with = "path::token")]
    pub token_endpoint: String,
    /// The API version: `v1`, `v2`, `v3`, `v3.3`, `v3.4` or `v4`. Default `v1`.
    pub version: ApiVersion,
    /// Path and first parameter of LastRaw, below `domain` and version. Default
    /// `performance/raw?tests`.
    #[serde(deserialize_with = "path::rawdata")]
    pub rawdata_endpoint: String,
    /// Path of the explorer's raw data, below the host of `domain`. Default
    /// `api/<version>/tests/explorer/raw`.
    #[serde(deserialize_with = "path::explorer")]
    pub explorer_endpoint: String,
    /// The dimensions that v2 and later are asked for, by Catchpoint's numbers; empty: none are
    /// asked for, and Catchpoint chooses. Default Test 16, Node 1, Step 6 and HopNumber 90.
    #[serde(deserialize_with = "dimension_ids")]
    pub dimension_ids: Vec<u32>,
    /// The `User-Agent` header of calls to Catchpoint. Default `catchpoint-graphite/<version>`.
    #[serde(deserialize_with = "user_agent")]
    pub user_agent: String,
    /// How a time is written in a v1 query, in strftime's terms. Default `%Y-%m-%dT%H:%M:%S`.
    #[serde(deserialize_with = "time_format")]
    pub time_format: String,
    /// How the bearer token is sent. Default `base64`.
    pub token_encoding: TokenEncoding,
    /// The tests to collect, by type; types without ids are left out.
    #[serde(rename = "test_ids", deserialize_with = "apart")]
    pub tests: Vec<TestGroup>,
    /// Test types that may stand in `test_ids` beside the known ones. Default none.
    pub other_test_types: Vec<String>,
    /// How many test ids go into one call, 1 to 1000. Default 10.
    #[serde(deserialize_with = "whole::<1, 1000, 10, _, _>")]
    pub batch_size: usize,
    /// Accepted and not used: the host program decides where the log goes.
    #[serde(deserialize_with = "unused")]
    pub(crate) log_file: (),
    /// What the log holds: `debug`, `info` or `error`. Default `info`.
    pub log_level: LogLevel,
    /// The API's limits.
    pub limits: Limits,
    /// How often a run is scheduled, 1 to 1440 minutes; the calls of a day are planned with it.
    /// Default 15.
    #[serde(
        rename = "run_every_minutes",
        deserialize_with = "minutes::<1, 1440, 15, _>"
    )]
    pub run_every: Duration,
    /// After this long, a run leaves what is left to the next one, 10 to 86400 seconds. Default 600.
    #[serde(
        rename = "run_deadline_seconds",
        deserialize_with = "seconds::<10, 86_400, 600, _>"
    )]
    pub run_deadline: Duration,
    /// Longest wait for a connection, and for the next bytes of an answer, 1 to 600 seconds. Default
    /// 60.
    #[serde(
        rename = "request_timeout_seconds",
        deserialize_with = "seconds::<1, 600, 60, _>"
    )]
    pub request_timeout: Duration,
    /// How much of the end of a window is fetched again by the next run, for late results, 0 to 720
    /// minutes. Default 5.
    #[serde(
        rename = "overlap_minutes",
        deserialize_with = "minutes::<0, 720, 5, _>"
    )]
    pub overlap: Duration,
    /// How far back a gap is filled, 1 to 720 hours. Default 24.
    #[serde(
        rename = "max_backfill_hours",
        deserialize_with = "hours::<1, 720, 24, _>"
    )]
    pub max_backfill: Duration,
}

impl Default for CatchpointSettings {
    fn default() -> Self {
        Self {
            client_id: None,
            client_secret: None,
            api_key: None,
            refresh_token: (),
            protocol: "https",
            domain: path::DOMAIN.to_owned(),
            token_endpoint: path::TOKEN.to_owned(),
            version: ApiVersion::V1,
            rawdata_endpoint: path::RAWDATA.to_owned(),
            explorer_endpoint: path::EXPLORER.to_owned(),
            dimension_ids: vec![16, 1, 6, 90],
            user_agent: concat!("catchpoint-graphite/", env!("CARGO_PKG_VERSION")).to_owned(),
            time_format: TIME_FORMAT.to_owned(),
            token_encoding: TokenEncoding::Base64,
            tests: Vec::new(),
            other_test_types: Vec::new(),
            batch_size: 10,
            log_file: (),
            log_level: LogLevel::Info,
            limits: Limits::default(),
            run_every: Duration::from_secs(15 * 60),
            run_deadline: Duration::from_secs(600),
            request_timeout: Duration::from_secs(60),
            overlap: Duration::from_secs(5 * 60),
            max_backfill: Duration::from_secs(24 * 3600),
        }
    }
}

impl CatchpointSettings {
    /// Reads a file's text, and what is wrong in it; a wrong value has its default. None if the
    /// text holds no keys at all.
    #[must_use]
    pub fn read(file: &str, text: &str) -> (Option<Self>, Vec<Problem>) {
        let file = File::new(file, text);
        let settings = file.read().map(|settings: Self| {
            let is_default = file.value(&["explorer_endpoint"]).is_none();
            let explorer_endpoint = match settings.version {
                ApiVersion::Explorer(version) if is_default => path::explorer_of(version),
                _ => settings.explorer_endpoint,
            };
            Self {
                tests: tests_by_type::read(&file, &settings.other_test_types),
                explorer_endpoint,
                ..settings
            }
        });
        (settings, file.into_problems())
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

fn protocol<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Protocol {
        Https,
        Http,
    }
    Ok(match Protocol::deserialize(deserializer)? {
        Protocol::Https => "https",
        Protocol::Http => "http",
    })
}

const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S";

fn time_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Some parts can be read in a time, but not written.
    let mut written = String::new();
    if write!(written, "{}", DateTime::UNIX_EPOCH.format(&text)).is_ok() {
        return Ok(text);
    }
    Err(D::Error::custom(problem(
        format!(
            "{} is not a strftime format that a time can be written in",
            quote(&text)
        ),
        format!("write, for instance, `{{key}}: '{TIME_FORMAT}'`"),
    )))
}

fn dimension_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    /// One of them.
    struct Id(u32);

    impl<'de> Deserialize<'de> for Id {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            text.trim().parse().map(Self).map_err(|_| {
                D::Error::custom(problem(
                    format!("{} is not the number of a dimension", quote(&text)),
                    "write numbers, for instance `dimension_ids: [16, 1, 6, 90]`",
                ))
            })
        }
    }

    let ids: Vec<Id> = Vec::deserialize(deserializer)?;
    Ok(ids.into_iter().map(|Id(id)| id).collect())
}

fn user_agent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if !text.trim().is_empty() && text.bytes().all(is_visible) {
        return Ok(text.trim().to_owned());
    }
    Err(D::Error::custom(problem(
        "this cannot be an HTTP header",
        "use ASCII letters, digits, signs and spaces, for instance `{key}: 'curl/8.5.0'`",
    )))
}
