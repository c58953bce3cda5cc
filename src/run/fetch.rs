//! One call to its end: fetched page by page, its lines handed to the relay, its results counted as
//! fetched.

use super::Run;
use crate::catchpoint::error::{CallError, Concerns, Kind};
use crate::catchpoint::page::Counts;
use crate::host::Level;
use crate::relay::{Delivered, RelayError};
use crate::run::coverage::GAP_TOLERANCE;
use crate::run::plan::{self, PlannedCall};
use crate::run::purpose::Purpose;
use crate::run::report::{Failure, PushFigures, TypeFigures};
use crate::state::Key;
use crate::time_range::{TimeRange, seconds};
use crate::webhook;

impl Run<'_> {
    /// Makes one call. When all its lines are in the relay, its time counts as fetched. Returns
    /// whether they are; if not, that is noted.
    pub(super) fn fetch_once(&mut self, call: &PlannedCall) -> Result<bool, CallError> {
        let (mut said, mut times, mut sent) = (None, None, i64::MAX);
        let (mut next, mut cut) = (None, false);
        loop {
            let fetched = self.client.fetch_page(&call.query, next.as_ref())?;
            let names = &self.settings.graphite;
            let mut lines = fetched.page.lines(names, &call.test_type);
            let mut batch = Vec::new();
            loop {
                let more = lines.fill(&mut batch, self.relay.full());
                if !self.deliver(call, &mut batch, more) {
                    return Ok(false);
                }
                if !more {
                    break;
                }
            }
            self.count(call, lines.counts());
            said = both(said, fetched.page.answer.span);
            times = both(times, lines.times());
            sent = sent.min(fetched.sent);
            cut |= fetched.cut;
            if fetched.cut {
                let cause = "the answer says that there is more, but no further page can be found";
                let hint = "results may be missing: ask Catchpoint's support how raw data of this version is paged";
                let (kind, tests) = (call.query.kind(), call.query.tests());
                self.report.fail(kind, tests, cause, hint);
            }
            next = fetched.next;
            if next.is_none() {
                break;
            }
        }
        // Where results are missing, the range of the others says how far they reach.
        let covered = call.query.covered(said, times.filter(|_| !cut), sent);
        if !is_about(call, covered, times) {
            return Err(CallError::other_time(&call.query));
        }
        self.record(call, covered).map(|()| true)
    }

    /// Hands a batch of lines to the relay; while there is `more`, it may still be on its way. If the
    /// relay refuses this batch alone, other calls go on.
    fn deliver(&mut self, call: &PlannedCall, batch: &mut Vec<u8>, more: bool) -> bool {
        if let Some(lines) = &mut self.dry_run {
            lines.append(batch);
            return true;
        }
        let (accepted, posted) = self.post(batch, more);
        self.of_type(call).lines_accepted += accepted;
        self.report.lines_accepted += accepted;
        let Err(error) = posted else {
            return true;
        };
        let tests = call.query.tests();
        self.failed.extend(tests);
        self.exclusions.fail(&call.query, call.purpose);
        self.stopped |= error.is_down();
        self.relay_failed |= error.is_down();
        let cause = error.to_string();
        self.report
            .fail("sending to the relay", tests, &cause, error.hint());
        false
    }

    /// All results of a call are in the relay.
    fn record(&mut self, call: &PlannedCall, covered: TimeRange) -> Result<(), CallError> {
        let tests = call.query.tests();
        self.collected.extend(tests);
        let collected = self.collected.len() as u64;
        self.of_type(call).tests += collected - self.report.tests.collected;
        self.report.tests.collected = collected;
        self.report.extend_window(covered);
        self.answers = true;
        if self.dry_run.is_some() {
            return Ok(());
        }
        let mut progress = false;
        for test in tests {
            progress |= self.cover(*test, call, covered);
        }
        if !self.lease.write(Key::Coverage, &self.coverages) && !self.lease.is_held() {
            return Err(CallError::new(Kind::LeaseLost, ""));
        }
        if call.purpose != Purpose::Regular {
            if !progress {
                // The same call would be made again, without end.
                return Err(CallError::other_time(&call.query));
            }
            self.refused_past = None;
        }
        for test in self.exclusions.clear(&call.query, call.purpose) {
            self.log(Level::Info, &format!("test {test} is answered again"));
        }
        Ok(())
    }

    /// Counts a range of a test as fetched. Returns whether that changed what is to be fetched.
    fn cover(&mut self, test: u64, call: &PlannedCall, covered: TimeRange) -> bool {
        let settings = &self.settings.catchpoint;
        let expected = plan::expected_through(settings, self.report.started.timestamp());
        let now = self.host.now().timestamp();
        let Some(coverage) = self.coverages.get_mut(&test) else {
            return true;
        };
        let before = coverage.clone();
        let range = match call.purpose {
            Purpose::Regular => covered,
            // Only regular calls move the end of what was fetched.
            Purpose::Gap | Purpose::Requested => TimeRange {
                to: covered.to.min(coverage.until()),
                ..covered
            },
        };
        let change = coverage.cover(range);
        // What a call brings from before the regular window was a gap, found and filled at once.
        let late = coverage.until().min(expected) - before.until().max(range.from);
        let late = if late > GAP_TOLERANCE { late } else { 0 };
        coverage.settle(range, now, seconds(settings.overlap));
        if let (Purpose::Requested, Some(asked)) = (call.purpose, call.query.range()) {
            coverage.answer_requested(asked, covered);
        }
        let changed = *coverage != before;
        self.report.gaps.found += change.found + late;
        self.report.gaps.filled += change.filled + late;
        let cause = "there are too many gaps to keep; the shortest are lost";
        self.report.lose(test, change.given_up, cause);
        changed
    }

    fn of_type(&mut self, call: &PlannedCall) -> &mut TypeFigures {
        self.report.types.entry(call.test_type.clone()).or_default()
    }

    fn count(&mut self, call: &PlannedCall, counts: &Counts) {
        let of_type = self.of_type(call);
        of_type.samples += counts.samples;
        of_type.nulls += counts.nulls;
        self.report.samples += counts.samples;
        self.report.nulls += counts.nulls;
        self.report.unlabelled += counts.unlabelled;
        let now = self.host.now().timestamp();
        let age = now.saturating_mul(i64::try_from(counts.rows).unwrap_or(i64::MAX));
        self.polled_rows += counts.rows;
        self.polled_age += u64::try_from(age.saturating_sub(counts.row_seconds)).unwrap_or(0);
        for (reason, count) in &counts.skipped {
            *self.report.skipped.entry((*reason).to_owned()).or_default() += count;
        }
    }

    /// Posts lines, counts those that the relay rejected, and logs some of them. Returns how many it
    /// accepted.
    fn post(&mut self, lines: &mut Vec<u8>, more: bool) -> (u64, Result<(), RelayError>) {
        let mut delivered = Delivered::default();
        let posted = self.relay.post(lines, more, &mut delivered);
        for (reason, count) in &delivered.rejected {
            self.report.lines_rejected += count;
            *self.report.rejected.entry(reason.clone()).or_default() += count;
        }
        for example in &delivered.examples {
            let line = format!("the relay rejected a line: {example}");
            self.host.log(Level::Error, &line);
        }
        (delivered.accepted, posted)
    }

    /// Asks the relay how much was pushed since the run before, if somebody can push.
    pub(super) fn measure_push(&mut self) {
        if self.relay_failed || !webhook::is_open(self.host) {
            return;
        }
        let Some(pushed) = self.relay.pushed() else {
            let note = "how much was pushed is not known: the relay's /metrics does not answer with it; update the relay, and let the component reach this path";
            self.report.notes.push(note.to_owned());
            return;
        };
        let polled_late = self.polled_age / self.polled_rows.max(1);
        let figures = PushFigures::new(pushed, self.pushed_before, polled_late);
        self.report.push = Some(figures);
    }

    /// Sends the collector's own metrics.
    pub(super) fn send_own_metrics(&mut self, lines: String) {
        if let (_, Err(error)) = self.post(&mut lines.into_bytes(), false) {
            let what = "sending the collector's own metrics";
            self.report
                .fail(what, &[], &error.to_string(), error.hint().advice);
        }
    }

    /// Notes that a call failed.
    pub(super) fn fail(&mut self, call: &PlannedCall, error: &CallError) {
        let class = error.class();
        self.stopped |= class.stops_run;
        self.failed.extend(call.query.tests());
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
            tests: call.query.tests().to_vec(),
            cause: error.to_string(),
            hint: class.hint.to_string(),
            lasting: error.kind == Kind::Credentials,
        });
    }
}

/// Whether an answer is about the time that was asked for, as far as it says and by the times of its
/// rows, if it has some.
fn is_about(call: &PlannedCall, covered: TimeRange, times: Option<TimeRange>) -> bool {
    let Some(asked) = call.query.range() else {
        return true;
    };
    let near = TimeRange {
        from: asked.from - GAP_TOLERANCE,
        to: asked.to + GAP_TOLERANCE,
    };
    // For several tests at once, v1 may pass over the range and answer with the last 15 minutes.
    let begins = call.query.tests().len() == 1
        || call.purpose == Purpose::Regular
        || covered.from <= asked.from + GAP_TOLERANCE;
    let is_rows = times.is_none_or(|times| times.intersection(near).is_some());
    covered.from < covered.to && begins && is_rows
}

/// The shortest range that holds both.
fn both(a: Option<TimeRange>, b: Option<TimeRange>) -> Option<TimeRange> {
    a.into_iter().chain(b).reduce(TimeRange::and)
}
