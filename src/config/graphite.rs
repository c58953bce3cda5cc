//! `config_graphite.yaml`: the original's two keys and our optional ones, for the component and,
//! under `relay`, for the relay.

use std::path::PathBuf;
use std::time::Duration;

use super::yaml::Section;

/// The name of the file.
pub const FILE_NAME: &str = "config_graphite.yaml";

/// The validated content of the file.
#[derive(Debug, Clone)]
pub struct GraphiteFile {
    /// Host name or address of carbon; the relay connects to it.
    pub carbon_server: String,
    /// Carbon's plaintext port.
    pub carbon_port: u16,
    /// What every series name begins with.
    pub metric_prefix: String,
    /// What the series of the collector's own figures begin with; none: they are not sent.
    pub self_metrics_prefix: Option<String>,
    /// About how many bytes of lines go into one POST to the relay.
    pub batch_bytes: usize,
    /// The relay's own settings.
    pub relay: RelaySection,
}

/// The relay's settings; the flags of its command line win over them.
#[derive(Debug, Clone)]
pub struct RelaySection {
    /// Address and port to listen on.
    pub listen: String,
    /// Folder of the spool.
    pub spool: PathBuf,
    /// Most bytes in the spool; beyond it the relay answers 503.
    pub spool_max_bytes: u64,
    /// File of bearer tokens, one a line.
    pub token_file: Option<PathBuf>,
    /// Certificate chain in PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// How long confirmed batches are kept to be sent again.
    pub replay_window: Duration,
    /// Most bytes of confirmed batches.
    pub replay_max_bytes: u64,
    /// Most lines a second to carbon; 0 is no limit.
    pub max_lines_per_second: u64,
    /// How long a stop may take to send what is in the spool.
    pub drain_timeout: Duration,
    /// Largest body taken, after decompression.
    pub max_body_bytes: u64,
}

impl GraphiteFile {
    /// Reads the keys of the file; what is wrong is noted in the section's document.
    pub fn read(mut top: Section<'_>) -> Self {
        let carbon_server = read_host(&mut top);
        let carbon_port =
            u16::try_from(top.number("carbon_port", 1..=65_535, 2003)).unwrap_or(2003);
        let metric_prefix = read_prefix(&mut top, "metric_prefix", "system.cp.testdata");
        let self_metrics = top.flag("self_metrics", true);
        let self_prefix = read_prefix(&mut top, "self_metrics_prefix", "system.cp.collector");
        let batch_bytes = top.number("batch_bytes", 16_384..=16_777_216, 1_048_576);
        let relay = RelaySection::read(top.section("relay"));
        top.finish();
        Self {
            carbon_server,
            carbon_port,
            metric_prefix,
            self_metrics_prefix: self_metrics.then_some(self_prefix),
            batch_bytes: usize::try_from(batch_bytes).unwrap_or(1_048_576),
            relay,
        }
    }
}

impl RelaySection {
    fn read(mut relay: Section<'_>) -> Self {
        const MIB: u64 = 1 << 20;
        let path = |text: Option<String>| text.map(PathBuf::from);
        let section = Self {
            listen: relay
                .text("listen")
                .unwrap_or_else(|| "127.0.0.1:2080".to_owned()),
            spool: path(relay.text("spool")).unwrap_or_else(|| PathBuf::from("spool")),
            spool_max_bytes: relay.number("spool_max_bytes", MIB..=1 << 50, 1024 * MIB),
            token_file: path(relay.text("token_file")),
            tls_cert: path(relay.text("tls_cert")),
            tls_key: path(relay.text("tls_key")),
            replay_window: Duration::from_secs(relay.number(
                "replay_window_seconds",
                0..=86_400,
                900,
            )),
            replay_max_bytes: relay.number("replay_max_bytes", 0..=1 << 50, 256 * MIB),
            max_lines_per_second: relay.number("max_lines_per_second", 0..=1_000_000_000, 0),
            drain_timeout: Duration::from_secs(relay.number("drain_timeout_seconds", 0..=3600, 10)),
            max_body_bytes: relay.number("max_body_bytes", MIB..=1024 * MIB, 16 * MIB),
        };
        relay.finish();
        section
    }
}

/// Carbon's host, without scheme or port: the original's README shows a URL, which its script
/// could not use either.
fn read_host(top: &mut Section<'_>) -> String {
    const DEFAULT: &str = "127.0.0.1";
    let Some((text, place)) = top.text_at("carbon_server") else {
        return DEFAULT.to_owned();
    };
    let host = text.trim();
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let plain = host
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if host.is_empty() || !(plain || is_v6) {
        top.note(
            place,
            format!("carbon_server: `{text}` is not a host name or address"),
            format!("write the host alone, `carbon_server: '{DEFAULT}'`; the port is the key `carbon_port`"),
        );
        return DEFAULT.to_owned();
    }
    host.to_owned()
}

/// A dotted path that carbon takes as the beginning of a series name.
fn read_prefix(top: &mut Section<'_>, key: &'static str, default: &str) -> String {
    let Some((text, place)) = top.text_at(key) else {
        return default.to_owned();
    };
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let dots = text.starts_with('.') || text.ends_with('.') || text.contains("..");
    if text.is_empty() || dots || !text.chars().all(sound) {
        top.note(
            place,
            format!("{key}: `{text}` cannot begin a series name"),
            format!("use letters, digits, `_`, `-` and single dots inside, for instance `{key}: '{default}'`"),
        );
        return default.to_owned();
    }
    text
}
