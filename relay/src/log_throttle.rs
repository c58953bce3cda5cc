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

/// A problem that is logged once a minute while it lasts, and when it is over. One that comes and goes
/// all the time is not logged more often.
#[derive(Debug, Default)]
pub struct Problem {
    throttle: LogThrottle,
    is_logged: bool,
}

impl Problem {
    /// Notes that it is there. Whether to say so now.
    pub fn is_there(&mut self) -> bool {
        let due = self.throttle.is_due();
        self.is_logged |= due;
        due
    }

    /// Notes that it is over. Whether to say so.
    pub fn is_over(&mut self) -> bool {
        std::mem::take(&mut self.is_logged)
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

    #[test]
    fn a_problem_that_comes_and_goes_is_logged_once_a_minute() {
        let mut problem = Problem::default();
        assert!(!problem.is_over());
        assert!(problem.is_there());
        assert!(!problem.is_there());
        assert!(problem.is_over());
        for _ in 0..9 {
            assert!(!problem.is_there());
            assert!(!problem.is_over());
        }
    }
}
