//! What a run needs from the world outside, and its adapters: the core knows neither Spin nor WASI.
//!
//! # Layout
//! - `spin` the adapter for Spin, Fermyon Wasm Functions and our own host
//! - `wasi` the adapter for any host that runs a `wasi:cli` command
//! - `http` outgoing HTTP over `wasi:http`, which both share
//! - [`body`] reading the body of an answer

pub mod body;
#[cfg(any(target_family = "wasm", test))]
#[cfg_attr(
    not(target_family = "wasm"),
    allow(dead_code, reason = "only its words are tested")
)]
pub mod http;
#[cfg(all(target_family = "wasm", feature = "component"))]
pub mod spin;
#[cfg(all(target_family = "wasm", feature = "command"))]
pub mod wasi;

use std::io::Read;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::Source;
use crate::config::catchpoint::LogLevel;

/// The world outside of a run.
pub trait Host: Source {
    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// No answer came; see [`SendError`].
    fn send(&self, request: &Request<'_>) -> Result<Response<'_>, SendError>;

    /// Sends a request, and waits for the head of its answer only when the result is called, so that
    /// there is time for something else. A host that cannot do that waits at once.
    fn start(&self, request: &Request<'_>) -> Started<'_> {
        let sent = self.send(request);
        Box::new(move || sent)
    }

    /// The time of day.
    fn now(&self) -> DateTime<Utc>;

    /// Waits.
    fn sleep(&self, time: Duration);

    /// A random number, for run ids and jitter.
    fn random(&self) -> u64;

    /// Reads a value of the state store; none if it was never written.
    ///
    /// # Errors
    /// What the store says.
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, String>;

    /// Writes a value of the state store, as a whole or not at all.
    ///
    /// # Errors
    /// What the store says.
    fn save(&self, key: &str, value: &[u8]) -> Result<(), String>;

    /// Writes one line to the log.
    fn log(&self, level: Level, line: &str);
}

/// A request that is under way: waits for the head of its answer.
pub type Started<'h> = Box<dyn FnOnce() -> Result<Response<'h>, SendError> + 'h>;

/// How bad it is, by data: WARN is trouble with nothing lost, ERROR is data lost or soon to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One step of a run.
    Debug,
    /// One run.
    Info,
    /// Trouble, nothing lost.
    Warn,
    /// Data lost, or soon to be.
    Error,
}

impl Level {
    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// Writes one line to the log, unless `log_level` leaves it out; trouble is never left out.
pub fn log(host: &dyn Host, wanted: LogLevel, level: Level, line: &str) {
    let shown = match wanted {
        LogLevel::Debug => Level::Debug,
        LogLevel::Info => Level::Info,
        LogLevel::Error => Level::Warn,
    };
    if level >= shown {
        host.log(level, line);
    }
}

/// A request to be sent. It has no `Debug`, because its headers hold credentials.
pub struct Request<'a> {
    /// GET without a body, POST with one.
    pub body: Option<&'a [u8]>,
    /// Where to.
    pub url: &'a str,
    /// Name and value of each header; the adapter adds the length of the body.
    pub headers: &'a [(&'static str, String)],
    /// Longest wait for the connection, for the first byte, and between two reads of the answer.
    pub timeout: Duration,
}

/// The head of an answer, and its body as it comes.
pub struct Response<'h> {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Box<dyn Read + 'h>,
}

/// The headers of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of the first header of this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        let found = all.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let headers = headers.into_iter();
        Self(headers.map(|(n, v)| (n.into(), v.into())).collect())
    }
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The host does not allow this component to call there.
    #[error("the host does not allow calls to this address")]
    Denied,
    /// Nothing came in time.
    #[error("no answer in time")]
    TimedOut,
    /// No connection: refused, no such name, a broken TLS handshake, …
    #[error("{0}")]
    Unreachable(String),
}
