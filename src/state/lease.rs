//! The right to be the one run that is under way, and the only way to write to the store.

use std::cell::Cell;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Key, Store};
use crate::host::Host;

/// How long a lease holds beyond the call that is under way. A run renews it far more often; a run
/// that was killed costs the next one no more than this.
const LIFE: TimeDelta = TimeDelta::seconds(30);

/// How often a lease is renewed during a wait, or while an answer arrives.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// No lease is for longer. The end of one that is, was written by a clock that was ahead.
const LONGEST: TimeDelta = TimeDelta::minutes(25);

/// How long a run waits between taking the lease and checking that it still has it: much longer than
/// another run needs from reading that it is free to writing that it takes it too.
const SETTLE: Duration = Duration::from_millis(250);

/// How often a scheduled run that waits for a backfill's call looks again.
const POLL: Duration = Duration::from_secs(1);

/// How long a run waits for one call of a backfill.
const LONGEST_POLL: TimeDelta = TimeDelta::minutes(5);

/// A run that has not looked for so long does not wait any more.
const WAITING: TimeDelta = TimeDelta::seconds(5);

/// What is said when another run has the lease, which ends then at the latest.
pub fn under_way(until: DateTime<Utc>) -> String {
    let until = until.format("%H:%M:%S UTC");
    format!("another run is under way; its lease ends at {until} at the latest")
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A collection run: it waits for a backfill's call and then goes on.
    Run,
    /// A backfill: it stops after the call that is under way when a run waits.
    Backfill,
}

/// The lease of one run. Spin neither skips nor locks firings that overlap, and its store has no
/// compare-and-swap, so this is a lease and not a lock: it keeps two runs from doing the same work.
///
/// All writes go through it. After another run has taken the lease, nothing is written any more.
pub struct Lease<'h> {
    store: Store<'h>,
    host: &'h dyn Host,
    run: String,
    priority: Cell<Priority>,
    /// How long the call that is under way may block, beyond [`LIFE`].
    blocks: Cell<TimeDelta>,
    renewed: Cell<DateTime<Utc>>,
    /// The store has taken this run's lease, so that another one there is of a later run.
    stored: Cell<bool>,
    lost: Cell<bool>,
}

/// A lease as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    run: String,
    until: DateTime<Utc>,
    /// It belongs to a backfill.
    #[serde(default)]
    yields: bool,
}

impl<'h> Lease<'h> {
    /// Takes the lease for a run. A collection run waits for the call of a backfill to end.
    ///
    /// # Errors
    /// Another run holds it; until when, at the latest.
    pub fn take(host: &'h dyn Host, run: &str, priority: Priority) -> Result<Self, DateTime<Utc>> {
        let lease = Self {
            store: Store::new(host),
            host,
            run: run.to_owned(),
            priority: Cell::new(priority),
            blocks: Cell::new(TimeDelta::zero()),
            renewed: Cell::default(),
            stored: Cell::new(false),
            lost: Cell::new(false),
        };
        lease.wait_until_free()?;
        lease.hold();
        host.sleep(SETTLE);
        // Of two runs that found it free at once, the one that wrote last has it.
        match lease.other() {
            None => Ok(lease),
            Some(held) => Err(held.until),
        }
    }

    /// Reads the store.
    pub fn store(&self) -> &Store<'h> {
        &self.store
    }

    /// Writes a value while this run has the lease. Returns whether it was written.
    pub fn write<T: Serialize>(&self, key: Key, value: &T) -> bool {
        self.is_held() && self.store.write(key, value)
    }

    /// Whether this run still has the lease. Once it is lost it stays lost.
    pub fn is_held(&self) -> bool {
        // Another run that has taken it may have ended and given it back since.
        let is_taken = || match self.store.find::<Held>(Key::Lease) {
            Ok(Some(held)) if self.stored.get() => held.run != self.run,
            _ => self.other().is_some(),
        };
        self.lost.set(self.lost.get() || is_taken());
        !self.lost.get()
    }

    /// Holds it while a call blocks for up to `blocks`; false if another run has taken it. A call
    /// that blocks no longer than the last one writes nothing if that was a moment ago: each write
    /// waits for the disk, and there may be a hundred posts a second.
    pub fn renew(&self, blocks: Duration) -> bool {
        let blocks = TimeDelta::from_std(blocks).unwrap_or(LONGEST);
        let longer = self.blocks.replace(blocks) < blocks;
        let held = self.is_held();
        if held && (longer || self.is_due()) {
            self.hold();
        }
        held
    }

    /// Holds it from time to time, as often as this is called.
    pub fn keep(&self) {
        if self.is_due() && self.is_held() {
            self.hold();
        }
    }

    fn is_due(&self) -> bool {
        let since = (self.host.now() - self.renewed.get()).to_std();
        since.is_ok_and(|since| since >= RENEW_EVERY)
    }

    /// Waits, and holds the lease meanwhile; false if another run has taken it.
    pub fn sleep(&self, mut time: Duration) -> bool {
        while !time.is_zero() {
            if !self.renew(RENEW_EVERY) {
                return false;
            }
            let slice = time.min(RENEW_EVERY);
            self.host.sleep(slice);
            time -= slice;
        }
        true
    }

    /// Lets collection runs go first from now on.
    pub fn yield_to_runs(&self) {
        self.priority.set(Priority::Backfill);
        self.blocks.set(TimeDelta::zero());
        if self.is_held() {
            self.hold();
        }
    }

    /// Whether a collection run waits for this one to end.
    pub fn is_awaited(&self) -> bool {
        let waiting: DateTime<Utc> = self.store.read(Key::Waiting);
        let age = self.host.now() - waiting;
        self.priority.get() == Priority::Backfill && (-WAITING..WAITING).contains(&age)
    }

    /// Gives it back.
    pub fn release(&self) {
        if self.is_held() {
            self.store.write(Key::Lease, &Held::default());
            self.lost.set(true);
        }
    }

    fn wait_until_free(&self) -> Result<(), DateTime<Utc>> {
        let give_up = self.host.now() + LONGEST_POLL;
        let mut waited = false;
        while let Some(held) = self.other() {
            let waits = held.yields && self.priority.get() == Priority::Run;
            if !waits || self.host.now() >= give_up {
                return Err(held.until);
            }
            waited = true;
            self.store.write(Key::Waiting, &self.host.now());
            self.host.sleep(POLL);
        }
        if waited {
            self.store.write(Key::Waiting, &DateTime::<Utc>::default());
        } else if self.is_awaited() {
            return Err(self.host.now() + LIFE);
        }
        Ok(())
    }

    /// The lease of another run, if one has it.
    fn other(&self) -> Option<Held> {
        let held: Held = self.store.read(Key::Lease);
        let now = self.host.now();
        let in_force = now < held.until && held.until <= now + LONGEST;
        (in_force && held.run != self.run).then_some(held)
    }

    fn hold(&self) {
        let now = self.host.now();
        self.renewed.set(now);
        let held = Held {
            run: self.run.clone(),
            until: now + LIFE + self.blocks.get().min(LONGEST - LIFE),
            yields: self.priority.get() == Priority::Backfill,
        };
        if self.store.write(Key::Lease, &held) {
            self.stored.set(true);
        }
    }
}
