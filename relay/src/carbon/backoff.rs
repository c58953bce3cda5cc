//! How long the forwarder waits for carbon, and between two attempts.

use std::time::Duration;

/// The forwarder's times.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// The first pause after a failure.
    pub min_backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// How long carbon may read nothing before the delivery is given up. It doubles with each
    /// delivery given up so, for a carbon that is slow and not dead.
    pub stall_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

impl Timing {
    /// The pause after so many failures in a row: doubling, and up to a half shorter at random, so
    /// that several relays do not come back at the same time.
    #[must_use]
    pub fn backoff(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let pause = self.min_backoff.saturating_mul(doubled);
        pause
            .min(self.max_backoff)
            .mul_f64(1.0 - fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let timing = Timing::default();
        for (failures, longest) in [
            (0, 100),
            (1, 100),
            (2, 200),
            (5, 1600),
            (9, 25_600),
            (10, 30_000),
            (u32::MAX, 30_000),
        ] {
            for _ in 0..100 {
                let pause = timing.backoff(failures).as_millis();
                assert!(
                    (longest / 2..=longest).contains(&pause),
                    "{failures}: {pause}"
                );
            }
        }
    }
}
