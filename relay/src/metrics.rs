//! What the relay counts, and how it is shown to Prometheus.
//!
//! A counter's name ends in `_total`. Everything that is refused, dropped or lost is counted with
//! its reason.
//!
//! # Layout
//! - this file: the counters
//! - [`histogram`] durations in buckets
//! - [`exposition`] the text that `/metrics` answers

pub mod exposition;
pub mod histogram;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::carbon::delivery::DeliveryError;
use crate::http::outcome::Outcome;
use crate::lines::Reason;
use histogram::Histogram;

/// A number that goes up, or a gauge when it is also set or lowered.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes away what was added before.
    pub fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that is so or not so, or not known yet.
#[derive(Debug, Default)]
pub struct Fact(AtomicU8);

impl Fact {
    /// Sets it.
    pub fn set(&self, is_so: bool) {
        self.0.store(1 + u8::from(is_so), Ordering::Relaxed);
    }

    /// Whether it is so, once that is known.
    #[must_use]
    pub fn get(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            known => Some(known > 1),
        }
    }
}

/// Counters of a family, one for each of a fixed list of labels.
#[derive(Debug)]
pub struct Family(Vec<(&'static str, Counter)>);

impl Family {
    fn new(labels: impl IntoIterator<Item = &'static str>) -> Self {
        Self(
            labels
                .into_iter()
                .map(|label| (label, Counter::default()))
                .collect(),
        )
    }

    /// Adds to the counter with this label. A label that is not of the family is not counted.
    pub fn add(&self, label: &str, count: u64) {
        let named = self.0.iter().find(|(name, _)| *name == label);
        if let Some((_, counter)) = named {
            counter.add(count);
        }
    }

    /// The counters with their labels.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0
            .iter()
            .map(|(label, counter)| (*label, counter.get()))
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

/// Everything the relay counts.
#[derive(Debug)]
pub struct Metrics {
    /// Posts by [`Outcome`].
    pub posts: Family,
    /// Lines stored, and so promised to be delivered.
    pub lines_accepted: Counter,
    /// Lines refused, by [`Reason`].
    pub lines_rejected: Family,
    /// Lines lost after they were promised: their batch was damaged or has vanished.
    pub lines_lost: Counter,
    /// Batches that were damaged or have vanished.
    pub batches_damaged: Counter,
    /// Failed attempts to write to the spool.
    pub disk_errors: Counter,
    /// Inlet connections taken.
    pub connections: Counter,
    /// Inlet connections that are open.
    pub connections_open: Counter,
    /// Inlet connections closed to make room for others.
    pub connections_evicted: Counter,
    /// TLS handshakes that failed.
    pub tls_failures: Counter,
    /// Connections made to carbon.
    pub carbon_connects: Counter,
    /// Batches that carbon has confirmed, those sent again included.
    pub batches_confirmed: Counter,
    /// Lines in them.
    pub lines_confirmed: Counter,
    /// Deliveries that carbon did not confirm, by [`DeliveryError`]. They are sent again.
    pub deliveries_failed: Family,
    /// Times that carbon was gone while it had confirmed batches.
    pub carbon_restarts: Counter,
    /// Times that confirmed batches were put up to be sent again because carbon may have restarted:
    /// it could not be reached, or closed an idle connection.
    pub replays_in_doubt: Counter,
    /// Confirmed lines put up to be sent again.
    pub lines_replayed: Counter,
    /// Confirmed batches that were deleted before the end of their replay window, for room.
    pub replay_cut_short: Counter,
    /// Whether carbon has confirmed the last delivery.
    pub carbon_up: Fact,
    /// Whether a restart of carbon may not be seen: something before it closes connections.
    pub confirmation_weak: Fact,
    /// From the head of a post to its answer.
    pub post_seconds: Histogram,
    /// Of storing a batch.
    pub store_seconds: Histogram,
    /// From the connect to carbon to its confirmation.
    pub confirm_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            posts: Family::new(Outcome::NAMES),
            lines_accepted: Counter::default(),
            lines_rejected: Family::new(Reason::ALL.iter().map(|reason| reason.name())),
            lines_lost: Counter::default(),
            batches_damaged: Counter::default(),
            disk_errors: Counter::default(),
            connections: Counter::default(),
            connections_open: Counter::default(),
            connections_evicted: Counter::default(),
            tls_failures: Counter::default(),
            carbon_connects: Counter::default(),
            batches_confirmed: Counter::default(),
            lines_confirmed: Counter::default(),
            deliveries_failed: Family::new(DeliveryError::NAMES),
            carbon_restarts: Counter::default(),
            replays_in_doubt: Counter::default(),
            lines_replayed: Counter::default(),
            replay_cut_short: Counter::default(),
            carbon_up: Fact::default(),
            confirmation_weak: Fact::default(),
            post_seconds: Histogram::default(),
            store_seconds: Histogram::default(),
            confirm_seconds: Histogram::default(),
        }
    }
}
