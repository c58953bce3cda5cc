//! Which calls a run makes, and in which order. Pure: it does no I/O.
//!
//! Regular calls bring what is new. API v1's LastRaw always brings the last 15 minutes; later APIs
//! take a range, so their regular call also brings late results and the gaps of the last hours. What
//! lies further back is fetched by calls for past time: first ordinary gaps, then requested ones.
//! With v1 a call for a gap is worth it only when a window is missing, or when the short gaps between
//! windows and late results have waited for long.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catchpoint::query::{Query, WINDOW};
use crate::config::catchpoint::{ApiVersion, CatchpointSettings, Poll, TestGroup};
use crate::run::coverage::{Coverage, Coverages, GAP_TOLERANCE};
use crate::run::exclusions::{Exclusions, REFUSED_ALL, REFUSED_FOR};
use crate::run::purpose::Purpose;
use crate::time_range::{TimeRange, seconds};

/// v1: gaps are swept so many seconds before they age out, but not before half the time is over.
const SWEEP_EARLY: i64 = 4 * 3600;

/// v1: the longest range of a call for past time, in seconds.
const RANGED_SECONDS: i64 = 48 * 3600;

/// v1: gaps are swept after so many seconds at the latest, so that one call brings them all.
const LONGEST_SWEEP: i64 = RANGED_SECONDS - SWEEP_EARLY;

/// Other versions: the longest range of any call, in seconds.
const EXPLORER_SECONDS: i64 = 6 * 3600;

/// `poll: gaps`: a test is asked for after so many seconds; with the overlap it fits into one call.
const RECONCILE: i64 = 4 * 3600;

const DAY: i64 = 24 * 3600;

/// The most tests that Catchpoint lists on one page.
const TESTS_PER_PAGE: u64 = 100;

/// One call to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCall {
    /// The test type that its figures are counted under.
    pub test_type: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The call.
    pub query: Query,
}

/// What calls are planned from.
#[derive(Clone, Copy)]
pub struct Plan<'p> {
    /// The configuration.
    pub settings: &'p CatchpointSettings,
    /// Which results are in the relay.
    pub coverages: &'p Coverages,
    /// What was learned from failed calls.
    pub exclusions: &'p Exclusions,
    /// The time, in epoch seconds.
    pub now: i64,
}

impl Plan<'_> {
    /// The calls for what is new: those first that have waited longest, and those last that failed.
    pub fn regular(self) -> Vec<PlannedCall> {
        let purpose = Purpose::Regular;
        let mut calls = Vec::new();
        for group in &self.settings.tests {
            let asked = group.ids.iter().copied();
            let asked =
                asked.filter(|test| self.exclusions.refused(*test, purpose, self.now).is_none());
            let asked = asked.filter(|test| self.is_due(*test));
            let (alone, mut together): (Vec<u64>, Vec<u64>) =
                asked.partition(|test| self.exclusions.is_alone(*test, purpose, self.now));
            if !is_v1(self.settings) {
                // Tests that miss the same range share a call, so that none is fetched far back
                // because of another.
                together.sort_by_cached_key(|test| self.regular_from(*test));
            }
            let batches = together
                .chunks(self.max_tests(purpose))
                .chain(alone.chunks(1));
            calls.extend(batches.map(|tests| PlannedCall {
                test_type: group.test_type.clone(),
                purpose,
                query: self.regular_query(tests.to_vec()),
            }));
        }
        calls.sort_by_cached_key(|call| {
            let until = |test| self.coverages.get(test).map(Coverage::until);
            let waits_since = call.query.tests().iter().map(until).min();
            (self.comes_last(call), waits_since)
        });
        calls
    }

    /// The next call for missing or requested time, the oldest first, but those last that failed or
    /// were refused. None for tests in `skip`.
    pub fn next_past(self, purpose: Purpose, skip: &BTreeSet<u64>) -> Option<PlannedCall> {
        if self.exclusions.refused_past(self.now).is_some() {
            return None;
        }
        let groups = self.settings.tests.iter();
        let calls = groups.flat_map(|group| self.past_calls(group, purpose, skip));
        calls.min_by_key(|call| {
            let from = call.query.range().map(|range| range.from);
            (self.comes_last(call), from)
        })
    }

    /// The calls for the oldest time of the tests of a group that go together, and for each of the
    /// others.
    fn past_calls(
        self,
        group: &TestGroup,
        purpose: Purpose,
        skip: &BTreeSet<u64>,
    ) -> Vec<PlannedCall> {
        let wanted = group.ids.iter().filter_map(|test| {
            let skipped = skip.contains(test)
                || self.exclusions.was_refused(*test, Purpose::Regular)
                || self.exclusions.refused(*test, purpose, self.now).is_some();
            let coverage = self.coverages.get(test).filter(|_| !skipped)?;
            let range = match purpose {
                Purpose::Requested => coverage.requested().iter().next(),
                Purpose::Regular | Purpose::Gap => self.gap_range(coverage),
            };
            Some((*test, range?))
        });
        type Wanted = Vec<(u64, TimeRange)>;
        let (alone, mut together): (Wanted, Wanted) =
            wanted.partition(|(test, _)| self.exclusions.is_alone(*test, purpose, self.now));
        // Only tests that want the same time share a call.
        together.sort_by_cached_key(|(_, range)| range.from);
        let oldest = together.first().map_or(0, |(_, range)| range.from);
        together.retain(|(_, range)| range.from - oldest <= GAP_TOLERANCE);
        let batches = together
            .chunks(self.max_tests(purpose))
            .chain(alone.chunks(1));
        let calls = batches.filter_map(|batch| {
            let ranges = batch.iter().map(|(_, range)| *range);
            let range = ranges.reduce(TimeRange::and)?;
            let range = TimeRange {
                to: range.to.min(range.from + self.max_seconds(purpose)),
                ..range
            };
            let tests = batch.iter().map(|(test, _)| *test).collect();
            let query = match self.settings.version {
                ApiVersion::V1 => Query::Ranged(tests, range),
                ApiVersion::Explorer(_) => Query::Explorer(tests, range),
            };
            Some(PlannedCall {
                test_type: group.test_type.clone(),
                purpose,
                query,
            })
        });
        calls.collect()
    }

    /// What a call for the missing time of a test asks for, if one is worth it.
    fn gap_range(self, coverage: &Coverage) -> Option<TimeRange> {
        let first = coverage.gaps().iter().next();
        if !is_v1(self.settings) {
            // The regular call brings everything but what lies further back. A call that is shorter
            // than the overlap would end before the gap.
            let overlap = self.overlap().min(self.max_seconds(Purpose::Gap) / 2);
            let first = first?.from;
            let reach = TimeRange {
                from: first,
                to: first + EXPLORER_SECONDS,
            };
            return Some(TimeRange {
                from: first - overlap,
                to: coverage.gaps().within(reach).last()?.to,
            });
        }
        let until = coverage.until();
        let unsettled = match self.overlap() {
            0 => until,
            _ => coverage.settled(),
        };
        let range = TimeRange {
            from: first.map_or(unsettled, |gap| gap.from.min(unsettled)),
            to: until,
        };
        // One long gap is a missed window. Many short ones are not, however long together.
        let worth_it = coverage.longest_gap() > GAP_TOLERANCE
            || range.from < self.now - sweep_every(self.settings);
        (worth_it && range.from < range.to).then_some(range)
    }

    fn regular_query(self, tests: Vec<u64>) -> Query {
        if is_v1(self.settings) {
            return Query::LastRaw(tests);
        }
        let from = tests.iter().map(|test| self.regular_from(*test)).min();
        let range = TimeRange {
            from: from.unwrap_or(self.now - WINDOW),
            to: self.now,
        };
        Query::Explorer(tests, range)
    }

    /// Where the regular call for a test begins: at what is missing, but not too far back, so that
    /// the newest results come first after a long outage.
    fn regular_from(self, test: u64) -> i64 {
        let oldest = (self.now - seconds(self.settings.max_backfill))
            .max(self.now - self.max_seconds(Purpose::Regular));
        let missing = match self.coverages.get(&test) {
            Some(coverage) => coverage.first_missing(oldest),
            None => self.now - WINDOW,
        };
        (missing - self.overlap()).max(oldest).min(self.now)
    }

    /// Whether a regular call for a test is due. With `poll: gaps` it is when its oldest missing second
    /// has waited for so long; it stays due until the call succeeds.
    fn is_due(self, test: u64) -> bool {
        let every = seconds(self.settings.run_every);
        match (self.settings.poll, self.coverages.get(&test)) {
            (Poll::Gaps, Some(coverage)) => {
                // Runs do not begin on the second.
                let wait = RECONCILE - every / 2;
                self.now - coverage.first_missing(i64::MIN) >= wait
            }
            _ => true,
        }
    }

    fn comes_last(self, call: &PlannedCall) -> bool {
        self.exclusions.comes_last(&call.query, call.purpose)
    }

    fn overlap(self) -> i64 {
        seconds(self.settings.overlap)
    }

    fn max_tests(self, purpose: Purpose) -> usize {
        let fitted = self.exclusions.call_size(purpose, self.now).tests;
        let most = self.settings.batch_size;
        fitted.unwrap_or(most).min(most).max(1)
    }

    fn max_seconds(self, purpose: Purpose) -> i64 {
        let longest = match self.settings.version {
            ApiVersion::V1 => RANGED_SECONDS,
            ApiVersion::Explorer(_) => EXPLORER_SECONDS,
        };
        let fitted = self.exclusions.call_size(purpose, self.now).seconds;
        fitted.unwrap_or(longest).min(longest).max(1)
    }
}

/// What is missing before this second at the start of a run, an earlier run has missed.
pub fn expected_through(settings: &CatchpointSettings, started: i64) -> i64 {
    let every = seconds(settings.run_every) * runs_per_round(settings);
    started
        - if is_v1(settings) {
            WINDOW
        } else {
            every.max(WINDOW)
        }
}

/// One of so many runs makes the regular call for a test.
fn runs_per_round(settings: &CatchpointSettings) -> i64 {
    let every = seconds(settings.run_every).max(1);
    match settings.poll {
        Poll::Full => 1,
        Poll::Gaps => (RECONCILE + every - 1) / every,
    }
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
    /// In each run, without a token. With more time between two runs than LastRaw's window is long,
    /// v1 has a gap of each test to fill.
    pub per_run: u64,
    /// One of so many runs makes them; more than 1 with `poll: gaps`.
    pub runs_per_round: u64,
    /// v1: one of so many runs fetches a token; 0 for other versions.
    pub runs_per_token: u64,
    /// v1: in a day, to sweep the short gaps between windows, beside those of each run.
    pub sweeps_per_day: u64,
    /// To list the tests once, beside the other calls of a run; 0 if none are listed.
    pub per_list: u64,
    /// How often in a day they are listed.
    pub lists_per_day: u64,
}

impl Announced {
    /// The calls of a run that fetches a token, if there are such.
    pub fn most_per_run(self) -> u64 {
        self.per_run + self.runs_per_token.min(1)
    }

    /// The calls of so many runs in so many days.
    pub fn calls(self, runs: u64, days: u64) -> u64 {
        let tokens = match self.runs_per_token {
            0 => 0,
            every => runs.div_ceil(every),
        };
        let daily = self.sweeps_per_day + self.per_list * self.lists_per_day;
        self.per_run * runs.div_ceil(self.runs_per_round.max(1)) + tokens + daily * days
    }
}

/// The calls that a configuration takes, with what was learned from failed calls. `token_lasts` is
/// for how many seconds a token can be used; 0 if that is not known.
pub fn announce(
    settings: &CatchpointSettings,
    exclusions: &Exclusions,
    token_lasts: i64,
    now: i64,
) -> Announced {
    let plan = Plan {
        settings,
        coverages: &Coverages::new(),
        exclusions,
        now,
    };
    let regular = plan.regular().len() as u64;
    let every = seconds(settings.run_every).max(1);
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    let lists = settings.wanted.as_ref().map(|wanted| {
        let tests = settings.test_ids().count() as u64;
        let refresh = seconds(wanted.refresh).max(1);
        (
            tests.div_ceil(TESTS_PER_PAGE).max(1),
            positive((DAY + refresh - 1) / refresh),
        )
    });
    let (per_list, lists_per_day) = lists.unwrap_or_default();
    let mut announced = Announced {
        per_run: regular,
        runs_per_round: positive(runs_per_round(settings)),
        runs_per_token: 0,
        sweeps_per_day: 0,
        per_list,
        lists_per_day,
    };
    if !is_v1(settings) {
        return announced;
    }
    announced.runs_per_token = positive((token_lasts + every - 1) / every).max(1);
    let most = match exclusions.past_batches_work() {
        true => plan.max_tests(Purpose::Gap),
        false => 1,
    };
    let groups = settings.tests.iter();
    let past = groups
        .map(|group| group.ids.len().div_ceil(most) as i64)
        .sum::<i64>();
    if exclusions.refused_past(now).is_some() {
        // They are tried again from time to time.
        announced.sweeps_per_day = positive(REFUSED_ALL as i64 * DAY / REFUSED_FOR);
    } else if every > WINDOW + GAP_TOLERANCE {
        announced.per_run += positive(past);
    } else {
        let sweep = sweep_every(settings).max(1);
        announced.sweeps_per_day = positive((past * DAY + sweep - 1) / sweep);
    }
    announced
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

#[cfg(test)]
mod tests;
