//! Which calls a run makes, and in which order. Pure: it looks at what is covered and asks nobody.
//!
//! API v2 takes a span of time, so one call a batch brings what is new, what came late and what is
//! missing. v1's LastRaw always brings the last 15 minutes; what lies before them costs one ranged
//! call a test, so those come after all LastRaw calls, and only when it is worth it: when a window
//! is missing, or when the edges between windows have been left unswept for long.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::catchpoint::query::{Query, WINDOW};
use crate::config::catchpoint::{ApiVersion, CatchpointSettings};
use crate::run::coverage::Coverage;
use crate::run::exclusions::Verdicts;
use crate::time_range::TimeRange;

/// Seconds that may be missing between two windows before it counts as a gap. Runs do not begin on
/// the second, so with v1 a few are missing all the time; they wait for the next ranged call.
pub const EDGE: i64 = 120;

/// v1: this long before it would be too late, seconds, the edges of a test's windows are swept; but
/// not before half the time is over.
const SWEEP_EARLY: i64 = 4 * 3600;

/// v2: the longest span of one query, in seconds; what is older than that is caught up in steps.
const LONGEST_SPAN: i64 = 6 * 3600;

/// The coverage of all tests.
pub type Coverages = BTreeMap<u64, Coverage>;

/// One call to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The test type that its figures are counted under.
    pub test_type: String,
    /// The call.
    pub query: Query,
}

/// The calls for what is new, those first that have waited longest, and last those that failed.
pub fn regular(
    settings: &CatchpointSettings,
    coverages: &Coverages,
    verdicts: &Verdicts,
    now: i64,
) -> Vec<Planned> {
    let missing_from = |test: &u64| {
        coverages
            .get(test)
            .map_or(now - WINDOW, Coverage::first_missing)
    };
    let mut planned = Vec::new();
    for group in &settings.tests {
        let (alone, mut together) = verdicts.split(&group.ids, now);
        if settings.version != ApiVersion::V1 {
            // Tests that miss the same span share a call, so that none is fetched far back for
            // another's sake.
            together.sort_by_key(missing_from);
        }
        let batches = together.chunks(settings.batch_size).chain(alone.chunks(1));
        planned.extend(batches.map(|batch| Planned {
            test_type: group.test_type.clone(),
            query: match settings.version {
                ApiVersion::V1 => Query::LastRaw(batch.to_vec()),
                ApiVersion::Explorer(_) => {
                    let from = batch.iter().map(missing_from).min().unwrap_or(now);
                    Query::Explorer(batch.to_vec(), explorer_span(settings, from, now))
                }
            },
        }));
    }
    let waiting_since = |planned: &Planned| {
        let until = |test| coverages.get(test).map_or(i64::MIN, Coverage::until);
        let since = planned.query.tests().iter().map(until).min();
        (verdicts.has_failed(&planned.query), since)
    };
    planned.sort_by_key(waiting_since);
    planned
}

/// v1: the calls for what LastRaw has left out, the oldest first, and last those that failed. Each
/// makes one test whole again.
pub fn gap_fills(
    settings: &CatchpointSettings,
    coverages: &Coverages,
    verdicts: &Verdicts,
    now: i64,
) -> Vec<Planned> {
    if settings.version != ApiVersion::V1 {
        return Vec::new();
    }
    let sweep_before = now - sweep_every(settings);
    let mut planned = Vec::new();
    for group in &settings.tests {
        for test in &group.ids {
            let Some(coverage) = coverages.get(test) else {
                continue;
            };
            let unsettled = if settings.overlap.is_zero() {
                coverage.until()
            } else {
                coverage.settled()
            };
            let from = coverage.first_missing().min(unsettled);
            let worth_it = coverage.missing() > EDGE || from < sweep_before;
            let span = TimeRange {
                from,
                to: coverage.until(),
            };
            let refused =
                verdicts.is_refused(*test) || verdicts.refused_ranged(*test, now).is_some();
            if worth_it && span.from < span.to && !refused {
                planned.push(Planned {
                    test_type: group.test_type.clone(),
                    query: Query::Ranged(*test, span),
                });
            }
        }
    }
    planned.sort_by_key(|planned| {
        let from = match planned.query {
            Query::Ranged(_, span) => span.from,
            Query::LastRaw(_) | Query::Explorer(..) => i64::MAX,
        };
        (verdicts.has_failed(&planned.query), from)
    });
    planned
}

/// The second before which all results should be in the relay when a run begins: what is missing
/// before it was missed by an earlier run.
pub fn due(settings: &CatchpointSettings, started: i64) -> i64 {
    started
        - match settings.version {
            ApiVersion::V1 => WINDOW,
            ApiVersion::Explorer(_) => seconds(settings.run_every).max(WINDOW),
        }
}

/// When the next run is due, on a schedule that counts from midnight UTC.
pub fn next_run(settings: &CatchpointSettings, now: DateTime<Utc>) -> DateTime<Utc> {
    let every = seconds(settings.run_every).max(1);
    let next = (now.timestamp() / every + 1).saturating_mul(every);
    DateTime::from_timestamp(next, 0).unwrap_or_default()
}

/// How many calls one run makes when no run was missed, the token included. With more time between
/// two runs than LastRaw's window is long, v1 has a gap to fill for each test.
pub fn calls_per_run(settings: &CatchpointSettings) -> u64 {
    let groups = settings.tests.iter();
    let batches = groups.map(|group| group.ids.len().div_ceil(settings.batch_size));
    let batches: usize = batches.sum();
    batches as u64
        + match settings.version {
            ApiVersion::V1 if leaves_gaps(settings) => 1 + settings.test_ids().count() as u64,
            ApiVersion::V1 => 1,
            ApiVersion::Explorer(_) => 0,
        }
}

/// v1: how many calls a day sweep the edges between windows, which no run does without.
pub fn sweeps_per_day(settings: &CatchpointSettings) -> u64 {
    if settings.version != ApiVersion::V1 || leaves_gaps(settings) {
        return 0;
    }
    let every = u64::try_from(sweep_every(settings)).unwrap_or(u64::MAX);
    (settings.test_ids().count() as u64 * 24 * 3600).div_ceil(every)
}

/// v1: after so many seconds the edges of a test's windows are swept.
fn sweep_every(settings: &CatchpointSettings) -> i64 {
    let max_backfill = seconds(settings.max_backfill);
    (max_backfill - SWEEP_EARLY).max(max_backfill / 2)
}

fn leaves_gaps(settings: &CatchpointSettings) -> bool {
    seconds(settings.run_every) > WINDOW + EDGE
}

fn explorer_span(settings: &CatchpointSettings, missing_from: i64, now: i64) -> TimeRange {
    let oldest = now - seconds(settings.max_backfill);
    let from = (missing_from - seconds(settings.overlap))
        .max(oldest)
        .min(now);
    let to = now.min(missing_from.max(oldest) + LONGEST_SPAN);
    TimeRange { from, to }
}

/// A duration as a difference of epoch seconds.
pub fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
