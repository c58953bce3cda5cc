//! The API's limits, kept across runs: no call is made that would break one.
//!
//! The last hour is remembered call by call, so that any second, minute and hour stays within its
//! limit wherever it begins; the day is a count that starts anew at 00:00 UTC, as Catchpoint's.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Timelike, Utc};
use serde::{Deserialize, Serialize};

use super::answer::UsageLimits;
use crate::config::catchpoint::Limits;

/// Our clock and Catchpoint's may tick apart, and calls arrive later than they are sent: each
/// window is taken this much longer.
const SLACK: Duration = Duration::from_millis(250);

/// Longest that a `Retry-After` is obeyed, beyond the run that got it.
const LONGEST_HOLD: Duration = Duration::from_secs(3600);

/// So long after midnight Catchpoint may still be in yesterday.
const YOUNG: u32 = 5 * 60;

/// So long a run may be held up by the calls of an hour ago.
const HELD_UP: Duration = Duration::from_secs(5 * 60);

const HOUR: Duration = Duration::from_secs(3600);

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
    /// The limit that makes it wait.
    pub limit: &'static str,
}

impl Budget {
    /// The stored use against the limits in force.
    pub fn new(limits: Limits, used: Used) -> Self {
        Self { limits, used }
    }

    /// What is to be stored.
    pub fn used(&self) -> &Used {
        &self.used
    }

    /// The earliest time for the next call; none if it may be made now.
    pub fn wait(&mut self, now: DateTime<Utc>) -> Option<Wait> {
        let in_day = (self.left_today(now) == 0).then(|| Wait {
            until: midnight_after(now) + SLACK,
            limit: "per_day",
        });
        let windows = [
            ("per_second", 1, self.limits.per_second),
            ("per_minute", 60, self.limits.per_minute),
            ("per_hour", 3600, self.limits.per_hour),
        ];
        let in_windows = windows.into_iter().filter_map(|(limit, seconds, most)| {
            // The call that must leave the window before another fits.
            let nth = self.used.recent.len().checked_sub(most as usize)?;
            let leaves = DateTime::from_timestamp_millis(*self.used.recent.get(nth)?)?;
            let until = leaves + Duration::from_secs(seconds) + SLACK;
            (until > now).then_some(Wait { until, limit })
        });
        let until = DateTime::from_timestamp_millis(self.used.not_before);
        let held = until.filter(|until| *until > now).map(|until| Wait {
            until,
            limit: "of Retry-After",
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
        self.limits.per_day.saturating_sub(self.used.in_day)
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
        let most = self.limits.per_hour as usize;
        let fits = |needed: usize, begins: DateTime<Utc>| {
            let over = (begins + HELD_UP - HOUR).timestamp_millis();
            let known = recent.len() - recent.partition_point(|call| *call < over);
            known + 1 + needed <= most
        };
        let runs = (0..).map(|nth| (nth, next_run + every * nth));
        recent.len() < most
            && runs
                .take_while(|(_, begins)| *begins < now + HOUR)
                .all(|(nth, begins)| fits((nth as usize + 1) * calls_of_a_run, begins))
    }

    /// Catchpoint asks for no call for so long.
    pub fn hold(&mut self, wait: Duration, now: DateTime<Utc>) {
        let until = (now + wait.min(LONGEST_HOLD)).timestamp_millis();
        self.used.not_before = self.used.not_before.max(until);
    }

    /// Catchpoint says that the day's calls are used up. Returns whether it can mean our day.
    pub fn exhaust_day(&mut self, now: DateTime<Utc>) -> bool {
        self.roll(now);
        let ours = !is_young(now);
        if ours {
            self.used.in_day = self.limits.per_day;
        }
        ours
    }

    /// Catchpoint's own count, which knows of calls that others made with the same key. Zero limits
    /// are what it sends when it does not say.
    pub fn observe(&mut self, usage: &UsageLimits, now: DateTime<Utc>) {
        self.roll(now);
        let UsageLimits { limits, runs } = usage;
        for (own, said) in [
            (&mut self.limits.per_minute, limits.minute),
            (&mut self.limits.per_hour, limits.hour),
            (&mut self.limits.per_day, limits.day),
        ] {
            if said > 0 {
                *own = said.min(*own);
            }
        }
        if !is_young(now) {
            self.used.in_day = self.used.in_day.max(runs.day);
        }
        let (minute, hour) = (self.limits.per_minute, self.limits.per_hour);
        self.remember(now, 1, 60, runs.minute.min(minute));
        self.remember(now, 60, 3600, runs.hour.min(hour));
    }

    /// Catchpoint has counted so many calls in a window of `outer` seconds. Those that are not ours
    /// are taken for as late as they can be without counting in the shorter window of `inner`
    /// seconds, which has a count of its own.
    fn remember(&mut self, now: DateTime<Utc>, inner: u64, outer: u64, calls: u32) {
        let back = |seconds| (now - Duration::from_secs(seconds) - SLACK).timestamp_millis();
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
        if self.used.not_before > (now + LONGEST_HOLD).timestamp_millis() {
            self.used.not_before = 0;
        }
        let hour_ago = (now - HOUR - SLACK).timestamp_millis();
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
