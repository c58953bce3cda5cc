//! The log in memory: which batches there are, in the order of arrival, and up to where carbon has
//! confirmed them. No I/O.
//!
//! There is one position. All batches up to it are passed: carbon has confirmed them, or they cannot
//! be read for now. All batches behind it are still to be sent, in order. Evidence that carbon has
//! restarted moves the position back to the oldest batch: a *pass* over everything that is kept. So
//! when the position reaches the end, carbon has got every batch in the order of arrival, and the
//! last value of each point is the last accepted.
//!
//! Uncertain evidence does so at most once in a replay window, and for each batch once.
//!
//! Evidence during a pass does not move the position back. It leaves one more pass to do. So new
//! batches, which are at the end of every pass, reach even a carbon that is killed again and again.
//!
//! Batches are deleted from the front only: what follows a batch that is to be sent again has to go
//! again after it.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use tokio::time::Instant;

use super::name::BatchName;
use crate::metrics::Counter;

/// Disks give out space in blocks. A small file takes a whole one.
const BLOCK_BYTES: u64 = 4096;

/// What a file of this length takes from the disk.
pub(super) const fn cost(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// How sure it is that carbon has lost what it had in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestartEvidence {
    /// Carbon has ended a connection and accepts a new one at once. An idle timeout looks the same.
    Uncertain,
    /// Carbon was gone: a refusal, a reset, a dead connection.
    Certain,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Carbon has never confirmed it.
    #[default]
    Unsent,
    /// Carbon has confirmed it and may have lost it since.
    Again,
    /// Carbon has confirmed it at this time.
    Confirmed(Instant),
}

#[derive(Debug, Default)]
struct Batch {
    state: State,
    /// Uncertain evidence has let it be sent again. It does so once, or a peer that closes idle
    /// connections would make us send the same forever.
    was_resent: bool,
}

impl Batch {
    fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Confirmed(_))
    }
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
    fn add(&mut self, name: BatchName) {
        self.batches += 1;
        self.lines += name.lines;
        self.bytes += cost(name.bytes);
    }

    fn subtract(&mut self, name: BatchName) {
        self.batches -= 1;
        self.lines -= name.lines;
        self.bytes -= cost(name.bytes);
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the whole name: a file that somebody has put there may share its sequence with another.
    batches: BTreeMap<BatchName, Batch>,
    /// The position: the last batch that is passed.
    passed: Option<BatchName>,
    /// Batches that the disk does not give, passed over until it does, and since when.
    unreadable: BTreeMap<BatchName, Instant>,
    /// A pass is under way until this batch is passed.
    pass_end: Option<BatchName>,
    /// One more pass is to be done.
    owed: Option<RestartEvidence>,
    /// A batch that could not be read, and can be now.
    readable: Option<BatchName>,
    /// When uncertain evidence has last begun a pass.
    last_uncertain: Option<Instant>,
    /// Batches that carbon has never confirmed.
    pub waiting: Amount,
    /// Batches that carbon has confirmed and that are to be sent again.
    pub replaying: Amount,
    /// Batches that carbon has confirmed, kept for the replay window.
    pub confirmed: Amount,
    /// Counts lines that were confirmed and are to be sent again.
    replayed: Counter,
}

impl Index {
    /// An empty one, which counts here the confirmed lines that are to be sent again.
    pub fn new(replayed: Counter) -> Self {
        Self {
            replayed,
            ..Self::default()
        }
    }

    /// The oldest batch that carbon has never confirmed. Looks at all that are to be sent.
    pub fn oldest_waiting(&self) -> Option<BatchName> {
        let is_unsent = |batch: &Batch| batch.state == State::Unsent;
        let mut behind = self.behind(self.passed);
        let behind = behind.find(|(_, batch)| is_unsent(batch));
        let mut unreadable = self.unreadable.keys();
        let unreadable = unreadable.find(|name| self.batches.get(name).is_some_and(is_unsent));
        let found = [behind.map(|(name, _)| name), unreadable];
        found.into_iter().flatten().min().copied()
    }

    /// The next batch to send: the first behind the position, and behind `after`.
    pub fn next(&self, after: Option<BatchName>) -> Option<BatchName> {
        let mut behind = self.behind(self.passed.max(after)).map(|(name, _)| *name);
        behind.find(|name| !self.unreadable.contains_key(name))
    }

    /// The batches that cannot be read, in order, and since when.
    pub fn unreadable(&self) -> &BTreeMap<BatchName, Instant> {
        &self.unreadable
    }

    /// The batch that is the first to go when a post needs the room: the one at the front, if carbon
    /// has confirmed it.
    pub fn front(&self) -> Option<BatchName> {
        let (name, batch) = self.batches.first_key_value()?;
        batch.is_confirmed().then_some(*name)
    }

    /// How much room posts have, if all batches together take at most `max_bytes`: confirmed ones at
    /// the front give way to them. Not looked at any further once `wanted` is there.
    pub fn room(&self, max_bytes: u64, wanted: u64) -> u64 {
        let mut bytes = self.bytes();
        let batches = self.batches.iter();
        let mut front = batches.take_while(|(_, batch)| batch.is_confirmed());
        while max_bytes.saturating_sub(bytes) < wanted
            && let Some((name, _)) = front.next()
        {
            bytes -= cost(name.bytes);
        }
        max_bytes.saturating_sub(bytes)
    }

    /// Bytes of all batches.
    pub fn bytes(&self) -> u64 {
        self.waiting.bytes + self.replaying.bytes + self.confirmed.bytes
    }

    /// Whether there is such a batch.
    pub fn contains(&self, name: BatchName) -> bool {
        self.batches.contains_key(&name)
    }

    /// Takes in a batch that carbon has not confirmed.
    pub fn insert(&mut self, name: BatchName) {
        self.remove(name);
        self.waiting.add(name);
        self.batches.insert(name, Batch::default());
        if self.passed.is_some_and(|passed| name <= passed) {
            // Somebody has put a file of the far future there. What follows goes after this one.
            self.move_back_to(name);
        }
    }

    /// Forgets a batch.
    pub fn remove(&mut self, name: BatchName) {
        if let Some(batch) = self.batches.remove(&name) {
            self.amount(batch.state).subtract(name);
            self.unreadable.remove(&name);
        }
    }

    /// Notes that carbon has confirmed these batches.
    pub fn confirm(&mut self, names: &[BatchName], now: Instant) {
        for name in names {
            self.set(*name, State::Confirmed(now));
        }
        self.advance();
    }

    /// Passes over a batch that cannot be read now.
    pub fn skip(&mut self, name: BatchName, now: Instant) {
        if self.batches.contains_key(&name) {
            self.unreadable.entry(name).or_insert(now);
            self.advance();
        }
    }

    /// Notes that a batch that was passed over can be read. The next [`settle`](Self::settle) lets the
    /// position be before it.
    pub fn note_readable(&mut self, name: BatchName) {
        self.readable = Some(name);
    }

    /// Lets the position be before this batch. All that follows goes again, too, so that its older
    /// values do not replace newer ones. What cannot be read there is tried again.
    fn move_back_to(&mut self, name: BatchName) {
        self.unreadable.split_off(&name);
        self.pass_from(name);
    }

    fn pass_from(&mut self, name: BatchName) {
        let before = self.batches.range(..name).next_back();
        self.passed = self.passed.min(before.map(|(name, _)| *name));
        self.begin_pass();
    }

    /// Notes evidence that carbon has lost its memory, and begins a pass, or leaves one to do.
    /// `window` is the replay window. Gives how many lines are to be sent again because of it.
    pub fn rewind(&mut self, evidence: RestartEvidence, now: Instant, window: Duration) -> u64 {
        let before = self.replayed.get();
        if self.confirmed.batches > 0 {
            self.owed = self.owed.max(Some(evidence));
        }
        if evidence == RestartEvidence::Certain {
            self.send_again(None);
        }
        self.settle(now, window);
        self.replayed.get() - before
    }

    /// Begins the pass that is left to do, if it is time for it. Not during a delivery: what is sent
    /// in one pass and confirmed in the next would not be sent again in its place.
    pub fn settle(&mut self, now: Instant, window: Duration) {
        if let Some(name) = self.readable.take() {
            self.move_back_to(name);
        }
        let next = self.behind(self.passed).next().map(|(name, _)| *name);
        if self.pass_end.is_some() && next.is_none_or(|next| Some(next) > self.pass_end) {
            self.pass_end = None;
        }
        let is_due = match self.owed {
            None => false,
            Some(RestartEvidence::Certain) => true,
            Some(RestartEvidence::Uncertain) => self
                .last_uncertain
                .is_none_or(|at| now.saturating_duration_since(at) >= window),
        };
        if self.pass_end.is_none() && is_due {
            if self.owed.take() == Some(RestartEvidence::Uncertain) {
                self.last_uncertain = Some(now);
                self.pass_once_more();
            } else {
                self.passed = None;
                self.begin_pass();
            }
        }
    }

    /// The confirmed batches at the front whose replay window is over, oldest first.
    pub fn expired(&self, now: Instant, window: Duration) -> Vec<BatchName> {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= window;
        let batches = self.batches.iter();
        let expired = batches.take_while(
            |(_, batch)| matches!(batch.state, State::Confirmed(since) if is_over(since)),
        );
        expired.map(|(name, _)| *name).collect()
    }

    /// The batches behind this one.
    fn behind(&self, passed: Option<BatchName>) -> impl Iterator<Item = (&BatchName, &Batch)> {
        let from = passed.map_or(Unbounded, Excluded);
        self.batches.range((from, Unbounded))
    }

    /// Moves the position over what is confirmed or cannot be read.
    fn advance(&mut self) {
        let behind = self.behind(self.passed);
        let passed = behind
            .take_while(|(name, batch)| batch.is_confirmed() || self.unreadable.contains_key(name));
        if let Some((last, _)) = passed.last() {
            self.passed = Some(*last);
        }
    }

    /// A pass over the confirmed batches that uncertain evidence has not yet sent again. They are the
    /// newer ones, so that no older value is sent after a newer one.
    fn pass_once_more(&mut self) {
        let mut batches = self.batches.iter();
        let Some((first, _)) = batches.find(|(_, batch)| !batch.was_resent) else {
            return;
        };
        let first = *first;
        for (_, batch) in self.batches.range_mut(first..) {
            batch.was_resent |= batch.is_confirmed();
        }
        // What cannot be read stays so: its time runs on.
        self.pass_from(first);
    }

    /// A pass from the position to the end.
    fn begin_pass(&mut self) {
        self.send_again(self.passed);
        self.pass_end = self.batches.last_key_value().map(|(name, _)| *name);
    }

    /// Lets all confirmed batches behind `after` be sent again.
    fn send_again(&mut self, after: Option<BatchName>) {
        let behind = self.behind(after);
        let confirmed = behind.filter(|(_, batch)| batch.is_confirmed());
        let names: Vec<_> = confirmed.map(|(name, _)| *name).collect();
        for name in names {
            self.set(name, State::Again);
            self.replayed.inc_by(name.lines);
        }
    }

    /// Changes the state of a batch and keeps the sums in step.
    fn set(&mut self, name: BatchName, state: State) {
        if let Some(batch) = self.batches.get_mut(&name) {
            let before = std::mem::replace(&mut batch.state, state);
            self.amount(before).subtract(name);
            self.amount(state).add(name);
        }
    }

    fn amount(&mut self, state: State) -> &mut Amount {
        match state {
            State::Unsent => &mut self.waiting,
            State::Again => &mut self.replaying,
            State::Confirmed(_) => &mut self.confirmed,
        }
    }
}
