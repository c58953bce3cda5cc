//! What is kept from one run to the next, in the host's key-value store as JSON.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::host::{Host, Level};

/// The values of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// v1's bearer token.
    Token,
    /// The calls made.
    Budget,
    /// How far each test's data is in the relay.
    Coverage,
    /// Tests that Catchpoint refused.
    Verdicts,
    /// The run that is under way.
    Lease,
    /// The report of the last run.
    Report,
    /// How far each backfill has come.
    Backfills,
}

impl Key {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Budget => "budget",
            Self::Coverage => "coverage",
            Self::Verdicts => "verdicts",
            Self::Lease => "lease",
            Self::Report => "report",
            Self::Backfills => "backfills",
        }
    }
}

/// The state store. It is an aid and never a reason to stop: a value that cannot be read counts as
/// empty and is left as it is, one that is damaged counts as empty, and one that cannot be written
/// costs the next run some calls. All of it is said.
pub struct State<'h> {
    host: &'h dyn Host,
    /// What the store did not hand out; it may be good, so it is not written over.
    unread: RefCell<Vec<Key>>,
}

impl<'h> State<'h> {
    /// The store of a host.
    pub fn new(host: &'h dyn Host) -> Self {
        Self {
            host,
            unread: RefCell::default(),
        }
    }

    /// Reads a value.
    pub fn read<T: DeserializeOwned + Default>(&self, key: Key) -> T {
        let found = self.find(key).unwrap_or_else(|error| {
            self.damaged(Level::Warn, key, &error, "it counts as empty");
            None
        });
        found.unwrap_or_default()
    }

    /// Reads a value, if there is one that can be read.
    ///
    /// # Errors
    /// What is there is damaged, or of another version.
    pub fn find<T: DeserializeOwned>(&self, key: Key) -> serde_json::Result<Option<T>> {
        let bytes = self.bytes(key);
        bytes
            .map(|bytes| serde_json::from_slice(&bytes))
            .transpose()
    }

    /// Says that a value is damaged, and what comes of it.
    pub fn damaged(&self, level: Level, key: Key, error: &serde_json::Error, then: &str) {
        let line = format!("state store: `{}` is damaged: {error}; {then}", key.name());
        self.host.log(level, &line);
    }

    /// The JSON of a value, as it was written.
    pub fn text(&self, key: Key) -> Option<String> {
        String::from_utf8(self.bytes(key)?).ok()
    }

    fn bytes(&self, key: Key) -> Option<Vec<u8>> {
        let loaded = self.host.load(key.name());
        let mut unread = self.unread.borrow_mut();
        unread.retain(|unread| *unread != key);
        loaded.unwrap_or_else(|error| {
            unread.push(key);
            let line = format!(
                "state store: `{}` cannot be read, counts as empty and is left as it is: {error}",
                key.name()
            );
            self.host.log(Level::Warn, &line);
            None
        })
    }

    /// Writes a value, unless there may be a good one that could not be read; whether it was written.
    pub fn write<T: Serialize>(&self, key: Key, value: &T) -> bool {
        self.save(key, serde_json::to_vec(value))
    }

    fn save(&self, key: Key, bytes: serde_json::Result<Vec<u8>>) -> bool {
        if self.unread.borrow().contains(&key) {
            return false;
        }
        let written = bytes
            .map_err(|error| error.to_string())
            .and_then(|bytes| self.host.save(key.name(), &bytes));
        if let Err(error) = &written {
            let line = format!(
                "state store: `{}` cannot be written, the next run may repeat calls: {error}",
                key.name()
            );
            self.host.log(Level::Warn, &line);
        }
        written.is_ok()
    }
}

/// How long a lease holds when it is not renewed, which a run does before each call and each wait,
/// and while an answer comes. Much shorter than the time between two runs, so that a run that was
/// killed does not cost the next one.
const LEASE: TimeDelta = TimeDelta::minutes(4);

/// How often a lease is renewed while an answer comes or lines are handed over.
const RENEWED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// How long a run waits between taking the lease and looking whether it still has it: much longer
/// than another one needs from reading that it is free to writing that it takes it too.
const SETTLE: Duration = Duration::from_millis(250);

/// The right to be the one run that is under way. Spin neither skips nor locks firings that
/// overlap, and its store has no compare-and-swap, so this is a lease and not a lock: it keeps two
/// runs from doing the same work, and harm would not come of it if they did.
pub struct Lease<'h> {
    state: State<'h>,
    host: &'h dyn Host,
    run: String,
    /// The longest that any lease is for; of a later one the clock was ahead.
    longest: TimeDelta,
    renewed: Cell<DateTime<Utc>>,
}

/// A lease as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    run: String,
    until: DateTime<Utc>,
}

impl<'h> Lease<'h> {
    /// Takes the lease for a run, all of which are over after `run_deadline`.
    ///
    /// # Errors
    /// Another run holds it; until when, at the latest.
    pub fn take(
        host: &'h dyn Host,
        run: &str,
        run_deadline: Duration,
    ) -> Result<Self, DateTime<Utc>> {
        let lease = Self {
            state: State::new(host),
            host,
            run: run.to_owned(),
            longest: TimeDelta::from_std(run_deadline).unwrap_or(LEASE) + LEASE,
            renewed: Cell::default(),
        };
        if let Some(until) = lease.others() {
            return Err(until);
        }
        lease.hold(host.now());
        host.sleep(SETTLE);
        // Of two runs that saw it free at once, the one that wrote last has it.
        match lease.others() {
            None => Ok(lease),
            Some(until) => Err(until),
        }
    }

    /// Holds it a while longer; false if another run has taken it.
    pub fn renew(&self) -> bool {
        self.renew_from(self.host.now())
    }

    /// Holds it up to a time to come, and a while longer; false if another run has taken it.
    pub fn renew_from(&self, time: DateTime<Utc>) -> bool {
        let own = self.others().is_none();
        if own {
            self.hold(time);
        }
        own
    }

    /// Holds it a while longer from time to time, as often as this is called.
    pub fn keep(&self) {
        if self.host.now() - self.renewed.get() >= RENEWED_EVERY {
            self.renew();
        }
    }

    /// Gives it back.
    pub fn release(&self) {
        if self.others().is_none() {
            self.state.write(Key::Lease, &Held::default());
        }
    }

    /// Until when another run has it, if one has.
    fn others(&self) -> Option<DateTime<Utc>> {
        let held: Held = self.state.read(Key::Lease);
        let now = self.host.now();
        let in_force = now < held.until && held.until <= now + self.longest;
        (in_force && held.run != self.run).then_some(held.until)
    }

    fn hold(&self, time: DateTime<Utc>) {
        self.renewed.set(self.host.now());
        let (run, until) = (self.run.clone(), time + LEASE);
        self.state.write(Key::Lease, &Held { run, until });
    }
}
