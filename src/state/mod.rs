//! What is kept from one run to the next, in the host's key-value store as JSON.
//!
//! # Layout
//! - [`Store`] reads; [`Lease`] writes, so that a run which has lost its lease changes nothing

mod lease;

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{Host, Level};
pub use lease::{Lease, Priority, under_way};

/// The values of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// API v1's bearer token.
    Token,
    /// The calls made, and what Catchpoint has said of its limits.
    Budget,
    /// Which results of each test are in the relay.
    Coverage,
    /// What was learned from calls that Catchpoint refused.
    Exclusions,
    /// The run that is under way.
    Lease,
    /// When a run last waited for the lease.
    Waiting,
    /// The report of the last run.
    Report,
    /// The backfills that are requested.
    Backfills,
    /// The tests that Catchpoint lists.
    Tests,
}

impl Key {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Budget => "budget",
            Self::Coverage => "coverage",
            Self::Exclusions => "exclusions",
            Self::Lease => "lease",
            Self::Waiting => "waiting",
            Self::Report => "report",
            Self::Backfills => "backfills",
            Self::Tests => "tests",
        }
    }
}

/// The state store. It never stops a run: a value that cannot be read counts as empty and stays as
/// it is, one that is damaged counts as empty, and one that cannot be written costs the next run some
/// calls. All of it is logged, the same error once.
pub struct Store<'h> {
    host: &'h dyn Host,
    /// What could not be read; it may be good, so it is not overwritten.
    unread: RefCell<Vec<Key>>,
    /// Errors of the store that are in the log.
    logged: RefCell<BTreeSet<String>>,
}

impl<'h> Store<'h> {
    /// The store of a host.
    pub fn new(host: &'h dyn Host) -> Self {
        Self {
            host,
            unread: RefCell::default(),
            logged: RefCell::default(),
        }
    }

    /// Reads a value; empty if there is none.
    pub fn read<T: DeserializeOwned + Default>(&self, key: Key) -> T {
        let found = self.find(key).unwrap_or_else(|error| {
            self.report_damaged(Level::Warn, key, &error, "it counts as empty");
            None
        });
        found.unwrap_or_default()
    }

    /// Reads a value, if there is one that can be read.
    ///
    /// # Errors
    /// The value is damaged, or of another version.
    pub fn find<T: DeserializeOwned>(&self, key: Key) -> serde_json::Result<Option<T>> {
        // As a text, like all JSON here: serde_json's code for bytes would be there a second time.
        let text = self.bytes(key);
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        text.map(|text| serde_json::from_str(&text)).transpose()
    }

    /// Logs that a value is damaged, and what the run does about it.
    pub fn report_damaged(&self, level: Level, key: Key, error: &serde_json::Error, then: &str) {
        let line = format!("state store: `{}` is damaged: {error}; {then}", key.name());
        self.host.log(level, &line);
    }

    /// The JSON of a value, as it was written.
    pub fn text(&self, key: Key) -> Option<String> {
        String::from_utf8(self.bytes(key)?).ok()
    }

    fn bytes(&self, key: Key) -> Option<Vec<u8>> {
        let loaded = self.host.load(key.name());
        self.unread.borrow_mut().retain(|unread| *unread != key);
        loaded.unwrap_or_else(|error| {
            self.unread.borrow_mut().push(key);
            let what = format!(
                "`{}` cannot be read, counts as empty and stays as it is",
                key.name()
            );
            self.warn_once(&what, error);
            None
        })
    }

    /// Writes a value, unless there may be a good one that could not be read. Returns whether it was
    /// written. Only [`Lease`] calls this.
    fn write<T: Serialize>(&self, key: Key, value: &T) -> bool {
        if self.unread.borrow().contains(&key) {
            return false;
        }
        let written = serde_json::to_vec(value)
            .map_err(|error| error.to_string())
            .and_then(|bytes| self.host.save(key.name(), &bytes));
        let failed = written.is_err();
        if let Err(error) = written {
            let what = format!(
                "`{}` cannot be written, the next run may repeat calls",
                key.name()
            );
            self.warn_once(&what, error);
        }
        !failed
    }

    /// A store that fails does so for each value, and with the same words.
    fn warn_once(&self, what: &str, error: String) {
        let line = format!("state store: {what}: {error}");
        if self.logged.borrow_mut().insert(error) {
            self.host.log(Level::Warn, &line);
        }
    }
}
