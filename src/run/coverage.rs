//! Which results of a test are in the relay, which are missing, and which are requested again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::catchpoint::query::WINDOW;
use crate::config::catchpoint::{ApiVersion, CatchpointSettings};
use crate::host::Level;
use crate::run::report::Report;
use crate::state::{Key, Store};
use crate::time_range::{Ranges, TimeRange, seconds};

/// A gap of at most so many seconds waits for the next sweep: runs do not begin on the second, so
/// with v1 a few seconds are missing between two windows all the time.
pub const GAP_TOLERANCE: i64 = 120;

/// Most gaps that are kept of a test. LastRaw leaves one each 15 minutes at most, so this is five
/// days of runs that all leave one, which only happens while ranged calls are refused.
const MAX_GAPS: usize = 512;

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
    /// What is missing before `until`.
    gaps: Ranges,
    /// What backfills ask for. It is kept apart from missing time: it may lie anywhere in the past,
    /// and it does not age out.
    #[serde(default)]
    requested: Ranges,
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
            gaps: Ranges::default(),
            requested: Ranges::default(),
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

    /// What is missing before `until`.
    pub fn gaps(&self) -> &Ranges {
        &self.gaps
    }

    /// What backfills ask for.
    pub fn requested(&self) -> &Ranges {
        &self.requested
    }

    /// The first missing second at or after `time`; `until` if there is no gap.
    pub fn first_missing(&self, time: i64) -> i64 {
        let gap = self.gaps.iter().find(|gap| gap.to > time);
        gap.map_or(self.until, |gap| gap.from).max(time)
    }

    /// How many seconds the longest gap has.
    pub fn longest_gap(&self) -> i64 {
        let lengths = self.gaps.iter().map(TimeRange::seconds);
        lengths.max().unwrap_or(0)
    }

    /// Records that all results of a range are in the relay.
    ///
    /// To join two gaps would count the time between them as missing, which was fetched. So when
    /// there are too many, the shortest is given up, and said to be.
    pub fn cover(&mut self, range: TimeRange) -> Covered {
        if range.from >= range.to {
            return Covered::default();
        }
        let filled = self.gaps.remove(range);
        self.requested.remove(range);
        let new = TimeRange {
            from: self.until,
            to: range.from,
        };
        self.gaps.add(new);
        self.until = self.until.max(range.to);
        Covered {
            found: new.seconds(),
            filled,
            given_up: self.gaps.remove_shortest(MAX_GAPS),
        }
    }

    /// Records that a range was fetched at `now`, when results arrive at most `overlap` seconds
    /// late.
    pub fn settle(&mut self, range: TimeRange, now: i64, overlap: i64) {
        if range.from <= self.settled {
            self.settled = self.settled.max(range.to.min(now - overlap));
        }
    }

    /// Gives up what is missing before a time. What is requested stays. Returns how many seconds are
    /// lost.
    pub fn give_up_before(&mut self, time: i64) -> i64 {
        let old = TimeRange {
            to: time,
            ..TimeRange::ALL
        };
        let lost = self.gaps.remove(old) + (time - self.until).max(0);
        self.until = self.until.max(time);
        self.settled = self.settled.max(time);
        lost
    }

    /// Requests a range again, whether it was fetched or not.
    pub fn request(&mut self, range: TimeRange) {
        self.requested.add(range);
    }

    /// Withdraws what is requested in a range.
    pub fn cancel(&mut self, range: TimeRange) {
        self.requested.remove(range);
    }

    /// A requested range was asked for, and the answer covers another range. What it leaves out at
    /// its beginning or end is asked for again.
    pub fn answer_requested(&mut self, asked: TimeRange, covered: TimeRange) {
        let Some(mut answered) = asked.intersection(covered) else {
            return;
        };
        if answered.from <= asked.from + GAP_TOLERANCE {
            answered.from = asked.from;
        }
        if answered.to + ROUNDING >= asked.to {
            answered.to = asked.to;
        }
        self.cancel(answered);
    }
}

/// Reads the coverage of all tests. Each configured test has one then.
pub fn load(store: &Store<'_>, settings: &CatchpointSettings, report: &mut Report) -> Coverages {
    let now = report.started.timestamp();
    let oldest = now - seconds(settings.max_backfill);
    let mut begin = match settings.version {
        // LastRaw brings what lies before as well. Half the tolerance is for a clock that is ahead.
        ApiVersion::V1 => now - GAP_TOLERANCE / 2,
        _ => now - WINDOW,
    };
    let found = store.find(Key::Coverage).unwrap_or_else(|error| {
        begin = oldest;
        let then = "everything back to max_backfill_hours is fetched again";
        store.report_damaged(Level::Error, Key::Coverage, &error, then);
        None
    });
    let mut coverages: Coverages = found.unwrap_or_default();
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
            "it was ahead of the clock, so the clock was wrong",
            "nothing is lost: everything back to max_backfill_hours is fetched again; set the clock by NTP",
        );
    }
    for test in configured {
        let new = || Coverage::starting(begin);
        coverages.entry(test).or_insert_with(new);
    }
    coverages
}

#[cfg(test)]
mod tests;
