//! The sandbox's idea of now.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

/// A clock: real time, or time that stands still until the caller moves it. Copies share their time.
#[derive(Clone, Debug)]
pub struct Clock {
    ticking: bool,
    /// Microseconds: since 1970 if the clock stands still, else what is added to the real time.
    micros: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that shows the machine's time.
    pub fn real() -> Self {
        Self {
            ticking: true,
            micros: Arc::default(),
        }
    }

    /// A clock that shows `start` until [`Clock::set`] or [`Clock::advance`] moves it.
    pub fn driven(start: DateTime<Utc>) -> Self {
        Self {
            ticking: false,
            micros: Arc::new(AtomicI64::new(start.timestamp_micros())),
        }
    }

    /// The time it shows, to the microsecond.
    pub fn now(&self) -> DateTime<Utc> {
        let micros = self
            .base()
            .saturating_add(self.micros.load(Ordering::SeqCst));
        DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Puts the clock to `now`; a real clock ticks on from there.
    pub fn set(&self, now: DateTime<Utc>) {
        let micros = now.timestamp_micros().saturating_sub(self.base());
        self.micros.store(micros, Ordering::SeqCst);
    }

    /// Moves the clock on by `by`.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let add = |micros: i64| Some(micros.saturating_add(by));
        // The closure never declines, so this cannot fail.
        let _ = self
            .micros
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
    }

    fn base(&self) -> i64 {
        if self.ticking {
            DateTime::<Utc>::from(SystemTime::now()).timestamp_micros()
        } else {
            0
        }
    }
}
