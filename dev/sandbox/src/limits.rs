//! The API's limits of calls: a second, a minute, an hour and a day.
//!
//! How the vendor counts is not documented, but that the day starts at 00:00 UTC. The other windows
//! slide here, which is the strictest reading: whoever stays inside it stays inside any other. One
//! sandbox is one API consumer: calls of v1 and v2, token calls and calls with bad credentials all
//! count. A call that is refused here is recorded, but does not use the quota up.

use std::collections::VecDeque;
use std::sync::Mutex;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::lock;

/// The most calls in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In any second.
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

/// The most calls that ever arrived in each window, those that were refused with a status among
/// them. A refused connection never arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// In a second.
    pub second: u32,
    /// In a minute.
    pub minute: u32,
    /// In an hour.
    pub hour: u32,
    /// In a day that starts at 00:00 UTC.
    pub day: u32,
}

impl Peak {
    /// Whether any window ever held more calls than allowed.
    pub fn exceeds(&self, limits: &Limits) -> bool {
        self.second > limits.second
            || self.minute > limits.minute
            || self.hour > limits.hour
            || self.day > limits.day
    }
}

/// Calls that were let through, this one included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub minute: u32,
    pub hour: u32,
    pub day: u32,
}

/// A limit that a call ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub window: Window,
    /// The most calls in it.
    pub limit: u32,
    /// Whole seconds until there is room again, at least one.
    pub retry_after: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Second,
    Minute,
    Hour,
    Day,
}

impl Window {
    /// As the API abbreviates it.
    fn short(self) -> &'static str {
        match self {
            Self::Second => "1s",
            Self::Minute => "1m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }
}

impl Exceeded {
    /// The API's words for it, the same for each window: "quota" alone does not mean the day.
    pub fn message(&self) -> String {
        let (limit, window) = (self.limit, self.window.short());
        format!("API calls quota exceeded! maximum admitted {limit} per {window}.")
    }

    /// The value of X-Rate-Limit-Limit.
    pub fn period(&self) -> &'static str {
        self.window.short()
    }
}

/// Counts calls, and refuses them if it has limits.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Option<Limits>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    arrived: Counter,
    admitted: Counter,
    peak: Peak,
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
        let State {
            arrived,
            admitted,
            peak,
        } = &mut *state;
        arrived.add(now);
        peak.second = peak.second.max(arrived.within(now, SECOND));
        peak.minute = peak.minute.max(arrived.within(now, MINUTE));
        peak.hour = peak.hour.max(arrived.within(now, HOUR));
        peak.day = peak.day.max(arrived.today(now));
        if let Some(exceeded) = self.limits.and_then(|limits| admitted.full(now, &limits)) {
            return Err(exceeded);
        }
        admitted.add(now);
        Ok(())
    }

    pub fn limits(&self) -> Usage {
        self.limits.map_or(Usage::default(), |limits| Usage {
            minute: limits.minute,
            hour: limits.hour,
            day: limits.day,
        })
    }

    pub fn usage(&self, now: DateTime<Utc>) -> Usage {
        let admitted = &lock(&self.state).admitted;
        Usage {
            minute: admitted.within(now, MINUTE),
            hour: admitted.within(now, HOUR),
            day: admitted.today(now),
        }
    }

    pub fn peak(&self) -> Peak {
        lock(&self.state).peak
    }
}

const SECOND: TimeDelta = TimeDelta::seconds(1);
const MINUTE: TimeDelta = TimeDelta::minutes(1);
const HOUR: TimeDelta = TimeDelta::hours(1);

/// The times of the last hour's calls, and how many there were today.
#[derive(Debug, Default)]
struct Counter {
    recent: VecDeque<DateTime<Utc>>,
    date: NaiveDate,
    today: u32,
}

impl Counter {
    fn add(&mut self, now: DateTime<Utc>) {
        while self.recent.front().is_some_and(|time| now - time >= HOUR) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.today = self.today(now).saturating_add(1);
        self.date = now.date_naive();
    }

    /// Calls in the time `window` that ends now.
    fn within(&self, now: DateTime<Utc>, window: TimeDelta) -> u32 {
        let inside = self.recent.len() - self.recent.partition_point(|time| now - time >= window);
        u32::try_from(inside).unwrap_or(u32::MAX)
    }

    fn today(&self, now: DateTime<Utc>) -> u32 {
        if self.date == now.date_naive() {
            self.today
        } else {
            0
        }
    }

    /// The limit that has no room for one more call, the one that takes longest to get room.
    fn full(&self, now: DateTime<Utc>, limits: &Limits) -> Option<Exceeded> {
        let exceeded = |window, limit, left: TimeDelta| Exceeded {
            window,
            limit,
            retry_after: u64::try_from(left.num_milliseconds())
                .unwrap_or(0)
                .div_ceil(1000)
                .max(1),
        };
        if self.today(now) >= limits.day {
            let midnight = now.date_naive().and_time(Default::default()).and_utc();
            let left = TimeDelta::days(1) - (now - midnight);
            return Some(exceeded(Window::Day, limits.day, left));
        }
        let windows = [
            (Window::Hour, HOUR, limits.hour),
            (Window::Minute, MINUTE, limits.minute),
            (Window::Second, SECOND, limits.second),
        ];
        let full = |&(_, length, limit): &_| self.within(now, length) >= limit;
        windows
            .into_iter()
            .find(full)
            .map(|(window, length, limit)| {
                // Room comes when the call that is `limit` calls back leaves the window.
                let back = self.recent.len().checked_sub(limit as usize);
                let leaves = back.and_then(|back| self.recent.get(back));
                let age = leaves.map_or(TimeDelta::zero(), |time| now - time);
                exceeded(window, limit, length - age)
            })
    }
}
