//! The relay's settings: `config_graphite.yaml`, and the flags, which win over it.

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use catchpoint_graphite_settings::graphite::GraphiteSettings;
use catchpoint_graphite_settings::problem::Problems;
use clap::Parser;

use crate::carbon::backoff::Timing;
use crate::server::Timeouts;
use crate::server::tls::TlsFiles;
use crate::spool::Limits;
use crate::spool::keys::MAX_KEYS;

/// Stores Graphite lines durably and forwards them to carbon.
#[derive(Debug, Clone, Default, Parser)]
// An image gives flags of its own; those that its user adds win over them.
#[command(name = "catchpoint-graphite-relay", version, args_override_self = true)]
pub struct Flags {
    /// Configuration file; without it every setting has its default
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:2080]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Carbon's plaintext listener [default: 127.0.0.1:2003]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub carbon: Option<(String, u16)>,
    /// Folder of the spool [default: spool]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// File of bearer tokens, one a line; a sender needs one of them
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate chain in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Seconds that a stop may take to send what is in the spool [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub drain_timeout: Option<u64>,
    /// Listen beyond this machine even without token and TLS
    #[arg(long)]
    pub insecure: bool,
    /// Check that a relay with these settings answers on this machine, and exit with 0 or 1
    #[arg(long, conflicts_with = "check")]
    pub probe: bool,
    /// Check the configuration, say what it means, and exit
    #[arg(long)]
    pub check: bool,
    /// Write the manual page and shell completions into a folder, and exit
    #[arg(long, value_name = "DIR", hide = true)]
    pub generate: Option<PathBuf>,
}

/// Memory for bodies beside the largest one that is allowed: one sender alone cannot take all.
const MORE_BODIES_BYTES: usize = 8 << 20;
/// Kubernetes itself takes about a minute to renew a mounted secret.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
/// Carbon's own relays tell theirs as often.
const OWN_LINES_INTERVAL: Duration = Duration::from_secs(60);

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} (--config) cannot be read: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What is wrong in the file.
    #[error("{0}")]
    File(#[from] Problems),
    /// A flag is wrong.
    #[error("{0}")]
    Flag(String),
    /// The name to listen on has no address now.
    #[error("listen (--listen): the address of `{listen}` cannot be found: {error}")]
    Resolve {
        /// The name, and the port.
        listen: String,
        /// Why.
        error: std::io::Error,
    },
}

impl ConfigError {
    /// Whether another start may do better with the same text: a name server may not answer yet.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Resolve { .. })
    }
}

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen: the first of these that this machine has.
    pub listen: Vec<SocketAddr>,
    /// Carbon's host.
    pub carbon_host: String,
    /// Carbon's plaintext port.
    pub carbon_port: u16,
    /// Folder of the spool.
    pub spool: PathBuf,
    /// Bounds of the spool.
    pub limits: Limits,
    /// File of bearer tokens.
    pub token_file: Option<PathBuf>,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// Most lines a second to carbon; 0 is no limit.
    pub max_lines_per_second: u64,
    /// How long a stop may take.
    pub drain_timeout: Duration,
    /// Largest body, after decompression.
    pub max_body_bytes: usize,
    /// Memory for the bodies of posts that are read or stored at the same time.
    pub body_room_bytes: usize,
    /// How far ahead of the clock a timestamp may be.
    pub max_future_seconds: u64,
    /// How often the files of tokens and certificates are looked at.
    pub reload_interval: Duration,
    /// How often the relay's own figures go to Graphite.
    pub own_lines_interval: Duration,
    /// How long a minute of the status page is; tests have no minutes.
    pub page_minute: Duration,
    /// The forwarder's times.
    pub timing: Timing,
    /// How long the server waits for senders.
    pub timeouts: Timeouts,
}

impl Settings {
    /// Reads the file that the flags name, if any, and lets the flags win over it.
    ///
    /// # Errors
    /// Everything that is wrong in the file, or the first wrong flag, or what could not be read or
    /// resolved.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            None => GraphiteSettings::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
                    path: path.clone(),
                    error,
                })?;
                GraphiteSettings::load(&path.display().to_string(), &text)?
            }
        };
        Self::merge(file, flags)
    }

    fn merge(file: GraphiteSettings, flags: &Flags) -> Result<Self, ConfigError> {
        let (flags, relay) = (flags.clone(), file.relay);
        let carbon = flags
            .carbon
            .unwrap_or((file.carbon_server, file.carbon_port));
        let tls = match (
            flags.tls_cert.or(relay.tls_cert),
            flags.tls_key.or(relay.tls_key),
            relay.tls_client_ca,
        ) {
            (Some(cert), Some(key), client_ca) => Some(TlsFiles {
                cert: absolute("tls_cert (--tls-cert)", &cert)?,
                key: absolute("tls_key (--tls-key)", &key)?,
                client_ca: client_ca
                    .map(|path| absolute("tls_client_ca", &path))
                    .transpose()?,
            }),
            (None, None, None) => None,
            _ => {
                return Err(ConfigError::Flag(
                    "one of tls_cert (--tls-cert) and tls_key (--tls-key) is missing, set both; \
                     tls_client_ca needs them, too"
                        .to_owned(),
                ));
            }
        };
        let token_file = flags.token_file.or(relay.token_file);
        // A body that the empty spool cannot take would be told to come again forever.
        let most = relay.spool_max_bytes.saturating_sub(4096);
        let max_body_bytes = usize::try_from(relay.max_body_bytes.min(most)).unwrap_or(usize::MAX);
        let settings = Self {
            listen: resolve(flags.listen.unwrap_or(relay.listen))?,
            carbon_host: carbon.0,
            carbon_port: carbon.1,
            spool: absolute("spool (--spool)", &flags.spool.unwrap_or(relay.spool))?,
            limits: Limits {
                max_bytes: relay.spool_max_bytes,
                replay_window: relay.replay_window,
                max_keys: MAX_KEYS,
            },
            token_file: token_file
                .map(|path| absolute("token_file (--token-file)", &path))
                .transpose()?,
            tls,
            max_lines_per_second: relay.max_lines_per_second,
            drain_timeout: flags
                .drain_timeout
                .map_or(relay.drain_timeout, Duration::from_secs),
            max_body_bytes,
            body_room_bytes: max_body_bytes.saturating_add(MORE_BODIES_BYTES),
            max_future_seconds: relay.max_future.as_secs(),
            reload_interval: RELOAD_INTERVAL,
            own_lines_interval: OWN_LINES_INTERVAL,
            page_minute: Duration::from_secs(60),
            timing: Timing::default(),
            timeouts: Timeouts::default(),
        };
        // A question opens no door, and it has no token or certificate of its own.
        match settings.open_door() {
            Some((address, missing)) if !flags.insecure && !flags.probe => {
                Err(ConfigError::Flag(format!(
                    "listen (--listen): {address} can be reached from other machines, which needs {missing}; \
                     listen on 127.0.0.1, or add --insecure if something else protects the port"
                )))
            }
            _ => Ok(settings),
        }
    }

    /// An address where other machines can post without both a token, which keeps strangers out, and
    /// TLS, which keeps the token secret; and what is missing.
    #[must_use]
    pub fn open_door(&self) -> Option<(SocketAddr, &'static str)> {
        let mut listen = self.listen.iter();
        let address = listen.find(|address| !address.ip().is_loopback())?;
        let missing = match (&self.token_file, &self.tls) {
            (Some(_), Some(_)) => return None,
            (None, Some(_)) => "a token file (token_file, --token-file)",
            (Some(_), None) => "TLS (tls_cert and tls_key, --tls-cert and --tls-key)",
            (None, None) => {
                "a token file (token_file, --token-file) and TLS (tls_cert and tls_key, --tls-cert and --tls-key)"
            }
        };
        Some((*address, missing))
    }

    /// The addresses to listen on, as text.
    #[must_use]
    pub fn listen_text(&self) -> String {
        let listen: Vec<_> = self.listen.iter().map(SocketAddr::to_string).collect();
        listen.join(" or ")
    }
}

/// The limits of a carbon with its default carbon.conf, 1.1.10.
const CARBON_UPDATES_PER_SECOND: u64 = 500;
const CARBON_CREATES_PER_MINUTE: u64 = 50;

impl Settings {
    /// What the settings mean, for `--check`.
    #[must_use]
    pub fn explain(&self) -> String {
        let tls = match &self.tls {
            None => "HTTP",
            Some(files) if files.client_ca.is_none() => "HTTPS",
            Some(_) => "HTTPS, senders need a certificate of tls_client_ca",
        };
        let token = match &self.token_file {
            Some(path) => format!("senders need a token of {}", path.display()),
            None => "no token needed".to_owned(),
        };
        let pace = match self.max_lines_per_second {
            0 => "as fast as carbon reads".to_owned(),
            limit => format!("at most {limit} lines a second"),
        };
        format!(
            "listens on {} ({tls}, {token})\n\
             sends to carbon at {}:{}, {pace}\n\
             keeps up to {} MiB in {} while carbon does not accept it\n\
             sends at least the last {} s again when carbon has restarted\n\
             note: a carbon with its default limits writes \
             MAX_UPDATES_PER_SECOND = {CARBON_UPDATES_PER_SECOND} series a second and creates \
             MAX_CREATES_PER_MINUTE = {CARBON_CREATES_PER_MINUTE} new ones a minute; raise them in \
             carbon.conf for more, and keep max_lines_per_second below what carbon writes if its \
             cache fills up",
            self.listen_text(),
            self.carbon_host,
            self.carbon_port,
            self.limits.max_bytes >> 20,
            self.spool.display(),
            self.limits.replay_window.as_secs(),
        )
    }
}

/// The addresses of a host and port to listen on.
fn resolve(listen: String) -> Result<Vec<SocketAddr>, ConfigError> {
    let wrong = || {
        ConfigError::Flag(format!(
            "listen (--listen): `{listen}` is not HOST:PORT, write for instance 127.0.0.1:2080"
        ))
    };
    if listen.starts_with(':') {
        return Err(wrong());
    }
    match listen.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) if error.kind() == ErrorKind::InvalidInput => Err(wrong()),
        Err(error) => Err(ConfigError::Resolve { listen, error }),
    }
}

/// The whole path, as messages show it. A `~` is refused: only a shell takes it for the home folder.
fn absolute(key: &str, path: &Path) -> Result<PathBuf, ConfigError> {
    if path.starts_with("~") {
        return Err(ConfigError::Flag(format!(
            "{key}: `{}` begins with `~`, which only a shell replaces: write the whole path",
            path.display()
        )));
    }
    std::path::absolute(path)
        .map_err(|error| ConfigError::Flag(format!("{key}: `{}`: {error}", path.display())))
}

/// Splits `host:port`, `[v6]:port` too.
fn host_and_port(text: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    match port.parse() {
        Ok(port @ 1..) if !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err("it is not HOST:PORT, write for instance 127.0.0.1:2003"),
    }
}

#[cfg(test)]
mod tests;
