//! What a 429 states about the limit that it stands for: how many calls in how long, and when the
//! next call may be made. The word "quota" alone says nothing: it is in the text of every window.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::host::Headers;
use crate::retry::retry_after;

/// A second, minute, hour and day, in seconds.
pub const SECOND: u32 = 1;
/// See [`SECOND`].
pub const MINUTE: u32 = 60;
/// See [`SECOND`].
pub const HOUR: u32 = 3600;
/// See [`SECOND`].
pub const DAY: u32 = 24 * HOUR;

/// What a 429 states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stated {
    /// The length of the window, in seconds.
    pub window: Option<u32>,
    /// How many calls it may hold.
    pub most: Option<u32>,
    /// How long to wait.
    pub wait: Option<Duration>,
    /// The text speaks of a quota.
    pub quota: bool,
}

impl Stated {
    /// Reads a 429's headers and its text.
    pub fn read(headers: &Headers, text: &str, now: DateTime<Utc>) -> Self {
        let lower = text.to_ascii_lowercase();
        let in_text = rate(&lower);
        // AspNetCoreRateLimit writes the window here, others the number.
        let limit = headers.get("x-rate-limit-limit").unwrap_or_default();
        let window = in_text.map(|(_, window)| window);
        let window = window.or_else(|| window_of(&limit.to_ascii_lowercase()));
        let most = in_text.map(|(most, _)| most);
        let wait = |header| retry_after(headers.get(header)?, now);
        let wait = wait("retry-after").or_else(|| wait("x-rate-limit-reset"));
        Self {
            window: window.or_else(|| day_in(&lower)),
            most: most.or_else(|| limit.parse().ok()).filter(|most| *most > 0),
            wait,
            quota: lower.contains("quota"),
        }
    }

    /// Whether it is the day's calls that are used up: as it says, or because it speaks of a quota,
    /// names no window, and no call before the next hour.
    pub fn is_day(&self) -> bool {
        let soon = self.wait.is_some_and(|wait| wait.as_secs() <= HOUR.into());
        match self.window {
            Some(window) => window >= DAY,
            None => self.quota && !soon,
        }
    }
}

/// The number and window of `20 per 1m`, `500/hour`, `7 per second`. `Try again in 1 minute` is no
/// rate.
fn rate(text: &str) -> Option<(u32, u32)> {
    let text = text.replace('/', " per ");
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let mut words = words.filter(|word| !word.is_empty());
    let mut most = None;
    while let Some(word) = words.next() {
        match word {
            "per" | "a" | "each" | "every" => {
                let window = window_of(words.next()?);
                if let (Some(most), Some(window)) = (most.take(), window) {
                    return Some((most, window));
                }
            }
            "calls" | "requests" | "call" | "request" | "api" => {}
            word => most = word.parse().ok(),
        }
    }
    None
}

/// The seconds of `1m`, `15m`, `hour`.
fn window_of(text: &str) -> Option<u32> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let count = text.strip_suffix(unit)?;
    let seconds = match unit {
        "s" | "sec" | "second" | "seconds" => SECOND,
        "m" | "min" | "minute" | "minutes" => MINUTE,
        "h" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        _ => return None,
    };
    let count: u32 = if count.is_empty() {
        1
    } else {
        count.parse().ok()?
    };
    seconds.checked_mul(count).filter(|window| *window > 0)
}

/// A day, if the text speaks of one.
fn day_in(text: &str) -> Option<u32> {
    let words = ["daily", "per day", "the day", "today"];
    words.iter().any(|word| text.contains(word)).then_some(DAY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn stated(headers: &[(&str, &str)], text: &str) -> Stated {
        Stated::read(&headers.iter().copied().collect(), text, now())
    }

    #[test]
    fn c08_number_and_window_are_read_from_the_text() {
        for (text, most, window) in [
            (
                "API calls quota exceeded! maximum admitted 20 per 1m.",
                Some(20),
                Some(MINUTE),
            ),
            ("maximum admitted 7 per 1s", Some(7), Some(SECOND)),
            ("maximum admitted 500 per 1h.", Some(500), Some(HOUR)),
            ("maximum admitted 2000 per 1d.", Some(2000), Some(DAY)),
            ("Limit of 10 requests per 15m", Some(10), Some(15 * MINUTE)),
            ("at most 10 calls per minute", Some(10), Some(MINUTE)),
            ("500/hour", Some(500), Some(HOUR)),
            ("Rate limit is exceeded. Try again in 1 minute.", None, None),
            ("quota exceeded, retry in 2 hours", None, None),
            ("more than 10 calls in 1 hour", None, None),
            ("daily quota exceeded", None, Some(DAY)),
            ("quota exceeded", None, None),
            ("error 429 at 12:00, see test 7 of 20", None, None),
            ("0 per 1m", None, Some(MINUTE)),
            ("20 per 99999999999d", None, None),
            ("", None, None),
        ] {
            let stated = stated(&[], text);
            assert_eq!((stated.most, stated.window), (most, window), "{text}");
        }
    }

    #[test]
    fn c08_headers_state_the_window_and_the_wait() {
        let check = |headers: &[(&str, &str)], window, most, wait: Option<u64>| {
            let stated = stated(headers, "");
            let wait = wait.map(Duration::from_secs);
            assert_eq!(
                (stated.window, stated.most, stated.wait),
                (window, most, wait),
                "{headers:?}"
            );
        };
        check(&[("retry-after", "3")], None, None, Some(3));
        check(&[("x-rate-limit-limit", "1m")], Some(MINUTE), None, None);
        check(&[("x-rate-limit-limit", "20")], None, Some(20), None);
        check(&[("x-rate-limit-reset", "30")], None, None, Some(30));
        let both = [("retry-after", "soon"), ("x-rate-limit-reset", "30")];
        check(&both, None, None, Some(30));
    }

    proptest! {
        #[test]
        fn c14_no_header_panics(
            retry_after in "\\PC{0,30}|[0-9]{0,30}",
            limit in "\\PC{0,30}|[0-9]{0,12}[smhd]",
            reset in "\\PC{0,30}|-?[0-9]{0,30}|[0-9]{4,6}-01-01T00:00:00Z",
            text in "\\PC{0,60}|([0-9]{0,12} per [0-9]{0,12}[smhd] ?){0,3}",
        ) {
            let headers = [
                ("retry-after", retry_after.as_str()),
                ("x-rate-limit-limit", &limit),
                ("x-rate-limit-reset", &reset),
            ];
            let stated = stated(&headers, &text);
            stated.is_day();
            crate::retry::later(now(), stated.wait.unwrap_or_default());
        }
    }
}
