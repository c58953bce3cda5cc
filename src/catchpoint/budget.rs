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

use super::answer::UsageLimits;
use super::rate_limit::{DAY, HOUR, MINUTE, SECOND, Stated};
use crate::config::catchpoint::Limits;
use crate::retry::later;

/// Our clock and Catchpoint's may tick apart, and calls arrive later than they are sent: each
/// window is taken this much longer.
const SLACK: Duration = Duration::from_millis(250);

/// Longest that Catchpoint's wish for no calls is obeyed, beyond the run that got it.
const LONGEST_HOLD: Duration = Duration::from_secs(3600);

/// So many seconds after midnight Catchpoint may still be in yesterday.
const YOUNG: u32 = 5 * 60;

/// So long a run may be held up by the calls of an hour ago.
const HELD_UP: Duration = Duration::from_secs(5 * 60);

const AN_HOUR: Duration = Duration::from_secs(3600);

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
    limits: Limits,
    used: Used,
}

/// When the next call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// At once, or later.
    pub until: DateTime<Utc>,
    /// The limit that makes it wait: a key under `limits`, or words for one that is not
    /// configurable.
    pub limit: &'static str,
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
        Self { limits, used }
    }

    /// What is to be stored.
    pub fn used(&self) -> &Used {
        &self.used
    }

    /// The limits that are in force because Catchpoint has stated them.
    pub fn learned(&self) -> &[Learned] {
        &self.used.learned
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        let in_force = |window, configured: u32| self.stated(window).unwrap_or(configured);
        Limits {
            per_second: in_force(SECOND, self.limits.per_second),
            per_minute: in_force(MINUTE, self.limits.per_minute),
            per_hour: in_force(HOUR, self.limits.per_hour),
            per_day: in_force(DAY, self.limits.per_day),
        }
    }

    /// The earliest time for the next call; none if it may be made now.
    pub fn wait(&mut self, now: DateTime<Utc>) -> Option<Wait> {
        let in_day = (self.left_today(now) == 0).then(|| Wait {
            until: later(midnight_after(now), SLACK),
            limit: "per_day",
        });
        let limits = self.limits();
        let windows = [
            ("per_second", SECOND, limits.per_second),
            ("per_minute", MINUTE, limits.per_minute),
            ("per_hour", HOUR, limits.per_hour),
        ];
        let stated = self.used.learned.iter().map(|learned| {
            let known = [SECOND, MINUTE, HOUR, DAY].contains(&learned.window);
            let most = if known { u32::MAX } else { learned.most };
            ("that Catchpoint stated", learned.window, most)
        });
        let in_windows = windows.into_iter().chain(stated);
        let in_windows = in_windows.filter_map(|(limit, seconds, most)| {
            // The call that must leave the window before another fits.
            let nth = self.used.recent.len().checked_sub(most as usize)?;
            let leaves = DateTime::from_timestamp_millis(*self.used.recent.get(nth)?)?;
            let until = later(leaves, Duration::from_secs(seconds.into()) + SLACK);
            (until > now).then_some(Wait { until, limit })
        });
        let until = DateTime::from_timestamp_millis(self.used.not_before);
        let held = until.filter(|until| *until > now).map(|until| Wait {
            until,
            limit: "that Catchpoint asked for",
        });
        let waits = in_windows.chain(in_day).chain(held);
        waits.max_by_key(|wait| wait.until)
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
        self.limits().per_day.saturating_sub(self.used.in_day)
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
        let recent = &self.used.recent;
        let most = self.limits().per_hour as usize;
        let fits = |needed: usize, begins: DateTime<Utc>| {
            let over = (begins + HELD_UP - AN_HOUR).timestamp_millis();
            let known = recent.len() - recent.partition_point(|call| *call < over);
            known + 1 + needed <= most
        };
        let runs = (0..).map(|nth| (nth, later(next_run, every.saturating_mul(nth))));
        recent.len() < most
            && runs
                .take_while(|(_, begins)| *begins < later(now, AN_HOUR))
                .all(|(nth, begins)| fits((nth as usize + 1) * calls_of_a_run, begins))
    }

    /// Catchpoint has answered 429, and this is what it states.
    pub fn refused(&mut self, stated: &Stated, now: DateTime<Utc>) {
        self.roll(now);
        if let (Some(window), Some(most)) = (stated.window, stated.most) {
            self.learn(window, most, now);
        }
        if stated.is_day() {
            self.exhaust_day(now);
        } else if let Some(wait) = stated.wait {
            let until = later(now, wait.min(LONGEST_HOLD)).timestamp_millis();
            self.used.not_before = self.used.not_before.max(until);
        }
    }

    /// Catchpoint says that the day's calls are used up, unless it can mean yesterday's.
    fn exhaust_day(&mut self, now: DateTime<Utc>) {
        if !is_young(now) {
            self.used.in_day = self.used.in_day.max(self.limits().per_day);
        }
    }

    /// Catchpoint's own count, which knows of calls that others made with the same key. Zero limits
    /// are what it sends when it does not say.
    pub fn observe(&mut self, usage: &UsageLimits, now: DateTime<Utc>) {
        self.roll(now);
        let UsageLimits { limits, runs } = usage;
        self.learn(MINUTE, limits.minute, now);
        self.learn(HOUR, limits.hour, now);
        self.learn(DAY, limits.day, now);
        if !is_young(now) {
            self.used.in_day = self.used.in_day.max(runs.day);
        }
        let Limits {
            per_minute,
            per_hour,
            ..
        } = self.limits();
        self.remember(now, SECOND, MINUTE, runs.minute.min(per_minute));
        self.remember(now, MINUTE, HOUR, runs.hour.min(per_hour));
    }

    /// The limit of a window that Catchpoint has stated, if one is in force.
    fn stated(&self, window: u32) -> Option<u32> {
        let mut learned = self.used.learned.iter();
        Some(learned.find(|learned| learned.window == window)?.most)
    }

    /// Catchpoint states a limit. One that is not lower than the configured one is no news, but it
    /// takes back what was stated before. Of a window between an hour and a day nothing is kept that
    /// could be counted.
    fn learn(&mut self, window: u32, most: u32, now: DateTime<Utc>) {
        if most == 0 || (window > HOUR && window != DAY) || self.stated(window) == Some(most) {
            return;
        }
        self.used.learned.retain(|learned| learned.window != window);
        let configured = match window {
            SECOND => self.limits.per_second,
            MINUTE => self.limits.per_minute,
            HOUR => self.limits.per_hour,
            DAY => self.limits.per_day,
            _ => u32::MAX,
        };
        if most < configured {
            self.used.learned.push(Learned {
                window,
                most,
                at: now,
            });
        }
    }

    /// Catchpoint has counted so many calls in a window of `outer` seconds. Those that are not ours
    /// are taken for as late as they can be without counting in the shorter window of `inner`
    /// seconds, which has a count of its own.
    fn remember(&mut self, now: DateTime<Utc>, inner: u32, outer: u32, calls: u32) {
        let slack = i64::try_from(SLACK.as_millis()).unwrap_or(0);
        let back = |seconds: u32| now.timestamp_millis() - i64::from(seconds) * 1000 - slack;
        let recent = &mut self.used.recent;
        let known = recent.len() - recent.partition_point(|call| *call < back(outer));
        let place = recent.partition_point(|call| *call <= back(inner));
        for _ in known..calls as usize {
            recent.insert(place, back(inner));
        }
    }

    /// Forgets what no limit looks at any more. What a clock that was ahead has counted, counts now.
    fn roll(&mut self, now: DateTime<Utc>) {
        let today = now.date_naive();
        if self.used.day.is_none_or(|day| day < today) {
            self.used.in_day = 0;
        }
        self.used.day = Some(today);
        let millis = now.timestamp_millis();
        for call in &mut self.used.recent {
            *call = millis.min(*call);
        }
        if self.used.not_before > later(now, LONGEST_HOLD).timestamp_millis() {
            self.used.not_before = 0;
        }
        let hour_ago = millis - later(DateTime::UNIX_EPOCH, AN_HOUR + SLACK).timestamp_millis();
        while self
            .used
            .recent
            .front()
            .is_some_and(|call| *call < hour_ago)
        {
            self.used.recent.pop_front();
        }
    }
}

fn is_young(now: DateTime<Utc>) -> bool {
    now.num_seconds_from_midnight() < YOUNG
}

/// The next 00:00 UTC.
pub fn midnight_after(now: DateTime<Utc>) -> DateTime<Utc> {
    let tomorrow = now.date_naive().checked_add_days(Days::new(1));
    tomorrow.map_or(now, |day| day.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests;
