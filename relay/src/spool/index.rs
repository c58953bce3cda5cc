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

/// From which end batches are taken. Taking from both in turn keeps a backlog from holding up new
/// data, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Those that came first, also those to be sent again.
    Oldest,
    /// Those that came last, of those that were never confirmed: what is sent again goes in the
    /// order in which it came, so that the last value of a point stays the last.
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
    /// Whether it has an `.answers` file.
    has_answers: bool,
    /// What its files take from the disk.
    cost: u64,
    state: State,
    /// Not to be tried before.
    held_until: Option<Instant>,
    /// How often it has failed by itself.
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Carbon has not confirmed it yet.
    Waiting,
    /// Carbon has confirmed it, but may have lost it since. With the time of the confirmation, if
    /// the replay window still counts from there.
    Replaying(Option<Instant>),
    /// Carbon has confirmed it then.
    Confirmed(Instant),
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
    pub has_answers: bool,
    /// It had to go before its time, because the confirmed batches take too much room.
    pub early: bool,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the whole name: a file that somebody has put there may share its sequence with another.
    batches: BTreeMap<BatchName, Batch>,
    /// What is to be sent, in the order of arrival: those that wait and those to be sent again.
    to_send: BTreeSet<BatchName>,
    /// Of these the ones that wait.
    waiting: BTreeSet<BatchName>,
    /// By the time of confirmation.
    confirmed: BTreeSet<(Instant, BatchName)>,
    waiting_amount: Amount,
    replaying_amount: Amount,
    confirmed_amount: Amount,
}

impl Index {
    /// Batches that carbon has not confirmed yet.
    pub fn waiting(&self) -> Amount {
        self.waiting_amount
    }

    /// Batches that carbon has confirmed, and that are to be sent again.
    pub fn replaying(&self) -> Amount {
        self.replaying_amount
    }

    /// Batches that carbon has confirmed, kept for the replay window.
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

    /// Takes in a batch that is to be sent; `kind` says which file it is, and
    /// `answers_bytes` how long its `.answers` file is.
    pub fn insert(&mut self, name: BatchName, kind: Kind, answers_bytes: Option<u64>) {
        self.remove(name);
        let batch = Batch {
            name,
            kind,
            has_answers: answers_bytes.is_some(),
            cost: cost(name.bytes) + cost(answers_bytes.unwrap_or(0)),
            state: match kind {
                Kind::Confirmed => State::Replaying(None),
                _ => State::Waiting,
            },
            held_until: None,
            failures: 0,
        };
        self.enter(&batch);
        self.batches.insert(name, batch);
    }

    /// The next batches from one end, the older ones first: at least one if any is ready, then more
    /// up to `max_bytes`.
    pub fn next(
        &self,
        end: End,
        max_bytes: u64,
        max_batches: usize,
        now: Instant,
    ) -> Vec<BatchName> {
        let queue: &mut dyn Iterator<Item = &BatchName> = match end {
            End::Oldest => &mut self.to_send.iter(),
            End::Newest => &mut self.waiting.iter().rev(),
        };
        let is_ready = |name: &&BatchName| {
            let batch = self.batches.get(*name);
            batch.is_some_and(|batch| batch.held_until.is_none_or(|until| until <= now))
        };
        let mut bytes = 0;
        let fits = |name: &BatchName| {
            let first = bytes == 0;
            bytes += name.bytes;
            first || bytes <= max_bytes
        };
        let ready = queue.filter(is_ready).copied();
        let mut names: Vec<_> = ready.take_while(fits).take(max_batches).collect();
        names.sort_unstable();
        names
    }

    /// Notes that carbon has confirmed the batch. Gives the kind of its file until now.
    pub fn confirm(&mut self, name: BatchName, now: Instant) -> Option<Kind> {
        let mut before = Kind::Confirmed;
        self.change(name, |batch| {
            let since = match batch.state {
                State::Replaying(Some(since)) => since,
                _ => now,
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

    /// Lets others go before a batch that failed by itself. `pause` gives the time for which it is
    /// held back, from the number of its failures.
    pub fn hold(&mut self, name: BatchName, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.change(name, |batch| {
            batch.failures = batch.failures.saturating_add(1);
            batch.held_until = Some(now + pause(batch.failures));
        });
    }

    /// Puts all confirmed batches up to be sent again, since carbon may have lost them from its
    /// memory, and gives their number. `certain` says that carbon was really gone; otherwise each
    /// batch's replay window goes on from where it was, so that a peer that closes idle
    /// connections cannot make us send the same forever.
    pub fn replay(&mut self, certain: bool) -> Amount {
        let amount = self.confirmed_amount;
        if certain {
            // Also of those that are sent again since an uncertain sign.
            for batch in self.batches.values_mut() {
                if let State::Replaying(since) = &mut batch.state {
                    *since = None;
                }
            }
        }
        for (since, name) in self.confirmed.clone() {
            self.change(name, |batch| {
                batch.state = State::Replaying((!certain).then_some(since));
                batch.held_until = None;
                batch.failures = 0;
            });
        }
        amount
    }

    /// The confirmed batches that need not be kept any longer, oldest confirmation first. Those
    /// that are sent again take of their room, but have to stay.
    pub fn expired(&self, now: Instant, window: Duration, max_bytes: u64) -> Vec<Expired> {
        let mut left = self.confirmed_amount.bytes + self.replaying_amount.bytes;
        self.confirmed
            .iter()
            .filter_map(|(since, name)| Some((since, self.batches.get(name)?)))
            .map_while(|(since, batch)| {
                let over = now.saturating_duration_since(*since) >= window;
                let expired = Expired {
                    name: batch.name,
                    kind: batch.kind,
                    has_answers: batch.has_answers,
                    early: !over,
                };
                let goes = over || left > max_bytes;
                left = left.saturating_sub(batch.cost);
                goes.then_some(expired)
            })
            .collect()
    }

    /// Forgets a batch. True if it has an `.answers` file.
    pub fn remove(&mut self, name: BatchName) -> bool {
        self.batches.remove(&name).is_some_and(|batch| {
            self.leave(&batch);
            batch.has_answers
        })
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
            State::Waiting => {
                self.waiting.insert(name);
                self.to_send.insert(name);
            }
            State::Replaying(_) => {
                self.to_send.insert(name);
            }
            State::Confirmed(since) => {
                self.confirmed.insert((since, name));
            }
        }
        self.amount(batch.state).add(batch);
    }

    fn leave(&mut self, batch: &Batch) {
        let name = batch.name;
        if let State::Confirmed(since) = batch.state {
            self.confirmed.remove(&(since, name));
        }
        self.waiting.remove(&name);
        self.to_send.remove(&name);
        self.amount(batch.state).subtract(batch);
    }

    fn amount(&mut self, state: State) -> &mut Amount {
        match state {
            State::Waiting => &mut self.waiting_amount,
            State::Replaying(_) => &mut self.replaying_amount,
            State::Confirmed(_) => &mut self.confirmed_amount,
        }
    }
}
