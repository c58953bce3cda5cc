//! What a 429 states about the limit that it stands for: how many calls in how long, and when the
//! next call may be made. The word "quota" alone says nothing: it is in the text of every window.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::host::Headers;
use crate::retry;

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
        let reset = headers.get("x-rate-limit-reset");
        let wait = headers
            .get("retry-after")
            .and_then(|text| retry::retry_after(text, now))
            .or_else(|| wait_until(reset?, now));
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

/// The number and window of `20 per 1m`, `500/hour`, `7 per second`.
fn rate(text: &str) -> Option<(u32, u32)> {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let mut most = None;
    while let Some(word) = words.next() {
        if let Ok(number) = word.parse::<u32>() {
            most = Some(number);
            continue;
        }
        let next = match word {
            "per" | "a" | "each" | "every" => words.next()?,
            word => word,
        };
        if let (Some(most), Some(window)) = (most, window_of(next)) {
            return Some((most, window));
        }
        if !matches!(next, "" | "calls" | "requests" | "call" | "request" | "api") {
            most = None;
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
    let count: u32 = if count.is_empty() { 1 } else { count.parse().ok()? };
    seconds.checked_mul(count).filter(|window| *window > 0)
}

/// A day, if the text speaks of one.
fn day_in(text: &str) -> Option<u32> {
    let words = ["daily", "per day", "the day", "today"];
    words.iter().any(|word| text.contains(word)).then_some(DAY)
}

/// A reset as a date, as seconds since the epoch, or as seconds from now.
fn wait_until(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return date.to_utc().signed_duration_since(now).to_std().ok();
    }
    let seconds: i64 = text.parse().ok()?;
    let from_now = match seconds.checked_sub(now.timestamp()) {
        // Nobody waits since 1970, and no date is so early.
        Some(left) if seconds > 1_000_000_000 => left,
        _ => seconds,
    };
    Some(Duration::from_secs(u64::try_from(from_now).ok()?))
}
