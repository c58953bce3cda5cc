//! `config_graphite.yaml`: the original's two keys and our optional ones, for the component and,
//! under `relay`, for the relay.

use std::path::PathBuf;
use std::time::Duration;

use crate::problem::{Problem, Problems};
use crate::yaml::{self, Section, quote};

/// The name of the file.
pub const FILE_NAME: &str = "config_graphite.yaml";

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const PIB: u64 = 1 << 50;

/// The longest line that the relay accepts, in bytes; a batch may be this much over `batch_bytes`.
const LONGEST_LINE: u64 = 16_384;

/// What the relay keeps free in the spool beside a batch, in bytes, rounded up.
const BATCH_OVERHEAD: u64 = 128 << 10;

/// A name in an answer that can be a tag of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// The test's name.
    TestName,
    /// The node's name.
    NodeName,
    /// The type that the test is listed under in `test_ids`.
    TestType,
    /// The step's name.
    StepName,
}

impl Label {
    const ALL: [Self; 4] = [
        Self::TestName,
        Self::NodeName,
        Self::TestType,
        Self::StepName,
    ];

    /// The tag's name, and its word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TestName => "testName",
            Self::NodeName => "nodeName",
            Self::TestType => "testType",
            Self::StepName => "stepName",
        }
    }
}

/// The content of the file.
#[derive(Debug, Clone)]
pub struct GraphiteSettings {
    /// Host name or address of carbon, without scheme or port; the relay connects to it. Default
    /// `127.0.0.1`.
    pub carbon_server: String,
    /// Carbon's plaintext port, 1 to 65535. Default 2003.
    pub carbon_port: u16,
    /// What every series name begins with. Default `system.cp.testdata`.
    pub metric_prefix: String,
    /// Whether metrics have short names of letters, digits and `_` in the series, such as `dns_ms`
    /// (`metric_names: slug`). Default: they have the original's.
    pub slug_names: bool,
    /// Names that every series has as tags, each once. Default none, as in the original.
    pub labels: Vec<Label>,
    /// What the series of the collector's own metrics begin with; none if they are not sent
    /// (`self_metrics: false`). Default `system.cp.collector`.
    pub self_metrics_prefix: Option<String>,
    /// Bytes of lines in one POST to the relay, 16 KiB to 16 MiB; the last line may go beyond.
    /// Default 1 MiB.
    pub batch_bytes: usize,
    /// The relay's own settings.
    pub relay: RelaySettings,
}

/// The relay's settings; the flags of its command line win over them.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Address and port to listen on. Default `127.0.0.1:2080`.
    pub listen: String,
    /// Folder of the spool. Default `spool`, in the folder that the relay is started in.
    pub spool: PathBuf,
    /// Most bytes in the spool, 1 MiB to 1 PiB; beyond it the relay answers 503. Default 1 GiB.
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
    pub replay_window: Duration,
    /// Accepted and not used: confirmed batches are kept while `spool_max_bytes` has room.
    pub replay_max_bytes: u64,
    /// Most lines a second to carbon, 0 to 1000000000; 0 is no limit. Default 0.
    pub max_lines_per_second: u64,
    /// How long a stop may take to send what is in the spool, 0 to 3600 seconds. Default 10.
    pub drain_timeout: Duration,
    /// Largest body that the relay accepts, after decompression, 1 MiB to 1 GiB. Default 16 MiB.
    pub max_body_bytes: u64,
    /// How far ahead of the relay's clock a point's time may be, 0 to 43200 seconds. A point in the
    /// future takes the place of an older one in whisper's ring. Default 300.
    pub max_future: Duration,
}

impl Default for GraphiteSettings {
    fn default() -> Self {
        Self::read(FILE_NAME, "").0
    }
}

impl GraphiteSettings {
    /// Reads a file's text; `file` is its name in messages.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn load(file: &str, text: &str) -> Result<Self, Problems> {
        match Self::read(file, text) {
            (settings, problems) if problems.is_empty() => Ok(settings),
            (_, problems) => Err(Problems(problems)),
        }
    }

    /// Reads a file's text, and what is wrong in it; a wrong value has its default.
    #[must_use]
    pub fn read(file: &str, text: &str) -> (Self, Vec<Problem>) {
        yaml::read(file, text, Self::keys)
    }

    fn keys(top: &mut Section<'_>) -> Self {
        let relay = top.section("relay", "{ listen: '127.0.0.1:2080' }", RelaySettings::keys);
        let self_metrics_prefix = top.checked("self_metrics_prefix", "system.cp.collector", prefix);
        let self_metrics = top.flag("self_metrics", true);
        Self {
            carbon_server: top.checked("carbon_server", "127.0.0.1", host),
            carbon_port: top.number("carbon_port", 1..=65_535, 2003),
            metric_prefix: top.checked("metric_prefix", "system.cp.testdata", prefix),
            slug_names: top.choice(
                "metric_names",
                false,
                &[("original", false), ("slug", true)],
            ),
            labels: labels(top),
            self_metrics_prefix: self_metrics.then_some(self_metrics_prefix),
            batch_bytes: batch_bytes(top, &relay),
            relay,
        }
    }
}

impl RelaySettings {
    fn keys(relay: &mut Section<'_>) -> Self {
        let seconds = |number| Duration::from_secs(number);
        let mut path = |key| relay.text(key).map(PathBuf::from);
        Self {
            spool: path("spool").unwrap_or_else(|| PathBuf::from("spool")),
            token_file: path("token_file"),
            tls_cert: path("tls_cert"),
            tls_key: path("tls_key"),
            tls_client_ca: path("tls_client_ca"),
            listen: relay
                .text("listen")
                .unwrap_or_else(|| "127.0.0.1:2080".to_owned()),
            spool_max_bytes: relay.number("spool_max_bytes", MIB..=PIB, GIB),
            replay_window: seconds(relay.number("replay_window_seconds", 0..=86_400, 900)),
            replay_max_bytes: relay.number("replay_max_bytes", 0..=PIB, 256 * MIB),
            max_lines_per_second: relay.number("max_lines_per_second", 0..=1_000_000_000, 0),
            drain_timeout: seconds(relay.number("drain_timeout_seconds", 0..=3600, 10)),
            max_body_bytes: relay.number("max_body_bytes", MIB..=GIB, 16 * MIB),
            max_future: seconds(relay.number("max_future_seconds", 0..=43_200, 300)),
        }
    }
}

fn labels(top: &mut Section<'_>) -> Vec<Label> {
    let hint = "write some of testName, nodeName, testType and stepName, for instance `labels: [testName, nodeName]`";
    let words: Vec<(String, usize)> = top.list("labels", "a label", hint).unwrap_or_default();
    let is_of = |word: &str, label: &Label| label.as_str().eq_ignore_ascii_case(word.trim());
    for (word, at) in &words {
        if !Label::ALL.iter().any(|label| is_of(word, label)) {
            top.note(
                "labels",
                *at,
                format!("{} is not a label", quote(word)),
                hint,
            );
        }
    }
    let is_wanted = |label: &Label| words.iter().any(|(word, _)| is_of(word, label));
    Label::ALL.into_iter().filter(is_wanted).collect()
}

/// Carbon's host, without scheme or port: the original's README shows a URL, which its script could
/// not use either.
fn host(text: &str) -> Result<&str, &'static str> {
    let host = text.trim();
    let v6 = host.trim_start_matches('[').trim_end_matches(']');
    if v6.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(v6);
    }
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    match !host.is_empty() && host.chars().all(is_plain) {
        true => Ok(host),
        false => Err(
            "is not a host name or address; write the host alone, the port is the key `carbon_port`",
        ),
    }
}

/// The size of a batch, which the relay must accept: else it would answer with 413, run after run.
fn batch_bytes(top: &mut Section<'_>, relay: &RelaySettings) -> usize {
    let room = relay.spool_max_bytes.saturating_sub(BATCH_OVERHEAD);
    let limit = relay.max_body_bytes.min(room);
    let most = usize::try_from(limit.saturating_sub(LONGEST_LINE)).unwrap_or(usize::MAX);
    let bytes = top.number("batch_bytes", 16 << 10..=16 << 20, most.min(1 << 20));
    // The default fits, so what does not fit is written.
    top.parse("batch_bytes", |_| match bytes > most {
        false => Ok(()),
        true => Err((
            format!("with one line more, a batch can be larger than the {limit} bytes that the relay accepts"),
            format!("write `batch_bytes: {most}`, or raise relay.max_body_bytes and relay.spool_max_bytes"),
        )),
    });
    bytes
}

/// A dotted path that carbon accepts as the beginning of a series name.
fn prefix(text: &str) -> Result<&str, &'static str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match text.chars().all(is_allowed) && !text.split('.').any(str::is_empty) {
        true => Ok(text),
        false => {
            Err("cannot begin a series name: use letters, digits, `_`, `-` and single dots inside")
        }
    }
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
        assert_eq!(wrong("batch_bytes: 16760832\n"), "");
        assert_snapshot!(wrong("batch_bytes: 16760833\n"), @"
        f:1:14: batch_bytes: with one line more, a batch can be larger than the 16777216 bytes that the relay accepts
          1 | batch_bytes: 16760833
            |              ^
          help: write `batch_bytes: 16760832`, or raise relay.max_body_bytes and relay.spool_max_bytes
        ");
        for small in [
            "relay: { max_body_bytes: 1048576 }",
            "relay: { spool_max_bytes: 1048576 }",
        ] {
            assert!(wrong(&format!("batch_bytes: 1048576\n{small}")).contains("the relay accepts"));
            assert_eq!(wrong(&format!("batch_bytes: 500000\n{small}")), "");
            // The default fits.
            let settings = GraphiteSettings::load("f", small).unwrap();
            assert!(settings.batch_bytes < 1 << 20);
        }
    }

    #[test]
    fn labels_are_some_of_four_names_each_once() {
        let labels = |text: &str| {
            let settings = GraphiteSettings::load("f", text).unwrap();
            let labels = settings.labels.into_iter().map(Label::as_str);
            labels.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(""), "");
        assert_eq!(labels("labels: []"), "");
        assert_eq!(labels("labels: testName"), "testName");
        let all = "labels: [stepname, testType, testName, nodeName, testName]";
        assert_eq!(labels(all), "testName nodeName testType stepName");
        assert_snapshot!(wrong("labels: [testName, city]\nmetric_names: short\n"), @"
        f:1:20: labels: `city` is not a label
          1 | labels: [testName, city]
            |                    ^
          help: write some of testName, nodeName, testType and stepName, for instance `labels: [testName, nodeName]`
        f:2:15: metric_names: `short` must be one of original, slug
          2 | metric_names: short
            |               ^
          help: write, for instance, `metric_names: original`
        ");
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
