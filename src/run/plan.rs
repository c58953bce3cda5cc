//! Which calls a run makes, and in which order. Pure: it does no I/O.
//!
//! Regular calls bring what is new. API v1's LastRaw always brings the last 15 minutes; later APIs
//! take a range, so their regular call also brings late results and the gaps of the last hours. What
//! lies further back is fetched by calls for past time: first ordinary gaps, then requested ones.
//! With v1 such a call is worth it only when a window is missing, or when the short gaps between
//! windows and late results have waited for long.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catchpoint::query::{Query, WINDOW};
use crate::config::catchpoint::{ApiVersion, CatchpointSettings, TestGroup};
use crate::run::call::{PlannedCall, Purpose};
use crate::run::coverage::{Coverage, Coverages, GAP_TOLERANCE};
use crate::run::exclusions::{Exclusions, REFUSED_ALL, REFUSED_FOR};
use crate::time_range::{TimeRange, seconds};

/// v1: gaps are swept so many seconds before they age out, but not before half the time is over.
const SWEEP_EARLY: i64 = 4 * 3600;

/// v1: the longest range of a call for past time, in seconds.
const RANGED_SECONDS: i64 = 48 * 3600;

/// v1: gaps are swept after so many seconds at the latest, so that one call brings them all.
const LONGEST_SWEEP: i64 = RANGED_SECONDS - SWEEP_EARLY;

/// Other versions: the longest range of any call, in seconds.
const EXPLORER_SECONDS: i64 = 6 * 3600;

/// What calls are planned from.
#[derive(Clone, Copy)]
pub struct Plan<'p> {
    /// The configuration.
    pub settings: &'p CatchpointSettings,
    /// Which results are in the relay.
    pub coverages: &'p Coverages,
    /// What was learned from refused calls.
    pub exclusions: &'p Exclusions,
    /// The time, in epoch seconds.
    pub now: i64,
}

/// One test that a call for past time is wanted for.
struct Wanted {
    test: u64,
    range: TimeRange,
    /// It goes with no other test.
    alone: bool,
    /// How many times it was refused.
    refusals: u8,
}

impl Plan<'_> {
    /// The calls for what is new: those first that have waited longest, and those last that failed.
    pub fn regular(self) -> Vec<PlannedCall> {
        let most = self.max_tests(Purpose::Regular);
        let mut calls = Vec::new();
        for group in &self.settings.tests {
            let (alone, mut together) = self.exclusions.split(&group.ids, self.now);
            if !is_v1(self.settings) {
                // Tests that miss the same range share a call, so that none is fetched far back
                // because of another.
                together.sort_by_key(|test| self.regular_from(*test));
            }
            let batches = together.chunks(most).chain(alone.chunks(1));
            calls.extend(batches.map(|tests| PlannedCall {
                test_type: group.test_type.clone(),
                purpose: Purpose::Regular,
                query: self.regular_query(tests),
            }));
        }
        calls.sort_by_key(|call| {
            let until = |test| self.coverages.get(test).map(Coverage::until);
            let waits_since = call.query.tests().iter().map(until).min();
            (self.has_failed(call), waits_since)
        });
        calls
    }

    /// The next call for missing time, the oldest first; none for tests in `skip`.
    pub fn next_gap(self, skip: &BTreeSet<u64>) -> Option<PlannedCall> {
        self.next_past(Purpose::Gap, |test| {
            let coverage = self.coverages.get(&test)?;
            let refused = self.exclusions.is_refused(test)
                || self
                    .exclusions
                    .refused(test, Purpose::Gap, self.now)
                    .is_some();
            let range = self.gap_range(coverage).filter(|_| !refused)?;
            (!skip.contains(&test)).then_some((range, 0))
        })
    }

    /// The next call for requested time, the oldest first; none for tests in `skip`.
    pub fn next_requested(self, skip: &BTreeSet<u64>) -> Option<PlannedCall> {
        self.next_past(Purpose::Requested, |test| {
            let requested = self.coverages.get(&test)?.next_requested(self.now);
            requested.filter(|_| !skip.contains(&test))
        })
    }

    fn next_past(
        self,
        purpose: Purpose,
        wanted: impl Fn(u64) -> Option<(TimeRange, u8)>,
    ) -> Option<PlannedCall> {
        if self.exclusions.refused_past(self.now).is_some() {
            return None;
        }
        let groups = self.settings.tests.iter();
        let calls = groups.flat_map(|group| self.past_calls(group, purpose, &wanted));
        let first = calls
            .min_by_key(|(call, range, refusals)| (*refusals, self.has_failed(call), range.from));
        first.map(|(call, ..)| call)
    }

    /// A call for the oldest time of each kind of test in a group.
    fn past_calls(
        self,
        group: &TestGroup,
        purpose: Purpose,
        wanted: impl Fn(u64) -> Option<(TimeRange, u8)>,
    ) -> Vec<(PlannedCall, TimeRange, u8)> {
        let tests = group.ids.iter().filter_map(|test| {
            let (range, refusals) = wanted(*test)?;
            let alone = refusals > 0 || self.exclusions.is_alone(*test, purpose, self.now);
            Some(Wanted {
                test: *test,
                range,
                alone,
                refusals,
            })
        });
        let (alone, mut together): (Vec<Wanted>, Vec<Wanted>) = tests.partition(|one| one.alone);
        together.sort_by_key(|one| one.range.from);
        let single = is_v1(self.settings) && !self.exclusions.allows_past_batches(self.now);
        let most = if single { 1 } else { self.max_tests(purpose) };
        // Only tests that want the same time share a call.
        let oldest = together.first().map(|one| one.range.from);
        let shared = together.iter();
        let shared: Vec<&Wanted> = shared
            .filter(|one| oldest.is_some_and(|oldest| one.range.from - oldest <= GAP_TOLERANCE))
            .collect();
        let parts = shared.chunks(most).map(<[_]>::to_vec);
        let alone = alone.iter().map(|one| vec![one]);
        let calls = parts.chain(alone).filter_map(|part| {
            let from = part.iter().map(|one| one.range.from).min()?;
            let to = part.iter().map(|one| one.range.to).max()?;
            let range = TimeRange {
                from,
                to: to.min(from + self.max_seconds(purpose)),
            };
            let tests = part.iter().map(|one| one.test).collect();
            let refusals = part.iter().map(|one| one.refusals).max()?;
            let call = PlannedCall {
                test_type: group.test_type.clone(),
                purpose,
                query: self.past_query(tests, range),
            };
            Some((call, range, refusals))
        });
        calls.collect()
    }

    /// What a call for the missing time of a test asks for, if one is worth it.
    fn gap_range(self, coverage: &Coverage) -> Option<TimeRange> {
        if !is_v1(self.settings) {
            // The regular call brings everything but what lies further back.
            if coverage.missing() == 0 {
                return None;
            }
            let first = coverage.first_missing();
            // A call that is shorter than the overlap would end before the gap.
            let overlap = self.overlap().min(self.max_seconds(Purpose::Gap) / 2);
            let range = TimeRange {
                from: first - overlap,
                to: coverage.last_missing_before(first + EXPLORER_SECONDS),
            };
            return (range.from < range.to).then_some(range);
        }
        let unsettled = if self.settings.overlap.is_zero() {
            coverage.until()
        } else {
            coverage.settled()
        };
        let range = TimeRange {
            from: coverage.first_missing().min(unsettled),
            to: coverage.until(),
        };
        // One long gap is a missed window. Many short ones are not, however long together.
        let worth_it = coverage.longest_gap() > GAP_TOLERANCE
            || range.from < self.now - sweep_every(self.settings);
        (worth_it && range.from < range.to).then_some(range)
    }

    fn regular_query(self, tests: &[u64]) -> Query {
        if is_v1(self.settings) {
            return Query::LastRaw(tests.to_vec());
        }
        let from = tests.iter().map(|test| self.regular_from(*test)).min();
        let range = TimeRange {
            from: from.unwrap_or(self.now - WINDOW),
            to: self.now,
        };
        Query::Explorer(tests.to_vec(), range)
    }

    /// Where the regular call for a test begins: at what is missing, but not too far back, so that
    /// the newest results come first after a long outage.
    fn regular_from(self, test: u64) -> i64 {
        let oldest = (self.now - self.max_seconds(Purpose::Regular)).max(self.oldest());
        let missing = match self.coverages.get(&test) {
            Some(coverage) => coverage.first_missing_after(oldest),
            None => self.now - WINDOW,
        };
        (missing - self.overlap()).max(oldest).min(self.now)
    }

    fn past_query(self, tests: Vec<u64>, range: TimeRange) -> Query {
        if is_v1(self.settings) {
            Query::Ranged(tests, range)
        } else {
            Query::Explorer(tests, range)
        }
    }

    fn has_failed(self, call: &PlannedCall) -> bool {
        self.exclusions.has_failed(&call.query, call.purpose)
    }

    fn overlap(self) -> i64 {
        seconds(self.settings.overlap)
    }

    fn oldest(self) -> i64 {
        self.now - seconds(self.settings.max_backfill)
    }

    fn max_tests(self, purpose: Purpose) -> usize {
        let fitted = self.exclusions.call_size(purpose, self.now).tests;
        fitted
            .map_or(self.settings.batch_size, |tests| {
                tests.min(self.settings.batch_size)
            })
            .max(1)
    }

    fn max_seconds(self, purpose: Purpose) -> i64 {
        let longest = if is_v1(self.settings) {
            RANGED_SECONDS
        } else {
            EXPLORER_SECONDS
        };
        let fitted = self.exclusions.call_size(purpose, self.now).seconds;
        fitted
            .map_or(longest, |seconds| seconds.min(longest))
            .max(1)
    }
}

/// What is missing before this second at the start of a run, an earlier run has missed.
pub fn expected_through(settings: &CatchpointSettings, started: i64) -> i64 {
    let window = if is_v1(settings) {
        WINDOW
    } else {
        seconds(settings.run_every).max(WINDOW)
    };
    started - window
}

/// When the run after `now` is due, if the last one began at `last`. Schedules may have any offset.
pub fn next_run(
    settings: &CatchpointSettings,
    last: DateTime<Utc>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let every = seconds(settings.run_every).max(1);
    let since = (now - last).num_seconds().max(0);
    let next = (since / every + 1).saturating_mul(every);
    last.checked_add_signed(TimeDelta::seconds(next))
        .unwrap_or(now)
}

/// The calls that a configuration takes, when no run is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// In one run, the token included. With more time between two runs than LastRaw's window is long,
    /// v1 has a gap of each test to fill.
    pub per_run: u64,
    /// v1: in a day, to sweep the short gaps between windows, beside those of each run.
    pub sweeps_per_day: u64,
}

/// The calls that a configuration takes, with what was learned from refused calls.
pub fn announce(settings: &CatchpointSettings, exclusions: &Exclusions, now: i64) -> Announced {
    let past = if exclusions.past_batches_work(now) {
        batches(settings)
    } else {
        settings.test_ids().count() as u64
    };
    let per_day = |every: i64| u64::try_from(24 * 3600 / every.max(1)).unwrap_or(1);
    let (gaps, sweeps_per_day) = if exclusions.refused_past(now).is_some() {
        // They are tried again from time to time.
        (0, REFUSED_ALL as u64 * per_day(REFUSED_FOR))
    } else if leaves_gaps(settings) {
        (past, 0)
    } else if is_v1(settings) {
        let every = u64::try_from(sweep_every(settings))
            .unwrap_or(u64::MAX)
            .max(1);
        (0, (past * 24 * 3600).div_ceil(every))
    } else {
        (0, 0)
    };
    Announced {
        per_run: batches(settings) + u64::from(is_v1(settings)) + gaps,
        sweeps_per_day,
    }
}

/// How many calls one run makes, as far as nothing was learned.
pub fn calls_per_run(settings: &CatchpointSettings) -> u64 {
    announce(settings, &Exclusions::default(), 0).per_run
}

/// How many calls a day sweep the short gaps between windows, as far as nothing was learned.
pub fn sweeps_per_day(settings: &CatchpointSettings) -> u64 {
    announce(settings, &Exclusions::default(), 0).sweeps_per_day
}

fn batches(settings: &CatchpointSettings) -> u64 {
    let groups = settings.tests.iter();
    let batches = groups.map(|group| group.ids.len().div_ceil(settings.batch_size.max(1)));
    batches.sum::<usize>() as u64
}

/// v1: after so many seconds the short gaps of a test are swept.
fn sweep_every(settings: &CatchpointSettings) -> i64 {
    let max_backfill = seconds(settings.max_backfill);
    (max_backfill - SWEEP_EARLY)
        .max(max_backfill / 2)
        .min(LONGEST_SWEEP)
}

fn is_v1(settings: &CatchpointSettings) -> bool {
    settings.version == ApiVersion::V1
}

fn leaves_gaps(settings: &CatchpointSettings) -> bool {
    is_v1(settings) && seconds(settings.run_every) > WINDOW + GAP_TOLERANCE
}

#[cfg(test)]
mod tests;
