//! `config_graphite.yaml`: the original's two keys and our optional ones, for the component and,
//! under `relay`, for the relay.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::problem::{Problem, Problems};
use crate::yaml::value::{flag, problem, seconds, secret_problem, whole};
use crate::yaml::{File, quote};

/// The name of the file.
pub const FILE_NAME: &str = "config_graphite.yaml";

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const PIB: u64 = 1 << 50;

/// The longest line that the relay accepts, in bytes; a batch may be this much over `batch_bytes`.
const LONGEST_LINE: u64 = 16_384;

/// What the relay keeps free in the spool beside a batch, in bytes, rounded up.
const BATCH_OVERHEAD: u64 = 128 << 10;

/// The content of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphiteSettings {
    /// Host name or address of carbon, without scheme or port; the relay connects to it. Default
    /// `127.0.0.1`.
    #[serde(deserialize_with = "host")]
    pub carbon_server: String,
    /// Carbon's plaintext port, 1 to 65535. Default 2003.
    #[serde(deserialize_with = "whole::<1, 65_535, 2003, _, _>")]
    pub carbon_port: u16,
    /// What every series name begins with. Default `system.cp.testdata`.
    #[serde(deserialize_with = "prefix")]
    pub metric_prefix: String,
    /// Whether the collector's own metrics are sent. Default true.
    #[serde(deserialize_with = "flag")]
    self_metrics: bool,
    /// What the series of the collector's own metrics begin with; none if they are not sent. Default
    /// `system.cp.collector`.
    #[serde(deserialize_with = "some_prefix")]
    pub self_metrics_prefix: Option<String>,
    /// Bytes of lines in one POST to the relay, 16 KiB to 16 MiB; the last line may go beyond.
    /// Default 1 MiB.
    #[serde(deserialize_with = "whole::<16_384, 16_777_216, 1_048_576, _, _>")]
    pub batch_bytes: usize,
    /// The relay's own settings.
    pub relay: RelaySettings,
}

/// The relay's settings; the flags of its command line win over them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelaySettings {
    /// Address and port to listen on. Default `127.0.0.1:2080`.
    pub listen: String,
    /// Folder of the spool. Default `spool`, in the folder that the relay is started in.
    pub spool: PathBuf,
    /// Most bytes in the spool, 1 MiB to 1 PiB; beyond it the relay answers 503. Default 1 GiB.
    #[serde(deserialize_with = "whole::<MIB, PIB, GIB, _, _>")]
    pub spool_max_bytes: u64,
    /// File of bearer tokens, one a line; none: no token is needed.
    pub token_file: Option<PathBuf>,
    /// Certificate chain in PEM; none: HTTP without TLS.
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// Certificates in PEM of the authorities that sign the certificates of clients; none: clients
    /// need no certificate.
    pub tls_client_ca: Option<PathBuf>,
    /// How long confirmed batches are kept to be sent again, 0 to 86400 seconds. Default 900.
    #[serde(
        rename = "replay_window_seconds",
        deserialize_with = "seconds::<0, 86_400, 900, _>"
    )]
    pub replay_window: Duration,
    /// Accepted and not used: confirmed batches are kept while `spool_max_bytes` has room.
    #[serde(deserialize_with = "whole::<0, PIB, 268_435_456, _, _>")]
    pub replay_max_bytes: u64,
    /// Most lines a second to carbon, 0 to 1000000000; 0 is no limit. Default 0.
    #[serde(deserialize_with = "whole::<0, 1_000_000_000, 0, _, _>")]
    pub max_lines_per_second: u64,
    /// How long a stop may take to send what is in the spool, 0 to 3600 seconds. Default 10.
    #[serde(
        rename = "drain_timeout_seconds",
        deserialize_with = "seconds::<0, 3600, 10, _>"
    )]
    pub drain_timeout: Duration,
    /// Largest body that the relay accepts, after decompression, 1 MiB to 1 GiB. Default 16 MiB.
    #[serde(deserialize_with = "whole::<MIB, GIB, 16_777_216, _, _>")]
    pub max_body_bytes: u64,
    /// How far ahead of the relay's clock a point's time may be, 0 to 43200 seconds. A point in the
    /// future takes the place of an older one in whisper's ring. Default 300.
    #[serde(
        rename = "max_future_seconds",
        deserialize_with = "seconds::<0, 43_200, 300, _>"
    )]
    pub max_future: Duration,
}

impl Default for GraphiteSettings {
    fn default() -> Self {
        Self {
            carbon_server: "127.0.0.1".to_owned(),
            carbon_port: 2003,
            metric_prefix: "system.cp.testdata".to_owned(),
            self_metrics: true,
            self_metrics_prefix: Some("system.cp.collector".to_owned()),
            batch_bytes: 1 << 20,
            relay: RelaySettings::default(),
        }
    }
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:2080".to_owned(),
            spool: PathBuf::from("spool"),
            spool_max_bytes: GIB,
            token_file: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            replay_window: Duration::from_secs(900),
            replay_max_bytes: 256 * MIB,
            max_lines_per_second: 0,
            drain_timeout: Duration::from_secs(10),
            max_body_bytes: 16 * MIB,
            max_future: Duration::from_secs(300),
        }
    }
}

impl GraphiteSettings {
    /// Reads a file's text for the relay; `file` is its name in messages.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn load(file: &str, text: &str) -> Result<Self, Problems> {
        let file = File::new(file, text);
        let settings = file.read().map(Self::finish);
        match (settings, file.into_problems()) {
            (Some(settings), problems) if problems.is_empty() => Ok(settings),
            (_, problems) => Err(Problems(problems)),
        }
    }

    /// Reads a file's text for the component, and what is wrong in it; a wrong value has its
    /// default. None if the text holds no keys at all.
    #[must_use]
    pub fn read(file: &str, text: &str) -> (Option<Self>, Vec<Problem>) {
        let file = File::new(file, text);
        let settings = file.read().map(Self::finish);
        if let Some(settings) = &settings {
            settings.note_large_batch(&file);
        }
        (settings, file.into_problems())
    }

    fn finish(mut self) -> Self {
        if !self.self_metrics {
            self.self_metrics_prefix = None;
        }
        self
    }

    /// Notes a batch that the relay would answer with 413, run after run.
    fn note_large_batch(&self, file: &File<'_>) {
        let keys: [&[&str]; 3] = [
            &["batch_bytes"],
            &["relay", "max_body_bytes"],
            &["relay", "spool_max_bytes"],
        ];
        let largest = self.batch_bytes as u64 + LONGEST_LINE;
        let room = self.relay.spool_max_bytes.saturating_sub(BATCH_OVERHEAD);
        let limit = self.relay.max_body_bytes.min(room);
        // With the defaults it fits, so one of them is written.
        let written = keys.iter().find_map(|path| file.value(path));
        if let Some(node) = written.filter(|_| largest > limit) {
            let lower = limit.saturating_sub(LONGEST_LINE);
            file.note(
                node.id,
                format!(
                    "a batch can be {largest} bytes (batch_bytes and one line more), but the relay accepts {limit} at most"
                ),
                format!(
                    "write `batch_bytes: {lower}`, or raise relay.max_body_bytes and relay.spool_max_bytes"
                ),
            );
        }
    }
}

/// Carbon's host, without scheme or port: the original's README shows a URL, which its script could
/// not use either.
fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let host = text.trim();
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let is_plain = host
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if !host.is_empty() && (is_plain || is_v6) {
        return Ok(host.to_owned());
    }
    let hint = "write the host alone, `{key}: '127.0.0.1'`; the port is the key `carbon_port`";
    // Before an `@` there may be a password.
    Err(D::Error::custom(if host.contains('@') {
        secret_problem("this is not a host name or address", hint)
    } else {
        problem(
            format!("{} is not a host name or address", quote(&text)),
            hint,
        )
    }))
}

fn some_prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    prefix(deserializer).map(Some)
}

/// A dotted path that carbon accepts as the beginning of a series name.
fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let has_empty_part = text.split('.').any(str::is_empty);
    if !has_empty_part && text.chars().all(is_allowed) {
        return Ok(text);
    }
    Err(D::Error::custom(problem(
        format!("{} cannot begin a series name", quote(&text)),
        "use letters, digits, `_`, `-` and single dots inside, for instance `{key}: 'system.cp.testdata'`",
    )))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    /// All that is wrong in a text; empty if nothing is.
    fn wrong(text: &str) -> String {
        match GraphiteSettings::load("f", text) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn the_shipped_file_shows_every_key_with_its_default() {
        let shipped = include_str!("../../config/config_graphite.yaml");
        let (_, optional) = shipped.split_once("\n# Everything below").unwrap();
        let uncommented: String = optional
            .lines()
            .skip(1)
            .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap()))
            .collect();
        let mut read = GraphiteSettings::load("f", &uncommented).unwrap();
        let relay = &mut read.relay;
        let examples = [
            &mut relay.token_file,
            &mut relay.tls_cert,
            &mut relay.tls_key,
            &mut relay.tls_client_ca,
        ];
        for example in examples {
            assert!(example.take().is_some());
        }
        assert_eq!(
            format!("{read:?}"),
            format!("{:?}", GraphiteSettings::default())
        );
        let empty = GraphiteSettings::load("f", "").unwrap();
        assert_eq!(
            format!("{empty:?}"),
            format!("{:?}", GraphiteSettings::default())
        );
    }

    #[test]
    fn c13_a_batch_that_the_relay_cannot_accept_is_refused() {
        let wrong = |text| Problems(GraphiteSettings::read("f", text).1).to_string();
        assert_eq!(wrong("batch_bytes: 16760832\n"), "");
        assert_snapshot!(wrong("batch_bytes: 16760833\n"), @"
        f:1:14: a batch can be 16777217 bytes (batch_bytes and one line more), but the relay accepts 16777216 at most
          1 | batch_bytes: 16760833
            |              ^
          help: write `batch_bytes: 16760832`, or raise relay.max_body_bytes and relay.spool_max_bytes
        ");
        for small in [
            "relay: { max_body_bytes: 1048576 }",
            "relay: { spool_max_bytes: 1048576 }",
        ] {
            assert!(wrong(small).contains("the relay accepts"), "{small}");
            // The relay's own file may be another one, without the component's keys.
            assert!(GraphiteSettings::load("f", small).is_ok());
        }
        assert_eq!(
            wrong(
                "batch_bytes: 500000\nrelay: { max_body_bytes: 1048576, spool_max_bytes: 1048576 }\n"
            ),
            ""
        );
    }

    #[test]
    fn r16_a_point_in_the_future_is_bounded() {
        let read = |text| GraphiteSettings::load("f", text).unwrap().relay.max_future;
        assert_eq!(read("relay: { max_future_seconds: 0 }").as_secs(), 0);
        assert_eq!(
            read("relay: { max_future_seconds: 43200 }").as_secs(),
            43_200
        );
        assert!(wrong("relay: { max_future_seconds: 43201 }").contains("from 0 to 43200"));
    }

    #[test]
    fn a_host_is_no_url_and_its_password_is_not_shown() {
        let host = |text: &str| GraphiteSettings::load("f", text).unwrap().carbon_server;
        assert_eq!(host("carbon_server: '[::1]'"), "::1");
        assert_eq!(host("carbon_server: carbon_1.example"), "carbon_1.example");
        let shown = wrong("carbon_server: 'http://user:hunter2@carbon'");
        assert!(
            shown.contains("write the host alone") && !shown.contains("hunter2"),
            "{shown}"
        );
        assert!(
            wrong("carbon_server: 'http://carbon:2003'")
                .contains("`http://carbon:2003` is not a host")
        );
    }
}
