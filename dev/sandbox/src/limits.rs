//! The API's limits of calls: a second, a minute, an hour and a day.
//!
//! How the vendor counts is not documented, but that the day starts at 00:00 UTC. The other windows
//! slide here, which is the strictest reading: whoever stays inside it stays inside any other. One
//! sandbox is one API consumer: calls of v1 and v2, token calls and calls with bad credentials all
//! count. A call that is refused here is recorded, but does not use the quota up.

use std::collections::VecDeque;
use std::sync::Mutex;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

use crate::lock;

/// So many calls in each window: the most that are let through, or the most that ever came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// In any second. API v2 does not tell it.
    #[serde(skip)]
    pub second: u32,
    /// In any minute.
    pub minute: u32,
    /// In any hour.
    pub hour: u32,
    /// From 00:00 UTC to 00:00 UTC.
    pub day: u32,
}

impl Default for Limits {
    /// The vendor's defaults for a consumer.
    fn default() -> Self {
        Self {
            second: 7,
            minute: 20,
            hour: 500,
            day: 2000,
        }
    }
}

const DAY: TimeDelta = TimeDelta::days(1);
/// How long each window is, and how the API abbreviates it.
const WINDOWS: [(TimeDelta, &str); 4] = [
    (TimeDelta::seconds(1), "1s"),
    (TimeDelta::minutes(1), "1m"),
    (TimeDelta::hours(1), "1h"),
    (DAY, "1d"),
];

impl Limits {
    /// By window, in the order of [`WINDOWS`].
    pub(crate) fn of([second, minute, hour, day]: [u32; 4]) -> Self {
        Self {
            second,
            minute,
            hour,
            day,
        }
    }

    fn by_window(&self) -> [u32; 4] {
        [self.second, self.minute, self.hour, self.day]
    }

    /// Whether any window has more calls than `limits` let through.
    pub fn exceeds(&self, limits: &Self) -> bool {
        let mut windows = self.by_window().into_iter().zip(limits.by_window());
        windows.any(|(calls, limit)| calls > limit)
    }
}

/// A limit that a call ran into.
pub(crate) struct Exceeded {
    /// The window, as the API abbreviates it.
    pub window: &'static str,
    /// The API's words for it, the same for each window: "quota" alone does not mean the day.
    pub message: String,
    /// Whole seconds until there is room again, at least one.
    pub retry_after: u64,
}

/// Counts calls, and refuses them if it has limits.
pub(crate) struct Gate {
    pub limits: Option<Limits>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    arrived: Times,
    admitted: Times,
    /// By window, the most that ever arrived.
    peak: [u32; 4],
}

impl Gate {
    pub fn new(limits: Option<Limits>) -> Self {
        Self {
            limits,
            state: Mutex::default(),
        }
    }

    /// One call arrives.
    pub fn arrive(&self, now: DateTime<Utc>) -> Result<(), Exceeded> {
        let mut state = lock(&self.state);
        state.arrived.add(now);
        let counts = state.arrived.counts(now);
        for (peak, count) in state.peak.iter_mut().zip(counts) {
            *peak = count.max(*peak);
        }
        if let Some(limits) = &self.limits
            && let Some(exceeded) = state.admitted.full(now, limits)
        {
            return Err(exceeded);
        }
        state.admitted.add(now);
        Ok(())
    }

    /// The calls that were let through and still count.
    pub fn usage(&self, now: DateTime<Utc>) -> Limits {
        Limits::of(lock(&self.state).admitted.counts(now))
    }

    /// The most that ever arrived, those that were refused with a status among them.
    pub fn peak(&self) -> Limits {
        Limits::of(lock(&self.state).peak)
    }
}

/// When the calls of the last day came.
#[derive(Default)]
struct Times(VecDeque<DateTime<Utc>>);

impl Times {
    fn add(&mut self, now: DateTime<Utc>) {
        while self.0.front().is_some_and(|time| now - time >= DAY) {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// By window.
    fn counts(&self, now: DateTime<Utc>) -> [u32; 4] {
        WINDOWS.map(|(length, _)| {
            let left = |time: &DateTime<Utc>| match length {
                DAY => time.date_naive() < now.date_naive(),
                _ => now - time >= length,
            };
            let inside = self.0.len() - self.0.partition_point(left);
            u32::try_from(inside).unwrap_or(u32::MAX)
        })
    }

    /// The limit that has no room for one more call, the one that takes longest to get room.
    fn full(&self, now: DateTime<Utc>, limits: &Limits) -> Option<Exceeded> {
        let limits = self.counts(now).into_iter().zip(limits.by_window());
        let mut windows = WINDOWS.into_iter().zip(limits).rev();
        let is_full = |(_, (count, limit)): &(_, (u32, u32))| count >= limit;
        let ((length, window), (_, limit)) = windows.find(is_full)?;
        let age = match length {
            DAY => now.time() - NaiveTime::MIN,
            _ => {
                // Room comes when the call that is `limit` calls back leaves the window.
                let back = self.0.len().checked_sub(limit as usize);
                let leaves = back.and_then(|back| self.0.get(back));
                leaves.map_or(TimeDelta::zero(), |time| now - time)
            }
        };
        let millis = (length - age).num_milliseconds().cast_unsigned();
        Some(Exceeded {
            window,
            message: format!("API calls quota exceeded! maximum admitted {limit} per {window}."),
            retry_after: millis.div_ceil(1000).max(1),
        })
    }
}
