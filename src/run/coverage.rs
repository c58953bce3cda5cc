//! Which results of a test are in the relay, which are missing, and which are requested again.

mod deltas;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::catchpoint::query::WINDOW;
use crate::config::catchpoint::{ApiVersion, CatchpointSettings};
use crate::host::Level;
use crate::run::report::Report;
use crate::state::{Key, Lease};
use crate::time_range::{TimeRange, seconds};

/// A gap of at most so many seconds waits for the next sweep: runs do not begin on the second, so
/// with v1 a few seconds are missing between two windows all the time.
pub const GAP_TOLERANCE: i64 = 120;

/// Most gaps that are kept of a test. LastRaw leaves one each 15 minutes at most, so this is five
/// days of runs that all leave one, which only happens while ranged calls are refused.
const MAX_GAPS: usize = 512;

/// A requested gap of a test is dropped after Catchpoint refused it so many times, alone.
const MAX_REFUSALS: u8 = 3;

/// After a refusal, a requested gap waits so many seconds.
const REFUSED_FOR: i64 = 15 * 60;

/// An answer's own end may be so many seconds before the end that was asked for.
const ROUNDING: i64 = 1;

/// The coverage of all tests, by test id.
pub type Coverages = BTreeMap<u64, Coverage>;

/// What is in the relay of one test: everything before `until`, except the gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    until: i64,
    /// Results before this were fetched so late that no more of them can arrive.
    settled: i64,
    /// Missing ranges before `until`, oldest first, disjoint.
    #[serde(with = "deltas")]
    gaps: Vec<TimeRange>,
    /// Ranges that a backfill asks for, oldest first, disjoint. They are kept apart from missing
    /// time: they may lie anywhere in the past, and they do not age out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requested: Vec<RequestedGap>,
}

/// A range that a backfill asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct RequestedGap {
    #[serde(flatten)]
    range: TimeRange,
    /// How many times Catchpoint has refused it, asked for alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
}

/// How often a requested gap was refused, and when it was last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Refused {
    times: u8,
    at: i64,
}

/// What changed when an answer was recorded, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Covered {
    /// Newly missing: between what was covered before and the answer's beginning.
    pub found: i64,
    /// No longer missing.
    pub filled: i64,
    /// Given up, because there are more gaps than are kept.
    pub given_up: i64,
}

impl Coverage {
    /// Coverage that begins at a time; nothing before it counts as missing.
    pub fn starting(at: i64) -> Self {
        Self {
            until: at,
            settled: at,
            gaps: Vec::new(),
            requested: Vec::new(),
        }
    }

    /// The first second after everything that was fetched.
    pub fn until(&self) -> i64 {
        self.until
    }

    /// No result before this second can still arrive late.
    pub fn settled(&self) -> i64 {
        self.settled
    }

    /// The first missing second at or after `time`; `until` if there is no gap.
    pub fn first_missing_after(&self, time: i64) -> i64 {
        let gap = self.gaps.iter().find(|gap| gap.to > time);
        gap.map_or(self.until, |gap| gap.from).max(time)
    }

    /// The first missing second; `until` if there is no gap.
    pub fn first_missing(&self) -> i64 {
        self.gaps.first().map_or(self.until, |gap| gap.from)
    }

    /// The end of the last missing second before `time`; the first missing one if there is no gap.
    pub fn last_missing_before(&self, time: i64) -> i64 {
        let mut gaps = self.gaps.iter().rev();
        let last = gaps.find(|gap| gap.from < time);
        last.map_or(self.first_missing(), |gap| gap.to.min(time))
    }

    /// How many seconds are missing before `until`.
    pub fn missing(&self) -> i64 {
        self.gaps.iter().map(|gap| gap.seconds()).sum()
    }

    /// How many seconds the longest gap has.
    pub fn longest_gap(&self) -> i64 {
        let longest = self.gaps.iter().map(|gap| gap.seconds()).max();
        longest.unwrap_or(0)
    }

    /// Records that all results of a range are in the relay.
    pub fn cover(&mut self, range: TimeRange) -> Covered {
        if range.from >= range.to {
            return Covered::default();
        }
        let before = self.missing();
        self.gaps = subtract(&self.gaps, range);
        let filled = before - self.missing();
        self.cancel(range);
        let found = (range.from - self.until).max(0);
        if found > 0 {
            self.gaps.push(TimeRange {
                from: self.until,
                to: range.from,
            });
        }
        self.until = self.until.max(range.to);
        Covered {
            found,
            filled,
            given_up: self.drop_shortest(),
        }
    }

    /// Keeps at most [`MAX_GAPS`] gaps. To join two of them would count the time between them as
    /// missing, which was fetched; so the shortest is given up, and said to be.
    fn drop_shortest(&mut self) -> i64 {
        let mut given_up = 0;
        while self.gaps.len() > MAX_GAPS {
            let lengths = self.gaps.iter().map(|gap| gap.seconds()).enumerate();
            let Some((shortest, seconds)) = lengths.min_by_key(|(_, seconds)| *seconds) else {
                break;
            };
            self.gaps.remove(shortest);
            given_up += seconds;
        }
        given_up
    }

    /// Records that a range was fetched at `now`, when results arrive at most `overlap` seconds
    /// late.
    pub fn settle(&mut self, range: TimeRange, now: i64, overlap: i64) {
        if range.from <= self.settled {
            self.settled = self.settled.max(range.to.min(now - overlap));
        }
    }

    /// Gives up what is missing before a time. Requested gaps stay. Returns how many seconds are
    /// lost.
    pub fn give_up_before(&mut self, time: i64) -> i64 {
        let before = self.missing();
        self.gaps = subtract(
            &self.gaps,
            TimeRange {
                from: i64::MIN,
                to: time,
            },
        );
        let lost = before - self.missing() + (time - self.until).max(0);
        self.until = self.until.max(time);
        self.settled = self.settled.max(time);
        lost
    }

    /// Requests a range again, whether it was fetched or not.
    pub fn request(&mut self, range: TimeRange) {
        self.cancel(range);
        if range.from < range.to {
            self.requested.push(RequestedGap {
                range,
                refused: None,
            });
            self.requested.sort_by_key(|gap| gap.range);
        }
    }

    /// Withdraws requests, or the part of it that lies in a range.
    pub fn cancel(&mut self, range: TimeRange) {
        let gaps = self.requested.iter();
        self.requested = gaps
            .flat_map(|gap| {
                let rest = gap.range.without(range);
                rest.map(|range| RequestedGap { range, ..*gap })
            })
            .collect();
    }

    /// The oldest requested gap, those that were refused last, and how often it was refused.
    pub fn next_requested(&self, now: i64) -> Option<(TimeRange, u8)> {
        let waits = |gap: &RequestedGap| {
            gap.refused
                .is_some_and(|refused| (0..REFUSED_FOR).contains(&(now - refused.at)))
        };
        let times = |gap: &RequestedGap| gap.refused.map_or(0, |refused| refused.times);
        let ready = self.requested.iter().filter(|gap| !waits(gap));
        let next = ready.min_by_key(|gap| times(gap));
        next.map(|gap| (gap.range, times(gap)))
    }

    /// How many requested seconds of a range are still to be fetched.
    pub fn requested_in(&self, range: TimeRange) -> i64 {
        let shared = self.requested.iter();
        let shared = shared.filter_map(|gap| gap.range.intersection(range));
        shared.map(TimeRange::seconds).sum()
    }

    /// The first requested second of a range that is still to be fetched.
    pub fn first_requested_in(&self, range: TimeRange) -> Option<i64> {
        let mut shared = self.requested.iter();
        shared.find_map(|gap| Some(gap.range.intersection(range)?.from))
    }

    /// A range of a requested gap was asked for, and the answer covers another range. What it leaves
    /// out at its beginning or end is asked for again. Returns whether it covers any of it.
    pub fn answer_requested(&mut self, asked: TimeRange, covered: TimeRange) -> bool {
        let Some(mut answered) = asked.intersection(covered) else {
            return false;
        };
        if answered.from <= asked.from + GAP_TOLERANCE {
            answered.from = asked.from;
        }
        if answered.to + ROUNDING >= asked.to {
            answered.to = asked.to;
        }
        self.cancel(answered);
        true
    }

    /// Catchpoint refused a requested range at `now`, asked for alone. Returns whether that was once
    /// too often, which drops it.
    pub fn refuse_requested(&mut self, asked: TimeRange, now: i64) -> bool {
        let mut dropped = false;
        self.requested.retain_mut(|gap| {
            let mut times = gap.refused.map_or(0, |refused| refused.times);
            if gap.range.intersection(asked).is_some() {
                times += 1;
                gap.refused = Some(Refused { times, at: now });
            }
            dropped |= times >= MAX_REFUSALS;
            times < MAX_REFUSALS
        });
        dropped
    }
}

fn subtract(gaps: &[TimeRange], range: TimeRange) -> Vec<TimeRange> {
    gaps.iter().flat_map(|gap| gap.without(range)).collect()
}

/// Reads the coverage of all tests. Afterwards each configured test has one. Returns whether some of
/// it is new and must be stored, so that what is not fetched from now on counts as missing, whatever
/// becomes of the run.
pub fn load(
    lease: &Lease<'_>,
    settings: &CatchpointSettings,
    report: &mut Report,
) -> (Coverages, bool) {
    let now = report.started.timestamp();
    let oldest = now - seconds(settings.max_backfill);
    let mut begin = match settings.version {
        // LastRaw brings what lies before as well. Half the tolerance is for a clock that is ahead.
        ApiVersion::V1 => now - GAP_TOLERANCE / 2,
        _ => now - WINDOW,
    };
    let mut coverages: Coverages = match lease.store().find(Key::Coverage) {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            begin = oldest;
            let then = "everything back to max_backfill_hours is fetched again";
            lease
                .store()
                .report_damaged(Level::Error, Key::Coverage, &error, then);
            Coverages::new()
        }
    };
    let configured: BTreeSet<u64> = settings.test_ids().collect();
    // Another configuration, or a former one, may go on with the others.
    coverages.retain(|test, coverage| configured.contains(test) || coverage.until > oldest);
    let mut ahead = Vec::new();
    for (test, coverage) in &mut coverages {
        if coverage.until > now + GAP_TOLERANCE {
            *coverage = Coverage {
                requested: std::mem::take(&mut coverage.requested),
                ..Coverage::starting(oldest)
            };
            ahead.push(*test);
        }
    }
    if !ahead.is_empty() {
        report.fail(
            "coverage",
            &ahead,
            "it was ahead of the clock, so the clock was wrong".to_owned(),
            "nothing is lost: everything back to max_backfill_hours is fetched again; set the clock by NTP",
        );
    }
    let known = coverages.len();
    for test in configured {
        let new = || Coverage::starting(begin);
        coverages.entry(test).or_insert_with(new);
    }
    let changed = coverages.len() > known || !ahead.is_empty();
    (coverages, changed)
}

#[cfg(test)]
mod tests;
