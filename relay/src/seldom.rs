//! Keeps a line about a trouble that goes on from coming into the log all the time.

use std::time::{Duration, Instant};

/// How often it may come.
const INTERVAL: Duration = Duration::from_secs(60);

/// When something was said last.
#[derive(Debug, Default)]
pub struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether to say it now: the first time, and then once a minute.
    #[must_use]
    pub fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|at| at.elapsed() >= INTERVAL);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }

    /// The trouble is over, and the next one is told of at once.
    pub fn reset(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute_and_after_a_reset() {
        let mut seldom = Seldom::default();
        assert!(seldom.is_due());
        assert!(!seldom.is_due());
        seldom.reset();
        assert!(seldom.is_due());
        seldom.0 = Instant::now().checked_sub(INTERVAL);
        assert!(seldom.is_due());
        assert!(!seldom.is_due());
    }
}
