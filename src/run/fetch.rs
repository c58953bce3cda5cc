//! One planned call to its end: fetched page by page, its lines handed to the relay, its results
//! counted as fetched. A call that fails because of some of its tests, or because its answer is too
//! large, is split until the culprit stands alone.

use std::collections::VecDeque;

use super::Run;
use crate::catchpoint::CallError;
use crate::catchpoint::error::{Concerns, Kind, Split};
use crate::catchpoint::page::Counts;
use crate::catchpoint::query::{Query, WINDOW};
use crate::host::{self, Level};
use crate::relay::{Delivered, RelayError};
use crate::run::exclusions::Refusal;
use crate::run::plan::{self, GAP_TOLERANCE, PlannedCall, Purpose, seconds};
use crate::state::Key;
use crate::time_range::TimeRange;

/// No range is split into parts shorter than this, in seconds.
const SHORTEST_RANGE: i64 = 60;

/// Why a call brought nothing.
enum CallFailure {
    /// Catchpoint did not answer with results.
    Call(CallError),
    /// The relay did not take the lines. It is noted.
    Relay,
    /// Another run has the lease.
    LeaseLost,
    /// The answer is about another time than was asked for.
    OtherTime,
}

/// What a call that is split has left to do.
struct Splitting {
    parts: VecDeque<PlannedCall>,
    purpose: Purpose,
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
    fn of(call: &PlannedCall) -> Self {
        Self {
            parts: VecDeque::new(),
            purpose: call.purpose,
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
        let mut splitting = Splitting::of(&call);
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
            let mut splitting = Splitting::of(&call);
            splitting.others_answer = true;
            self.split(call, &error, &mut splitting);
            self.fetch_parts(splitting);
        }
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
                Err(CallFailure::OtherTime) => {
                    self.refuse_form(&part, "the answer is about another time range");
                }
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
            // Every part fails: it is not about the tests.
            self.fail(&part, error);
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
        if error.kind == Kind::TooLarge {
            let now = self.host.now().timestamp();
            let (tests, range) = (part.query.tests().len(), part.query.range());
            self.exclusions.halve_call_size(tests, range, part.purpose, now);
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
                    self.refuse_alone(&part, error);
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
        let range = part.query.range().unwrap_or(TimeRange { from: now - WINDOW, to: now });
        let middle = range.from + range.seconds() / 2;
        let halves = [
            TimeRange { from: middle, ..range },
            TimeRange { to: middle, ..range },
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

    /// Makes one call. When all its lines are in the relay, its time counts as fetched.
    fn fetch_once(&mut self, call: &PlannedCall) -> Result<(), CallFailure> {
        if !self.lease.is_held() {
            return Err(CallFailure::LeaseLost);
        }
        let mut next = None;
        let covered = loop {
            let fetched = self.client.fetch_page(&call.query, next.as_ref());
            let fetched = fetched.map_err(|error| match error.kind {
                Kind::LeaseLost => CallFailure::LeaseLost,
                _ => CallFailure::Call(error),
            })?;
            let prefix = &self.settings.graphite.metric_prefix;
            let mut lines = fetched.page.lines(prefix);
            let mut batch = String::new();
            loop {
                let more = lines.fill(&mut batch, self.relay.full());
                self.deliver(call, &mut batch)?;
                if !more {
                    break;
                }
            }
            self.count(call, lines.counts());
            next = fetched.next;
            if next.is_none() {
                break fetched.covered;
            }
        };
        self.record(call, covered)
    }

    /// Hands a batch of lines to the relay.
    fn deliver(&mut self, call: &PlannedCall, batch: &mut String) -> Result<(), CallFailure> {
        if let Some(lines) = &mut self.dry_run {
            lines.push_str(batch);
        } else {
            let mut delivered = Delivered::default();
            let posted = self.relay.post(batch, &mut delivered);
            let of_type = self.report.types.entry(call.test_type.clone());
            of_type.or_default().lines_accepted += delivered.accepted;
            self.report.lines_accepted += delivered.accepted;
            self.count_rejected(&delivered);
            if let Err(error) = posted {
                self.fail_delivery(call, &error);
                return Err(CallFailure::Relay);
            }
        }
        batch.clear();
        Ok(())
    }

    /// All results of a call are in the relay.
    fn record(&mut self, call: &PlannedCall, covered: TimeRange) -> Result<(), CallFailure> {
        let tests = call.query.tests();
        if let (Query::Ranged(_, asked), true) = (&call.query, tests.len() > 1)
            && covered.from > asked.from + GAP_TOLERANCE
        {
            // The times in the address had no effect.
            return Err(CallFailure::OtherTime);
        }
        let collected = self.collected.len();
        self.collected.extend(tests);
        let new = (self.collected.len() - collected) as u64;
        let types = &mut self.report.types;
        types.entry(call.test_type.clone()).or_default().tests += new;
        self.report.tests.collected += new;
        self.report.extend_window(covered);
        if self.dry_run.is_some() {
            return Ok(());
        }
        self.past_answered |= call.purpose != Purpose::Regular;
        for test in self.exclusions.clear(&call.query, call.purpose) {
            let line = format!("test {test} is answered again");
            let wanted = self.settings.catchpoint.log_level;
            host::log(self.host, wanted, Level::Info, &line);
        }
        for test in tests {
            self.cover(*test, call, covered);
        }
        match self.lease.write(Key::Coverage, &self.coverages) || self.lease.is_held() {
            true => Ok(()),
            false => Err(CallFailure::LeaseLost),
        }
    }

    /// Counts a range of a test as fetched.
    fn cover(&mut self, test: u64, call: &PlannedCall, covered: TimeRange) {
        let settings = &self.settings.catchpoint;
        let expected = plan::expected_through(settings, self.report.started.timestamp());
        let now = self.host.now().timestamp();
        let Some(coverage) = self.coverages.get_mut(&test) else {
            return;
        };
        let range = if call.purpose == Purpose::Regular {
            covered
        } else {
            // Only regular calls move the end of what was fetched.
            TimeRange { to: covered.to.min(coverage.until()), ..covered }
        };
        let was_until = coverage.until();
        let change = coverage.cover(range);
        // What a call brings from before the regular window was a gap, found and filled at once.
        let late = coverage.until().min(expected) - was_until.max(range.from);
        let late = if late > GAP_TOLERANCE { late } else { 0 };
        coverage.settle(range, now, seconds(settings.overlap));
        if let (Purpose::Requested, Some(asked)) = (call.purpose, call.query.range()) {
            coverage.answer_requested(asked, covered);
        }
        self.report.gaps.found += change.found + late;
        self.report.gaps.filled += change.filled + late;
        if change.given_up > 0 {
            let cause = "there are more gaps than are kept; the shortest are given up and lost";
            self.lose(test, change.given_up, cause);
        }
    }

    fn count(&mut self, call: &PlannedCall, counts: &Counts) {
        let report = &mut self.report;
        report.samples += counts.samples;
        report.nulls += counts.nulls;
        for (reason, count) in &counts.skipped {
            *report.skipped.entry((*reason).to_owned()).or_default() += count;
        }
        let of_type = report.types.entry(call.test_type.clone()).or_default();
        of_type.samples += counts.samples;
        of_type.nulls += counts.nulls;
    }

    /// Counts the lines that the relay rejected, and logs some of them.
    fn count_rejected(&mut self, delivered: &Delivered) {
        for (reason, count) in &delivered.rejected {
            self.report.lines_rejected += count;
            *self.report.rejected.entry(reason.clone()).or_default() += count;
        }
        for example in &delivered.examples {
            let line = format!("the relay rejected a line: {example}");
            self.host.log(Level::Error, &line);
        }
    }

    /// Sends the collector's own metrics.
    pub(super) fn send_own_metrics(&mut self, lines: &str) {
        let mut delivered = Delivered::default();
        let posted = self.relay.post(lines, &mut delivered);
        self.count_rejected(&delivered);
        if let Err(error) = posted {
            let what = "sending the collector's own metrics";
            self.report.fail(what, &[], error.to_string(), error.hint());
        }
    }

    /// Notes that a call failed.
    fn fail(&mut self, call: &PlannedCall, error: &CallError) {
        let class = error.class();
        self.stopped |= class.stops_run;
        let tests = call.query.tests();
        self.failed.extend(tests);
        if class.concerns == Concerns::Limits && call.purpose != Purpose::Regular {
            // Regular calls come first; there will be another time for the others.
            self.exhausted = Some(error.clone());
            return;
        }
        if !class.stops_run {
            self.exclusions.fail(&call.query, call.purpose);
        }
        let failure = self
            .report
            .fail(call.query.kind(), tests, error.to_string(), class.hint);
        failure.lasting |= class.level == Level::Error;
    }

    /// Notes that Catchpoint refused the query for one test.
    fn refuse_alone(&mut self, call: &PlannedCall, error: &CallError) {
        let hint = error.class().hint;
        for test in call.query.tests() {
            self.failed.insert(*test);
            self.report.fail(call.query.kind(), &[*test], error.to_string(), hint);
            self.refusals.push(Refusal {
                test: *test,
                purpose: call.purpose,
                reason: error.to_string(),
            });
            let (Purpose::Requested, Some(asked)) = (call.purpose, call.query.range()) else {
                continue;
            };
            let now = self.host.now().timestamp();
            let counts = self.answers();
            let coverage = self.coverages.get_mut(test).filter(|_| counts);
            if coverage.is_some_and(|coverage| coverage.refuse_requested(asked, now)) {
                let cause = format!("given up after it was refused three times: {error}");
                self.report.fail("backfill", &[*test], cause, hint);
            }
        }
        self.lease.write(Key::Coverage, &self.coverages);
    }

    /// Remembers that a form of call does not work; the plan then takes another one.
    fn refuse_form(&mut self, call: &PlannedCall, reason: &str) {
        let now = self.host.now().timestamp();
        self.exclusions.refuse_past_batches(reason, now);
        let line = format!(
            "{} of tests {:?}: {reason}; gaps are filled one test at a time for a day",
            call.query.kind(),
            call.query.tests()
        );
        let wanted = self.settings.catchpoint.log_level;
        host::log(self.host, wanted, Level::Info, &line);
    }

    /// This run stood still for so long that another one has begun, which does its work.
    fn lose_lease(&mut self, call: &PlannedCall) {
        self.stopped = true;
        let hint = "nothing is lost: the other run continues from here; if it happens often, see what suspends this machine, or lower request_timeout_seconds";
        let cause = "another run has taken over".to_owned();
        self.report.fail(call.query.kind(), call.query.tests(), cause, hint);
    }

    /// The relay did not take the lines of a call. If it refuses this batch alone, other calls go on.
    fn fail_delivery(&mut self, call: &PlannedCall, error: &RelayError) {
        let tests = call.query.tests();
        self.failed.extend(tests);
        self.exclusions.fail(&call.query, call.purpose);
        self.stopped |= error.is_down();
        self.relay_failed |= error.is_down();
        self.report.fail("sending to the relay", tests, error.to_string(), error.hint());
    }
}

/// What a backfill waits for when a limit is used up.
pub(super) fn waits_for(error: &CallError) -> &'static str {
    match (error.kind, error.limit) {
        (Kind::DayQuota, _) | (_, Some(("per_day", _))) => "day",
        (_, Some(("per_hour", _))) => "hour",
        (Kind::NoTime, _) => "run",
        _ => "minute",
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
