//! One call to its end: fetched page by page, its lines handed to the relay, its results counted as
//! fetched.

use super::Run;
use crate::catchpoint::CallError;
use crate::catchpoint::error::{Concerns, Kind};
use crate::catchpoint::page::Counts;
use crate::catchpoint::query::Query;
use crate::host::{self, Level};
use crate::relay::{Delivered, RelayError};
use crate::run::call::{PlannedCall, Purpose};
use crate::run::coverage::GAP_TOLERANCE;
use crate::run::exclusions::Refusal;
use crate::run::plan;
use crate::run::report::Failure;
use crate::state::Key;
use crate::time_range::{TimeRange, seconds};

/// Why a call brought nothing.
pub(super) enum CallFailure {
    /// Catchpoint did not answer with results.
    Call(CallError),
    /// The relay did not take the lines. It is noted.
    Relay,
    /// Another run has the lease.
    LeaseLost,
}

impl Run<'_> {
    /// Makes one call. When all its lines are in the relay, its time counts as fetched.
    pub(super) fn fetch_once(&mut self, call: &PlannedCall) -> Result<(), CallFailure> {
        if !self.lease.is_held() {
            return Err(CallFailure::LeaseLost);
        }
        let mut next = None;
        let mut times: Option<TimeRange> = None;
        let covered = loop {
            let fetched = self.client.fetch_page(&call.query, next.as_ref());
            let fetched = fetched.map_err(|error| match error.kind {
                Kind::LeaseLost => CallFailure::LeaseLost,
                _ => CallFailure::Call(error),
            })?;
            let names = &self.settings.graphite;
            let mut lines = fetched.page.lines(names, &call.test_type);
            let mut batch = String::new();
            loop {
                let more = lines.fill(&mut batch, self.relay.full());
                self.deliver(call, &mut batch)?;
                if !more {
                    break;
                }
            }
            self.count(call, lines.counts());
            times = times
                .into_iter()
                .chain(lines.times())
                .reduce(TimeRange::and);
            if fetched.cut {
                let cause = "the answer says that there is more, but no further page can be found";
                let hint = "results may be missing: ask Catchpoint's support how raw data of this version is paged";
                let tests = call.query.tests();
                self.report
                    .fail(call.query.kind(), tests, cause.to_owned(), hint);
            }
            next = fetched.next;
            if next.is_none() {
                break fetched.covered;
            }
        };
        if call.purpose != Purpose::Regular && !is_about(&call.query, covered, times) {
            return Err(CallFailure::Call(CallError::other_time(&call.query)));
        }
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
        let mut progress = false;
        for test in tests {
            progress |= self.cover(*test, call, covered);
        }
        if !self.lease.write(Key::Coverage, &self.coverages) && !self.lease.is_held() {
            return Err(CallFailure::LeaseLost);
        }
        if !progress {
            // The same call would be made again, without end.
            return Err(CallFailure::Call(CallError::other_time(&call.query)));
        }
        self.past_answered |= call.purpose != Purpose::Regular;
        for test in self.exclusions.clear(&call.query, call.purpose) {
            let line = format!("test {test} is answered again");
            let wanted = self.settings.catchpoint.log_level;
            host::log(self.host, wanted, Level::Info, &line);
        }
        Ok(())
    }

    /// Counts a range of a test as fetched. Returns whether less is missing or requested now, for
    /// calls that are made because something is.
    fn cover(&mut self, test: u64, call: &PlannedCall, covered: TimeRange) -> bool {
        let settings = &self.settings.catchpoint;
        let expected = plan::expected_through(settings, self.report.started.timestamp());
        let now = self.host.now().timestamp();
        let Some(coverage) = self.coverages.get_mut(&test) else {
            return true;
        };
        let range = if call.purpose == Purpose::Regular {
            covered
        } else {
            // Only regular calls move the end of what was fetched.
            TimeRange {
                to: covered.to.min(coverage.until()),
                ..covered
            }
        };
        let (was_until, was_settled) = (coverage.until(), coverage.settled());
        let change = coverage.cover(range);
        // What a call brings from before the regular window was a gap, found and filled at once.
        let late = coverage.until().min(expected) - was_until.max(range.from);
        let late = if late > GAP_TOLERANCE { late } else { 0 };
        coverage.settle(range, now, seconds(settings.overlap));
        let mut answered = change.filled > 0 || coverage.settled() > was_settled;
        if let (Purpose::Requested, Some(asked)) = (call.purpose, call.query.range()) {
            answered = coverage.answer_requested(asked, covered);
        }
        self.report.gaps.found += change.found + late;
        self.report.gaps.filled += change.filled + late;
        if change.given_up > 0 {
            let cause = "there are more gaps than are kept; the shortest are given up and lost";
            self.lose(test, change.given_up, cause);
        }
        answered || call.purpose == Purpose::Regular
    }

    fn count(&mut self, call: &PlannedCall, counts: &Counts) {
        let report = &mut self.report;
        report.samples += counts.samples;
        report.nulls += counts.nulls;
        report.unlabelled += counts.unlabelled;
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
    pub(super) fn fail(&mut self, call: &PlannedCall, error: &CallError) {
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
        self.report.note(Failure {
            what: call.query.kind().to_owned(),
            tests: tests.to_vec(),
            cause: error.to_string(),
            hint: class.hint.to_owned(),
            lasting: error.kind == Kind::Credentials,
        });
    }

    /// Notes that Catchpoint refused the query for one test.
    pub(super) fn refuse_alone(&mut self, call: &PlannedCall, reason: &str, hint: &str) {
        for test in call.query.tests() {
            self.failed.insert(*test);
            self.report
                .fail(call.query.kind(), &[*test], reason.to_owned(), hint);
            self.refusals.push(Refusal {
                test: *test,
                purpose: call.purpose,
                reason: reason.to_owned(),
            });
            let (Purpose::Requested, Some(asked)) = (call.purpose, call.query.range()) else {
                continue;
            };
            let now = self.host.now().timestamp();
            let counts = self.answers();
            let coverage = self.coverages.get_mut(test).filter(|_| counts);
            if coverage.is_some_and(|coverage| coverage.refuse_requested(asked, now)) {
                let cause = format!("given up after it was refused three times: {reason}");
                self.report.fail("backfill", &[*test], cause, hint);
            }
            self.lease.write(Key::Coverage, &self.coverages);
        }
    }

    /// Remembers that a form of call does not work; the plan then takes another one.
    pub(super) fn refuse_form(&mut self, call: &PlannedCall, reason: &str) {
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
    pub(super) fn lose_lease(&mut self, call: &PlannedCall) {
        self.stopped = true;
        let hint = "nothing is lost: the other run continues from here; if it happens often, see what suspends this machine, or lower request_timeout_seconds";
        let cause = "another run has taken over".to_owned();
        self.report
            .fail(call.query.kind(), call.query.tests(), cause, hint);
    }

    /// The relay did not take the lines of a call. If it refuses this batch alone, other calls go on.
    fn fail_delivery(&mut self, call: &PlannedCall, error: &RelayError) {
        let tests = call.query.tests();
        self.failed.extend(tests);
        self.exclusions.fail(&call.query, call.purpose);
        self.stopped |= error.is_down();
        self.relay_failed |= error.is_down();
        self.report.fail(
            "sending to the relay",
            tests,
            error.to_string(),
            error.hint(),
        );
    }
}

/// Whether an answer is about the time that was asked for, as far as it says and by the times of its
/// rows, if it has some.
fn is_about(query: &Query, covered: TimeRange, times: Option<TimeRange>) -> bool {
    let Some(asked) = query.range() else {
        return true;
    };
    let near = TimeRange {
        from: asked.from - GAP_TOLERANCE,
        to: asked.to + GAP_TOLERANCE,
    };
    let says_so = query.tests().len() == 1 || covered.from <= asked.from + GAP_TOLERANCE;
    says_so && times.is_none_or(|times| times.intersection(near).is_some())
}
