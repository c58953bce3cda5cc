//! Keeps a message about a problem that goes on from filling the log.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often the message is logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// When a message was last logged.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Option<Instant>>);

impl LogThrottle {
    /// Whether to log it now: the first time, and then once a minute.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let mut last = self.last();
        let due = last.is_none_or(|at| at.elapsed() >= INTERVAL);
        if due {
            *last = Some(Instant::now());
        }
        due
    }

    /// The problem is over. The next one is logged at once.
    pub fn reset(&self) {
        *self.last() = None;
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_logged_once_a_minute_and_after_a_reset() {
        let throttle = LogThrottle::default();
        assert!(throttle.is_due());
        assert!(!throttle.is_due());
        throttle.reset();
        assert!(throttle.is_due());
        *throttle.last() = Instant::now().checked_sub(INTERVAL);
        assert!(throttle.is_due());
        assert!(!throttle.is_due());
    }
}
