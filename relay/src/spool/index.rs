//! What is in the spool and in which state, in memory; no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::name::{BatchName, Kind};

/// Disks give out space in blocks; a small file costs a whole one.
const BLOCK_BYTES: u64 = 4096;

/// What a file of this length takes from the disk.
pub(super) const fn cost(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// From which end waiting batches are taken. Taking from both in turn keeps a backlog from holding
/// up new data, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Those that came first.
    Oldest,
    /// Those that came last.
    Newest,
}

impl End {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Oldest => Self::Newest,
            Self::Newest => Self::Oldest,
        }
    }
}

#[derive(Debug)]
struct Batch {
    name: BatchName,
    /// Which file it is now: a confirmed batch that waits to be sent again is still `.sent`.
    kind: Kind,
    /// What its files take from the disk.
    cost: u64,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Waiting {
        /// Not to be tried before.
        held_until: Option<Instant>,
        attempts: u32,
        /// When carbon had confirmed it, if the replay window still counts from there.
        confirmed: Option<Instant>,
    },
    Confirmed(Instant),
}

impl State {
    const NEW: Self = Self::Waiting {
        held_until: None,
        attempts: 0,
        confirmed: None,
    };
}

/// How many and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Batches.
    pub batches: u64,
    /// Lines in them.
    pub lines: u64,
    /// Bytes their files take from the disk.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, batch: &Batch) {
        self.batches += 1;
        self.lines += batch.name.lines;
        self.bytes += batch.cost;
    }

    fn subtract(&mut self, batch: &Batch) {
        self.batches -= 1;
        self.lines -= batch.name.lines;
        self.bytes -= batch.cost;
    }
}

/// A batch whose replay window is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expired {
    pub name: BatchName,
    pub kind: Kind,
    /// It had to go before its time, because the confirmed batches take too much room.
    pub early: bool,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the whole name: a file that somebody has put there may share its sequence with another.
    batches: BTreeMap<BatchName, Batch>,
    /// In the order of arrival.
    waiting: BTreeSet<BatchName>,
    /// By the time of confirmation.
    confirmed: BTreeSet<(Instant, BatchName)>,
    waiting_amount: Amount,
    confirmed_amount: Amount,
}

impl Index {
    /// Batches that wait to be sent, for the first time or again.
    pub fn waiting(&self) -> Amount {
        self.waiting_amount
    }

    /// Batches kept for the replay window.
    pub fn confirmed(&self) -> Amount {
        self.confirmed_amount
    }

    /// The oldest batch that waits.
    pub fn oldest_waiting(&self) -> Option<BatchName> {
        self.waiting.first().copied()
    }

    pub fn kind(&self, name: BatchName) -> Option<Kind> {
        self.batches.get(&name).map(|batch| batch.kind)
    }

    /// Takes in a batch that waits to be sent; `kind` says which file it is.
    pub fn insert(&mut self, name: BatchName, kind: Kind, answers_bytes: u64) {
        self.remove(name);
        let batch = Batch {
            name,
            kind,
            cost: cost(name.bytes) + cost(answers_bytes),
            state: State::NEW,
        };
        self.enter(&batch);
        self.batches.insert(name, batch);
    }

    /// The next batches from one end: at least one if any is ready, then more up to `max_bytes`.
    pub fn next(
        &self,
        end: End,
        max_bytes: u64,
        max_batches: usize,
        now: Instant,
    ) -> Vec<BatchName> {
        let ready = |name: &&BatchName| {
            let batch = self.batches.get(*name);
            batch.is_some_and(|batch| batch.is_ready(now))
        };
        let mut bytes = 0;
        let fits = |name: &BatchName| {
            let first = bytes == 0;
            bytes += name.bytes;
            first || bytes <= max_bytes
        };
        let waiting = self.waiting.iter();
        match end {
            End::Oldest => waiting
                .filter(ready)
                .copied()
                .take_while(fits)
                .take(max_batches)
                .collect(),
            End::Newest => {
                let mut names: Vec<_> = waiting
                    .rev()
                    .filter(ready)
                    .copied()
                    .take_while(fits)
                    .take(max_batches)
                    .collect();
                // In a delivery the older go first, whichever end they are from.
                names.reverse();
                names
            }
        }
    }

    /// Notes that carbon has confirmed the batch. Gives the kind of its file until now.
    pub fn confirm(&mut self, name: BatchName, now: Instant) -> Option<Kind> {
        let mut before = Kind::Confirmed;
        self.change(name, |batch| {
            let since = match batch.state {
                State::Waiting { confirmed, .. } => confirmed.unwrap_or(now),
                State::Confirmed(_) => now,
            };
            before = batch.kind;
            batch.state = State::Confirmed(since);
        })
        .then_some(before)
    }

    /// Notes that the file of a confirmed batch has got its new name.
    pub fn renamed(&mut self, name: BatchName) {
        self.change(name, |batch| batch.kind = Kind::Confirmed);
    }

    /// Lets others go before a waiting batch that failed by itself. `pause` gives the time for
    /// which it is held back, from the number of its failures.
    pub fn hold(&mut self, name: BatchName, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.change(name, |batch| {
            if let State::Waiting {
                held_until,
                attempts,
                ..
            } = &mut batch.state
            {
                *attempts = attempts.saturating_add(1);
                *held_until = Some(now + pause(*attempts));
            }
        });
    }

    /// Puts all confirmed batches up to be sent again, since carbon may have lost them from its
    /// memory, and gives their number. `certain` says that carbon was really gone; otherwise each
    /// batch's replay window goes on from where it was, so that a peer that closes idle
    /// connections cannot make us send the same forever.
    pub fn replay(&mut self, certain: bool) -> Amount {
        let amount = self.confirmed_amount;
        if certain {
            // Also of those that wait since an uncertain sign.
            for name in &self.waiting {
                if let Some(Batch {
                    state: State::Waiting { confirmed, .. },
                    ..
                }) = self.batches.get_mut(name)
                {
                    *confirmed = None;
                }
            }
        }
        for (since, name) in std::mem::take(&mut self.confirmed) {
            if let Some(batch) = self.batches.get_mut(&name) {
                batch.state = State::Waiting {
                    held_until: None,
                    attempts: 0,
                    confirmed: (!certain).then_some(since),
                };
                self.confirmed_amount.subtract(batch);
                self.waiting_amount.add(batch);
                self.waiting.insert(name);
            }
        }
        amount
    }

    /// The confirmed batches that need not be kept any longer, oldest confirmation first.
    pub fn expired(&self, now: Instant, window: Duration, max_bytes: u64) -> Vec<Expired> {
        let mut left = self.confirmed_amount.bytes;
        self.confirmed
            .iter()
            .filter_map(|(since, name)| Some((since, self.batches.get(name)?)))
            .map_while(|(since, batch)| {
                let over = now.saturating_duration_since(*since) >= window;
                let expired = Expired {
                    name: batch.name,
                    kind: batch.kind,
                    early: !over,
                };
                let goes = over || left > max_bytes;
                left = left.saturating_sub(batch.cost);
                goes.then_some(expired)
            })
            .collect()
    }

    /// Forgets a batch.
    pub fn remove(&mut self, name: BatchName) {
        if let Some(batch) = self.batches.remove(&name) {
            self.leave(&batch);
        }
    }

    /// Changes a batch and keeps the queues and sums in step. False if there is none.
    fn change(&mut self, name: BatchName, change: impl FnOnce(&mut Batch)) -> bool {
        let Some(mut batch) = self.batches.remove(&name) else {
            return false;
        };
        self.leave(&batch);
        change(&mut batch);
        self.enter(&batch);
        self.batches.insert(name, batch);
        true
    }

    fn enter(&mut self, batch: &Batch) {
        let name = batch.name;
        match batch.state {
            State::Waiting { .. } => self.waiting.insert(name),
            State::Confirmed(since) => self.confirmed.insert((since, name)),
        };
        self.amount(batch.state).add(batch);
    }

    fn leave(&mut self, batch: &Batch) {
        let name = batch.name;
        match batch.state {
            State::Waiting { .. } => self.waiting.remove(&name),
            State::Confirmed(since) => self.confirmed.remove(&(since, name)),
        };
        self.amount(batch.state).subtract(batch);
    }

    fn amount(&mut self, state: State) -> &mut Amount {
        match state {
            State::Confirmed(_) => &mut self.confirmed_amount,
            State::Waiting { .. } => &mut self.waiting_amount,
        }
    }
}

impl Batch {
    fn is_ready(&self, now: Instant) -> bool {
        match self.state {
            State::Waiting {
                held_until: Some(until),
                ..
            } => until <= now,
            _ => true,
        }
    }
}
