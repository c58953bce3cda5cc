//! A planned call, split where that helps: one that fails because of some of its tests, or because
//! its answer is too large, is made in smaller parts until the culprit stands alone.

use std::collections::VecDeque;

use super::Run;
use super::fetch::CallFailure;
use crate::catchpoint::CallError;
use crate::catchpoint::error::{Kind, Split};
use crate::catchpoint::query::{Query, WINDOW};
use crate::run::call::{PlannedCall, Purpose};
use crate::run::exclusions::CallSize;
use crate::time_range::TimeRange;

/// No range is split into parts shorter than this, in seconds.
const SHORTEST_RANGE: i64 = 60;

/// What a call that is split has left to do.
struct Splitting {
    parts: VecDeque<PlannedCall>,
    purpose: Purpose,
    /// The size of calls before.
    size: CallSize,
    /// Catchpoint answers other calls, so a failure is not about all of them.
    others_answer: bool,
    /// Failures since the last success.
    failures: u32,
    /// So many failures in a row mean that it is not about the tests.
    most: u32,
    /// A query was refused, which may be because its tests do not go together.
    refused: bool,
    /// A test failed alone.
    found: bool,
    /// Tests that were answered alone after a refusal.
    answered: Vec<u64>,
}

impl Splitting {
    fn of(call: &PlannedCall, size: CallSize) -> Self {
        Self {
            parts: VecDeque::new(),
            purpose: call.purpose,
            size,
            others_answer: false,
            failures: 0,
            most: call.query.tests().len().max(1).ilog2() + 3,
            refused: false,
            found: false,
            answered: Vec::new(),
        }
    }
}

impl Run<'_> {
    /// Makes one planned call.
    pub(super) fn fetch(&mut self, call: PlannedCall) {
        let mut splitting = Splitting::of(&call, self.size(&call));
        splitting.parts.push_back(call);
        self.fetch_parts(splitting);
    }

    /// Splits the calls that failed in a way that may be about some of their tests, if Catchpoint
    /// answered others meanwhile, or if the same call failed in the run before.
    pub(super) fn split_deferred(&mut self) {
        for (call, error) in std::mem::take(&mut self.deferred) {
            let repeated = self.exclusions.has_failed(&call.query, call.purpose);
            let others_answer = self.answers();
            if self.stopped || !(others_answer || repeated) {
                self.fail(&call, &error);
                continue;
            }
            let mut splitting = Splitting::of(&call, self.size(&call));
            splitting.others_answer = true;
            self.split(call, &error, &mut splitting);
            self.fetch_parts(splitting);
        }
    }

    fn size(&self, call: &PlannedCall) -> CallSize {
        let now = self.host.now().timestamp();
        self.exclusions.call_size(call.purpose, now)
    }

    fn fetch_parts(&mut self, mut splitting: Splitting) {
        while let Some(part) = splitting.parts.pop_front() {
            if self.stopped {
                break;
            }
            match self.fetch_once(&part) {
                Ok(()) => {
                    if splitting.refused && part.query.tests().len() == 1 {
                        splitting.answered.extend(part.query.tests());
                    }
                    splitting.failures = splitting.failures.min(1);
                }
                Err(CallFailure::Relay) => {}
                Err(CallFailure::LeaseLost) => self.lose_lease(&part),
                Err(CallFailure::Call(error)) => self.handle(part, &error, &mut splitting),
            }
        }
        // Each of them is answered, but not with the others: one is of another type or division.
        let now = self.host.now().timestamp();
        let answered = splitting.answered.into_iter();
        for test in answered.filter(|_| !splitting.found) {
            self.exclusions.ask_alone(test, splitting.purpose, now);
        }
    }

    /// Decides what a failed call leads to.
    fn handle(&mut self, part: PlannedCall, error: &CallError, splitting: &mut Splitting) {
        match error.class().split {
            Split::IfOthersAnswer if !splitting.others_answer => {
                self.deferred.push((part, error.clone()));
            }
            Split::Never => self.fail(&part, error),
            Split::Now | Split::IfOthersAnswer => self.split(part, error, splitting),
        }
    }

    /// Replaces a failed call by smaller ones, or notes that its test is refused alone.
    fn split(&mut self, part: PlannedCall, error: &CallError, splitting: &mut Splitting) {
        splitting.failures += 1;
        if splitting.failures > splitting.most {
            self.fail(&part, error);
            if error.kind == Kind::TooLarge && part.query.tests().len() == 1 {
                // Short ranges are too large as well: of this test, not of the others.
                let others = |other: &PlannedCall| other.query.tests() != part.query.tests();
                splitting.parts.retain(others);
                splitting.failures = 1;
                return;
            }
            // Every part fails: it is not about the tests.
            for rest in std::mem::take(&mut splitting.parts) {
                self.fail(&rest, error);
            }
            return;
        }
        let several = part.query.tests().len() > 1;
        let is_size = matches!(error.kind, Kind::TooLarge | Kind::Truncated);
        let is_refused = matches!(error.kind, Kind::Refused | Kind::RangedRefused);
        splitting.refused |= is_refused;
        if several && matches!(part.query, Query::Ranged(..)) && is_refused {
            // Whether the API knows this form of call at all is not certain.
            self.refuse_form(&part, &error.to_string());
            return;
        }
        if error.kind == Kind::TooLarge || (error.kind == Kind::Paging && several) {
            let now = self.host.now().timestamp();
            match (part.query.tests(), part.query.range()) {
                ([test], range) => {
                    self.exclusions
                        .halve_range(*test, range, part.purpose, splitting.size, now);
                }
                (tests, _) => self.exclusions.halve_tests(tests.len(), part.purpose, now),
            }
        }
        let halves = if several {
            halve_tests(&part)
        } else if is_size {
            self.halve_range(&part)
        } else {
            None
        };
        match halves {
            Some(halves) => {
                for half in halves.into_iter().rev() {
                    splitting.parts.push_front(half);
                }
            }
            None => {
                splitting.found = true;
                if part.purpose == Purpose::Regular || is_refused {
                    self.refuse_alone(&part, &error.to_string(), error.class().hint);
                } else {
                    // Regular calls bring what is new of this test. It is tried again by each run.
                    let now = self.host.now().timestamp();
                    for test in part.query.tests() {
                        self.exclusions.ask_alone(*test, part.purpose, now);
                    }
                    self.fail(&part, error);
                }
            }
        }
    }

    /// A call for one test in two halves of its range, the newer one first.
    fn halve_range(&self, part: &PlannedCall) -> Option<[PlannedCall; 2]> {
        let now = self.host.now().timestamp();
        let range = part.query.range().unwrap_or(TimeRange {
            from: now - WINDOW,
            to: now,
        });
        let middle = range.from + range.seconds() / 2;
        let halves = [
            TimeRange {
                from: middle,
                ..range
            },
            TimeRange {
                to: middle,
                ..range
            },
        ];
        let query = |range| match &part.query {
            Query::LastRaw(tests) => Query::Ranged(tests.clone(), range),
            query => query.with_range(range),
        };
        (range.seconds() >= 2 * SHORTEST_RANGE).then(|| {
            halves.map(|range| PlannedCall {
                query: query(range),
                ..part.clone()
            })
        })
    }
}

/// A call in two, each for half of the tests.
fn halve_tests(part: &PlannedCall) -> Option<[PlannedCall; 2]> {
    let tests = part.query.tests();
    let (first, second) = tests.split_at(tests.len() / 2);
    Some([first, second].map(|tests| PlannedCall {
        query: part.query.with_tests(tests),
        ..part.clone()
    }))
}
