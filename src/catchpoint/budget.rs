//! The API's limits, kept across runs: no call is made that would break one.
//!
//! The last hour is remembered call by call, so that any second, minute and hour stays within its
//! limit wherever it begins; the day is a count that starts anew at 00:00 UTC, as Catchpoint's.
//!
//! A limit that Catchpoint states, with a 429 or in an answer of v2, is in force when it is lower
//! than the configured one: until it states another one, or the configured limits change.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Timelike, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rate_limit::{DAY, HOUR, MINUTE, SECOND, Stated};
use crate::config::catchpoint::Limits;

/// Our clock and Catchpoint's may tick apart, and calls arrive later than they are sent: each
/// window is taken this much longer, in milliseconds.
const SLACK: i64 = 250;

/// An hour in milliseconds. No wish of Catchpoint's for no calls is obeyed for longer, beyond the run
/// that got it.
const AN_HOUR: i64 = 3_600_000;

/// So long a run may be held up by the calls of an hour ago, in milliseconds.
const HELD_UP: i64 = 300_000;

/// So many seconds after midnight Catchpoint may still be in yesterday.
const YOUNG: u32 = 5 * 60;

/// The windows that can be configured: their lengths in seconds, and their keys under `limits`.
const WINDOWS: [(u32, &str); 4] = [
    (SECOND, "per_second"),
    (MINUTE, "per_minute"),
    (HOUR, "per_hour"),
    (DAY, "per_day"),
];

/// A limit that allows no call now, and when it does: a key under `limits`, or words for one that is
/// not configurable.
pub type Wait = (&'static str, DateTime<Utc>);

/// What has been used; the part of a budget that is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    day: Option<NaiveDate>,
    in_day: u32,
    /// The calls of the last hour, in milliseconds since the epoch, oldest first.
    recent: VecDeque<i64>,
    /// Until then Catchpoint wants no call, in milliseconds since the epoch.
    not_before: i64,
    /// The limits that Catchpoint has stated.
    learned: Vec<Learned>,
    /// The configured limits that they are lower than: by second, minute, hour and day.
    configured: [u32; 4],
}

/// A limit that Catchpoint has stated, lower than the configured one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// The length of the window, in seconds.
    pub window: u32,
    /// The most calls in it.
    pub most: u32,
    /// When Catchpoint said so.
    pub at: DateTime<Utc>,
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = match self.window {
            SECOND => "second".to_owned(),
            MINUTE => "minute".to_owned(),
            HOUR => "hour".to_owned(),
            DAY => "day".to_owned(),
            seconds => format!("{seconds} seconds"),
        };
        let at = self.at.format("%Y-%m-%d %H:%M UTC");
        write!(
            f,
            "{} calls per {window}, stated by Catchpoint at {at}",
            self.most
        )
    }
}

/// What has been used, against the limits.
#[derive(Debug, Clone)]
pub struct Budget {
    used: Used,
}

impl Budget {
    /// The stored use against the configured limits.
    pub fn new(limits: Limits, mut used: Used) -> Self {
        let configured = [
            limits.per_second,
            limits.per_minute,
            limits.per_hour,
            limits.per_day,
        ];
        if used.configured != configured {
            used.learned.clear();
            used.configured = configured;
        }
        Self { used }
    }

    /// What is to be stored.
    pub fn used(&self) -> &Used {
        &self.used
    }

    /// The limits that are in force because Catchpoint has stated them.
    pub fn learned(&self) -> &[Learned] {
        &self.used.learned
    }

    /// The limit that Catchpoint has stated for a window, if one is in force.
    fn stated(&self, window: u32) -> Option<u32> {
        let mut learned = self.used.learned.iter();
        Some(learned.find(|learned| learned.window == window)?.most)
    }

    fn configured(&self, window: u32) -> Option<u32> {
        let mut configured = WINDOWS.iter().zip(self.used.configured);
        Some(configured.find(|((seconds, _), _)| *seconds == window)?.1)
    }

    /// The limit in force for a window.
    fn limit(&self, window: u32) -> u32 {
        let stated = self.stated(window).or(self.configured(window));
        stated.unwrap_or(u32::MAX)
    }

    /// The earliest time for the next call, and why; none if it may be made now.
    pub fn wait(&mut self, now: DateTime<Utc>) -> Option<Wait> {
        let in_day = (self.left_today(now) == 0)
            .then(|| ("per_day", midnight_after(now).timestamp_millis() + SLACK));
        let others = self.used.learned.iter().map(|learned| learned.window);
        let others = others.filter(|window| self.configured(*window).is_none());
        let windows = WINDOWS.into_iter().filter(|(window, _)| *window != DAY);
        let windows = windows.chain(others.map(|window| (window, "Catchpoint stated this limit")));
        let in_windows = windows.filter_map(|(window, name)| {
            // The call that must leave the window before another fits.
            let nth = self
                .used
                .recent
                .len()
                .checked_sub(self.limit(window) as usize)?;
            Some((name, self.used.recent.get(nth)? + millis(window) + SLACK))
        });
        let held = ("Catchpoint asked for this", self.used.not_before);
        let waits = in_windows.chain(in_day).chain([held]);
        let (limit, until) = waits.max_by_key(|(_, until)| *until)?;
        let until = DateTime::from_timestamp_millis(until)?;
        (until > now).then_some((limit, until))
    }

    /// Counts a call that is about to be made.
    pub fn count(&mut self, now: DateTime<Utc>) {
        self.roll(now);
        self.used.in_day = self.used.in_day.saturating_add(1);
        self.used.recent.push_back(now.timestamp_millis());
    }

    /// The call that was counted last goes out only now: to store its count may have taken a while.
    pub fn made(&mut self, now: DateTime<Utc>) {
        if let Some(last) = self.used.recent.back_mut() {
            *last = now.timestamp_millis().max(*last);
        }
    }

    /// How many calls of the day are left.
    pub fn left_today(&mut self, now: DateTime<Utc>) -> u32 {
        self.roll(now);
        self.limit(DAY).saturating_sub(self.used.in_day)
    }

    /// Whether one more call now leaves the runs of the next hour theirs: so many each, from
    /// `next_run` on.
    pub fn leaves_hour(
        &mut self,
        now: DateTime<Utc>,
        next_run: DateTime<Utc>,
        every: Duration,
        calls_of_a_run: usize,
    ) -> bool {
        self.roll(now);
        let most = self.limit(HOUR) as usize;
        let hour = now.timestamp_millis() + AN_HOUR;
        let every = usize::try_from(every.as_millis())
            .unwrap_or(usize::MAX)
            .max(1);
        let mut runs = (next_run.timestamp_millis()..hour).step_by(every).zip(1..);
        let fits = |(begins, runs): (i64, usize)| {
            let made = self.made_since(begins + HELD_UP - AN_HOUR);
            made + 1 + runs.saturating_mul(calls_of_a_run) <= most
        };
        self.used.recent.len() < most && runs.all(fits)
    }

    /// How many calls were made in or after a millisecond.
    fn made_since(&self, millis: i64) -> usize {
        let recent = &self.used.recent;
        recent.len() - recent.partition_point(|call| *call < millis)
    }

    /// Catchpoint has answered 429, and this is what it states.
    pub fn refused(&mut self, stated: &Stated, now: DateTime<Utc>) {
        self.roll(now);
        if let (Some(window), Some(most)) = (stated.window, stated.most) {
            self.learn(window, most, now);
        }
        if stated.is_day() {
            self.used_today(self.limit(DAY), now);
        } else if let Some(wait) = stated.wait {
            let wait = i64::try_from(wait.as_millis()).unwrap_or(AN_HOUR);
            let until = now.timestamp_millis() + wait.min(AN_HOUR);
            self.used.not_before = self.used.not_before.max(until);
        }
    }

    /// Catchpoint says that so many of the day's calls are made, unless it can mean yesterday's.
    fn used_today(&mut self, calls: u32, now: DateTime<Utc>) {
        if now.num_seconds_from_midnight() >= YOUNG {
            self.used.in_day = self.used.in_day.max(calls);
        }
    }

    /// Catchpoint's own count, v2's `usageLimits`, which knows of calls that others made with the same
    /// key. It is zero where it does not say; what is no count there says nothing either.
    pub fn observe(&mut self, usage: &Value, now: DateTime<Utc>) {
        let count = |place: &str| {
            let count = usage.pointer(place).and_then(Value::as_u64);
            u32::try_from(count.unwrap_or_default()).unwrap_or(u32::MAX)
        };
        self.roll(now);
        self.learn(MINUTE, count("/limits/minute"), now);
        self.learn(HOUR, count("/limits/hour"), now);
        self.learn(DAY, count("/limits/day"), now);
        self.used_today(count("/runs/day"), now);
        self.remember(now, SECOND, MINUTE, count("/runs/minute"));
        self.remember(now, MINUTE, HOUR, count("/runs/hour"));
    }

    /// Catchpoint states a limit. One that is not lower than the configured one is no news, but it
    /// takes back what was stated before. Of a window between an hour and a day nothing is kept that
    /// could be counted.
    fn learn(&mut self, window: u32, most: u32, at: DateTime<Utc>) {
        if most == 0 || (window > HOUR && window != DAY) || self.stated(window) == Some(most) {
            return;
        }
        self.used.learned.retain(|learned| learned.window != window);
        if self.configured(window).is_none_or(|limit| most < limit) {
            self.used.learned.push(Learned { window, most, at });
        }
    }

    /// Catchpoint has counted so many calls in a window of `outer` seconds. Those that are not ours
    /// are taken for as late as they can be without counting in the shorter window of `inner`
    /// seconds, which has a count of its own.
    fn remember(&mut self, now: DateTime<Utc>, inner: u32, outer: u32, calls: u32) {
        let back = |window| now.timestamp_millis() - millis(window) - SLACK;
        let (inner, calls) = (back(inner), calls.min(self.limit(outer)));
        let place = self.used.recent.partition_point(|call| *call <= inner);
        for _ in self.made_since(back(outer))..calls as usize {
            self.used.recent.insert(place, inner);
        }
    }

    /// Forgets what no limit looks at any more. What a clock that was ahead has counted, counts now.
    fn roll(&mut self, now: DateTime<Utc>) {
        let today = now.date_naive();
        if self.used.day.is_none_or(|day| day < today) {
            self.used.in_day = 0;
        }
        self.used.day = Some(today);
        let now = now.timestamp_millis();
        if self.used.not_before > now + AN_HOUR {
            self.used.not_before = 0;
        }
        let recent = &mut self.used.recent;
        recent.retain(|call| *call >= now - AN_HOUR - SLACK);
        for call in recent {
            *call = now.min(*call);
        }
    }
}

/// The milliseconds of a window.
fn millis(window: u32) -> i64 {
    i64::from(window) * 1000
}

/// The next 00:00 UTC.
pub fn midnight_after(now: DateTime<Utc>) -> DateTime<Utc> {
    let tomorrow = now.date_naive().checked_add_days(Days::new(1));
    tomorrow.map_or(now, |day| day.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests;
