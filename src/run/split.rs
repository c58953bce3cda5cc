//! Planned calls, split where that helps: one that fails because of some of its tests, or because its
//! answer is too large, is made in smaller parts until the culprit stands alone.

use std::collections::VecDeque;

use super::Run;
use crate::catchpoint::CallError;
use crate::catchpoint::error::{Kind, Split};
use crate::catchpoint::query::{Query, WINDOW};
use crate::run::exclusions::REFUSED_ALL;
use crate::run::plan::PlannedCall;
use crate::run::purpose::Purpose;
use crate::state::Key;
use crate::time_range::TimeRange;

/// No range is split into parts shorter than this, in seconds.
const SHORTEST_RANGE: i64 = 60;

/// A requested range is given up after Catchpoint refused it so many times, alone.
const MAX_REFUSALS: u8 = 3;

/// A call that is made in parts.
struct Splitting {
    left: VecDeque<PlannedCall>,
    /// Catchpoint answers other calls, so a failure is not about all of them.
    others_answer: bool,
    /// Failures since the last success, and how many in a row mean that it is not about the tests.
    failures: u32,
    most: u32,
    /// Calls of so many tests would have fit.
    fits: Option<usize>,
    /// A query was refused, which may be because its tests do not go together.
    refused: bool,
    /// A test failed alone.
    culprit: bool,
    /// Tests that were answered alone after a refusal.
    answered: Vec<u64>,
}

impl Run<'_> {
    /// Makes planned calls. Afterwards it splits those that failed in a way that may be about some of
    /// their tests, if Catchpoint answered others meanwhile, or if the same call failed in the run
    /// before; and remembers which tests were refused.
    pub(super) fn fetch(&mut self, calls: Vec<PlannedCall>) {
        for call in calls {
            self.fetch_parts(call, None);
        }
        for (call, error) in std::mem::take(&mut self.deferred) {
            let repeated = self.exclusions.has_failed(&call.query, call.purpose);
            if !self.stopped && (self.answers || repeated) {
                self.fetch_parts(call, Some(error));
            } else {
                self.fail(&call, &error);
            }
        }
        self.record_refusals();
    }

    /// Makes a call, or the parts of one that has failed.
    fn fetch_parts(&mut self, call: PlannedCall, mut failed: Option<CallError>) {
        let purpose = call.purpose;
        let mut splitting = Splitting {
            others_answer: failed.is_some(),
            failures: 0,
            most: call.query.tests().len().max(1).ilog2() + 3,
            fits: None,
            refused: false,
            culprit: false,
            answered: Vec::new(),
            left: VecDeque::from([call]),
        };
        while let Some(part) = splitting.left.pop_front() {
            if self.stopped {
                break;
            }
            let result = match failed.take() {
                Some(error) => Err(error),
                None => self.fetch_once(&part),
            };
            match result.map_err(|error| (error.class().split, error)) {
                Ok(true) => {
                    if splitting.refused && part.query.tests().len() == 1 {
                        splitting.answered.extend(part.query.tests());
                    }
                    splitting.failures = splitting.failures.min(1);
                }
                Ok(false) => {}
                Err((Split::Never, error)) => self.fail(&part, &error),
                Err((Split::IfOthersAnswer, error)) if !splitting.others_answer => {
                    self.deferred.push((part, error));
                }
                Err((_, error)) => self.split(part, &error, &mut splitting),
            }
        }
        let now = self.host.now().timestamp();
        if let Some(fits) = splitting.fits {
            let reason = "larger answers were too large";
            self.exclusions.limit_tests(fits, purpose, reason, now);
        }
        // Each of them is answered, but not with the others: one is of another type or division.
        let answered = splitting.answered.into_iter();
        for test in answered.filter(|_| !splitting.culprit) {
            self.exclusions.ask_alone(test, purpose, now);
        }
    }

    /// Replaces a failed call by smaller ones, or notes that its test failed alone.
    fn split(&mut self, part: PlannedCall, error: &CallError, splitting: &mut Splitting) {
        let (tests, purpose) = (part.query.tests(), part.purpose);
        let now = self.host.now().timestamp();
        let several = tests.len() > 1;
        let is_refused = matches!(error.kind, Kind::Refused | Kind::RangedRefused);
        let is_size = matches!(error.kind, Kind::TooLarge | Kind::Truncated);
        splitting.failures += 1;
        if splitting.failures > splitting.most {
            self.fail(&part, error);
            if error.kind == Kind::TooLarge && !several {
                // Short ranges are too large as well: of this test, not of the others.
                splitting.left.retain(|other| other.query.tests() != tests);
                splitting.failures = 1;
                return;
            }
            // Every part fails: it is not about the tests.
            for rest in std::mem::take(&mut splitting.left) {
                self.fail(&rest, error);
            }
            return;
        }
        splitting.refused |= is_refused;
        if several && is_refused && matches!(part.query, Query::Ranged(..)) {
            // Whether the API knows this form of call at all is not certain.
            self.exclusions
                .limit_tests(1, purpose, &error.to_string(), now);
            return;
        }
        match error.kind {
            Kind::TooLarge | Kind::Paging if several => splitting.fits = Some(tests.len() / 2),
            Kind::TooLarge => {
                // It is asked for alone, so that others go together as before.
                splitting.fits = None;
                for test in tests {
                    self.exclusions.ask_alone(*test, purpose, now);
                }
                if let (Some(range), true) = (part.query.range(), purpose != Purpose::Regular) {
                    let (half, reason) = (range.seconds() / 2, "larger answers were too large");
                    self.exclusions.limit_seconds(half, purpose, reason, now);
                }
            }
            _ => {}
        }
        let halves = match several {
            true => Some(halve_tests(&part)),
            false if is_size => halve_range(&part, now),
            false => None,
        };
        if let Some([first, second]) = halves {
            splitting.left.push_front(second);
            splitting.left.push_front(first);
            return;
        }
        splitting.culprit = true;
        if purpose == Purpose::Regular || is_refused {
            self.failed.extend(tests);
            let cause = error.to_string();
            self.report
                .fail(part.query.kind(), tests, &cause, error.class().hint);
            self.refused.push((part, cause));
        } else {
            // Regular calls bring what is new of this test. It is tried again by each run.
            for test in tests {
                self.exclusions.ask_alone(*test, purpose, now);
            }
            self.fail(&part, error);
        }
    }

    /// Remembers which tests were refused alone. While Catchpoint refuses everything, it is not about
    /// single tests; and while it answers no call for past time, it is about all of those.
    fn record_refusals(&mut self) {
        if !self.answers || self.refused.is_empty() || self.dry_run.is_some() {
            return;
        }
        let now = self.host.now().timestamp();
        for (call, reason) in std::mem::take(&mut self.refused) {
            let purpose = call.purpose;
            if purpose != Purpose::Regular
                && let Some(refused) = &mut self.refused_past
            {
                *refused += 1;
                if *refused >= REFUSED_ALL {
                    self.exclusions.refuse_past(&reason, now);
                }
            }
            for test in call.query.tests() {
                let times = self.exclusions.refuse(*test, purpose, &reason, now);
                let (Purpose::Requested, Some(asked)) = (purpose, call.query.range()) else {
                    continue;
                };
                if times >= MAX_REFUSALS
                    && let Some(coverage) = self.coverages.get_mut(test)
                {
                    coverage.cancel(asked);
                    let cause = format!("given up after it was refused three times: {reason}");
                    let hint = "see whether Catchpoint still has these results";
                    self.report.fail("backfill", &[*test], &cause, hint);
                }
            }
        }
        self.lease.write(Key::Exclusions, &self.exclusions);
        self.lease.write(Key::Coverage, &self.coverages);
    }
}

/// A call in two, each for half of the tests.
fn halve_tests(part: &PlannedCall) -> [PlannedCall; 2] {
    let tests = part.query.tests();
    let (first, second) = tests.split_at(tests.len() / 2);
    [first, second].map(|tests| PlannedCall {
        query: part.query.with_tests(tests),
        ..part.clone()
    })
}

/// A call for one test in two halves of its range, the newer one first.
fn halve_range(part: &PlannedCall, now: i64) -> Option<[PlannedCall; 2]> {
    let last = TimeRange {
        from: now - WINDOW,
        to: now,
    };
    let TimeRange { from, to } = part.query.range().unwrap_or(last);
    let middle = from + (to - from) / 2;
    let halves = [(middle, to), (from, middle)].map(|(from, to)| {
        let range = TimeRange { from, to };
        let query = match &part.query {
            Query::LastRaw(tests) => Query::Ranged(tests.clone(), range),
            query => query.with_range(range),
        };
        PlannedCall {
            query,
            ..part.clone()
        }
    });
    (to - from >= 2 * SHORTEST_RANGE).then_some(halves)
}
