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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driven_clock_moves_only_when_told_and_its_copies_with_it() {
        let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let clock = Clock::driven(start);
        let copy = clock.clone();
        assert_eq!(copy.now(), start);
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(copy.now().timestamp_millis(), 1_700_000_001_500);
        copy.set(start);
        assert_eq!(clock.now(), start);
    }

    #[test]
    fn a_real_clock_ticks_on_from_where_it_is_put() {
        let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let clock = Clock::real();
        clock.set(start);
        assert!(clock.now() >= start);
        assert!(clock.now() < start + Duration::from_secs(60));
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        let clock = Clock::driven(DateTime::<Utc>::MAX_UTC);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), DateTime::<Utc>::MAX_UTC);
    }
}
