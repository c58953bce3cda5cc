//! Durations in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds: from a cheap fsync to a carbon at its limits.
const BOUNDS_MICROS: [u64; 12] = [
    500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000,
    30_000_000, 60_000_000,
];

/// How long something took, each time it happened.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MICROS.len()],
    count: AtomicU64,
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Notes one duration.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = self
            .buckets
            .iter()
            .zip(BOUNDS_MICROS)
            .find(|(_, bound)| micros <= *bound);
        if let Some((bucket, _)) = bucket {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many were noted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// All of them together, in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        // Exact up to 285 years.
        self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Each bucket's upper bound in seconds, and how many were at most so long.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0;
        self.buckets
            .iter()
            .zip(BOUNDS_MICROS)
            .map(move |(bucket, bound)| {
                below += bucket.load(Ordering::Relaxed);
                (bound as f64 / 1e6, below)
            })
    }
}
