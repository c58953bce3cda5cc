//! The sandbox's idea of now.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

/// A clock: real time, or time that stands still until the caller moves it. Copies share their time.
#[derive(Clone, Debug)]
pub struct Clock(
    /// Microseconds since 1970; nothing if it is the machine's clock, which cannot be moved.
    Option<Arc<AtomicI64>>,
);

impl Clock {
    /// A clock that shows the machine's time.
    pub fn real() -> Self {
        Self(None)
    }

    /// A clock that shows `start` until [`Clock::set`] or [`Clock::advance`] moves it.
    pub fn driven(start: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    /// The time it shows, to the microsecond.
    pub fn now(&self) -> DateTime<Utc> {
        let Some(micros) = &self.0 else {
            return SystemTime::now().into();
        };
        let time = DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst));
        time.unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Puts a driven clock to `now`.
    pub fn set(&self, now: DateTime<Utc>) {
        if let Some(micros) = &self.0 {
            micros.store(now.timestamp_micros(), Ordering::SeqCst);
        }
    }

    /// Moves a driven clock on by `by`.
    pub fn advance(&self, by: Duration) {
        if let Some(micros) = &self.0 {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            micros.fetch_add(by, Ordering::SeqCst);
        }
    }
}
