//! Keeps a message about a problem that goes on from filling the log.

use std::time::Duration;

use tokio::time::Instant;

/// How often the message is logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// When a message was last logged.
#[derive(Debug, Default)]
pub struct LogThrottle(Option<Instant>);

impl LogThrottle {
    /// Whether to log it now: the first time, and then once a minute.
    #[must_use]
    pub fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|at| at.elapsed() >= INTERVAL);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }

    /// The problem is over. The next one is logged at once.
    pub fn reset(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_logged_once_a_minute_and_after_a_reset() {
        let mut throttle = LogThrottle::default();
        assert!(throttle.is_due());
        assert!(!throttle.is_due());
        throttle.reset();
        assert!(throttle.is_due());
        throttle.0 = Instant::now().checked_sub(INTERVAL);
        assert!(throttle.is_due());
        assert!(!throttle.is_due());
    }
}
