//! Keeps a message about a problem that goes on from filling the log.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often the message is logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// A problem that is logged once a minute while it lasts, and when it is over. One that comes and goes
/// all the time is not logged more often.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the problem was last logged.
    last: Option<Instant>,
    /// Whether the log has the problem, and not yet its end.
    is_open: bool,
}

impl LogThrottle {
    /// The problem is there. Whether to log it now: the first time, and then once a minute.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let mut state = self.state();
        let due = state.last.is_none_or(|at| at.elapsed() >= INTERVAL);
        if due {
            state.last = Some(Instant::now());
            state.is_open = true;
        }
        due
    }

    /// The problem is not there. Whether to log that it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        std::mem::take(&mut self.state().is_open)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_problem_is_logged_once_a_minute_and_when_it_is_over() {
        let throttle = LogThrottle::default();
        assert!(!throttle.is_over());
        for _ in 0..2 {
            assert!(throttle.is_due());
            assert!(throttle.is_over());
            // It comes and goes.
            for _ in 0..9 {
                assert!(!throttle.is_due());
                assert!(!throttle.is_over());
            }
            tokio::time::advance(INTERVAL).await;
        }
    }
}
