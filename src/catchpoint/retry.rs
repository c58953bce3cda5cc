//! How often and how soon a call that failed is made again.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::error::CallError;

/// How often a call is made before its failure counts.
pub const ATTEMPTS: u32 = 4;

/// After so many calls in a row that failed all their attempts, the others of the run get one
/// attempt each: Catchpoint is down, and trying harder would only spend the budget.
pub const GIVE_UP_AFTER: u32 = 2;

/// How long to wait after so many failed attempts: twice as long each time, half of it by chance.
pub fn pause(error: &CallError, failed: u32, random: u64) -> Duration {
    let first: u64 = match error {
        CallError::TooMany(_) => 5_000,
        _ => 1_000,
    };
    let longest = first << failed.min(5);
    Duration::from_millis(longest / 2 + random % (longest / 2).max(1))
}

/// A `Retry-After`: seconds, or a date.
pub fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S GMT").ok()?;
    (date.and_utc() - now).max(TimeDelta::zero()).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let check = |text, seconds: Option<u64>| {
            assert_eq!(
                retry_after(text, now),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        };
        check("30", Some(30));
        check(" 0 ", Some(0));
        check("Sun, 01 Mar 2026 12:02:00 GMT", Some(120));
        check("Sun, 01 Mar 2026 11:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
    }

    #[test]
    fn pauses_grow_and_half_of_each_is_chance() {
        let error = CallError::TooMany(String::new());
        let pauses = |random| [1, 2, 3, 9].map(|failed| pause(&error, failed, random).as_secs());
        assert_eq!(pauses(0), [5, 10, 20, 80]);
        for failed in 1..10 {
            let least = pause(&error, failed, 0);
            assert!(pause(&error, failed, 123_456_789) < 2 * least);
        }
    }
}
