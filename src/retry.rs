//! How soon a request is sent again, for Catchpoint and the relay alike.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

/// A wait that is asked for and longer than this counts as this: nobody waits a day, and no sum of
/// times can overflow.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How long to wait after so many failed attempts: `first`, then twice as long each time, half of it
/// by chance.
pub fn pause(first: Duration, failed: u32, random: u64) -> Duration {
    let first = u64::try_from(first.as_millis()).unwrap_or(u64::MAX);
    let longest = first.saturating_mul(1 << failed.min(5));
    Duration::from_millis(longest / 2 + random % (longest / 2).max(1))
}

/// How long a header asks to wait, `Retry-After` or the reset of a limit: seconds, a date, or seconds
/// since the epoch. At most a day; none if it is none of them.
pub fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    let seconds = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        match text.parse().unwrap_or(i64::MAX) {
            // Nobody waits since 1970, and no date is so early.
            seconds if seconds > 1_000_000_000 => seconds - now.timestamp(),
            seconds => seconds,
        }
    } else {
        let http = || NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S GMT");
        let date = DateTime::parse_from_rfc3339(text).map(|date| date.to_utc());
        let date = date.or_else(|_| http().map(|date| date.and_utc())).ok()?;
        date.signed_duration_since(now).num_seconds()
    };
    let seconds = u64::try_from(seconds).unwrap_or_default();
    Some(Duration::from_secs(seconds).min(LONGEST))
}

/// A time so much later; the last one that there is if it cannot be told.
pub fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
    time.checked_add_signed(by)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn c14_retry_after_is_seconds_or_a_date_of_at_most_a_day() {
        let check = |text, seconds: Option<u64>| {
            let expect = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(text, now()), expect, "{text}");
        };
        check("30", Some(30));
        check(" 0 ", Some(0));
        check("9999999999999", Some(86_400));
        check("99999999999999999999999999", Some(86_400));
        check("Sun, 01 Mar 2026 12:02:00 GMT", Some(120));
        check("Sun, 01 Mar 2026 11:00:00 GMT", Some(0));
        check("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400));
        check("2026-03-01T12:00:30Z", Some(30));
        check("2026-03-01T11:00:00Z", Some(0));
        check("1772366430", Some(30));
        check("soon", None);
        check("", None);
        check("-1", None);
    }

    #[test]
    fn pauses_grow_and_half_of_each_is_chance() {
        let first = Duration::from_secs(5);
        let pauses = |random| [1, 2, 3, 9].map(|failed| pause(first, failed, random).as_secs());
        assert_eq!(pauses(0), [5, 10, 20, 80]);
        for failed in 1..10 {
            assert!(pause(first, failed, 123_456_789) < 2 * pause(first, failed, 0));
        }
    }

    proptest! {
        #[test]
        fn c14_no_retry_after_panics(text in "\\PC{0,40}|[0-9]{0,40}") {
            let wait = retry_after(&text, now()).unwrap_or_default();
            prop_assert!(later(now(), wait) >= now());
            later(DateTime::<Utc>::MAX_UTC, wait);
        }
    }
}
