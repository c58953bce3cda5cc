//! One collection run, from top to bottom.
//!
//! Take the lease; then, call by call inside the API's limits: fetch, turn to lines, hand over to
//! the relay, and only when all lines of the call are on the relay's disk, move the cursors of its
//! tests. What fails is noted and costs no other call. Whatever a run does not get to is still
//! missing by its cursors, and the next run goes on from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

use chrono::{DateTime, SubsecRound};

use crate::catchpoint::budget::midnight_after;
use crate::catchpoint::failure::CallError;
use crate::catchpoint::query::Span;
use crate::catchpoint::row::Found;
use crate::catchpoint::{Client, Taker};
use crate::config::Settings;
use crate::coverage::Coverage;
use crate::delivery::{Delivered, Delivery, DeliveryError};
use crate::host::{Host, Level};
use crate::plan::{self, Coverages, Planned, WINDOW};
use crate::report::{Outcome, Report, TypeFigures};
use crate::state::{Key, Lease, State};
use crate::verdict::Verdicts;

/// Collects once, logs the report and returns it.
pub fn collect(host: &dyn Host, settings: &Settings) -> Report {
    let started = host.now().trunc_subsecs(3);
    let mut report = Report {
        run: format!("{:08x}", host.random() & 0xffff_ffff),
        started,
        ended: started,
        ..Report::default()
    };
    let id = report.run.clone();
    match Lease::take(host, &id) {
        Ok(lease) => {
            Run::new(host, settings, &id, lease, &mut report).collect();
            if report.outcome == Outcome::Ok && !report.failures.is_empty() {
                report.outcome = Outcome::Failed;
            }
        }
        Err(until) => {
            report.outcome = Outcome::Skipped;
            let until = until.format("%H:%M:%S UTC");
            host.log(
                Level::Info,
                &format!("another run is under way; its lease ends at {until} at the latest"),
            );
        }
    }
    report.ended = host.now().trunc_subsecs(3);
    log(host, &report);
    report
}

/// One run that has the lease.
struct Run<'r> {
    host: &'r dyn Host,
    settings: &'r Settings,
    lease: Lease<'r>,
    state: State<'r>,
    client: Client<'r>,
    delivery: Delivery<'r>,
    coverages: Coverages,
    verdicts: Verdicts,
    report: &'r mut Report,
    /// Tests that Catchpoint refused even alone, and why.
    refused: Vec<(u64, String)>,
    /// Tests with an answer that is in the relay as a whole.
    collected: BTreeSet<u64>,
    /// Nothing more can be done in this run.
    over: bool,
}

impl<'r> Run<'r> {
    fn new(
        host: &'r dyn Host,
        settings: &'r Settings,
        id: &'r str,
        lease: Lease<'r>,
        report: &'r mut Report,
    ) -> Self {
        let state = State::new(host);
        let deadline = report.started + settings.catchpoint.run_deadline;
        Self {
            host,
            settings,
            lease,
            state,
            client: Client::new(host, &settings.catchpoint, deadline),
            delivery: Delivery::new(host, settings, id, deadline),
            coverages: state.read(Key::Coverage),
            verdicts: state.read(Key::Verdicts),
            report,
            refused: Vec::new(),
            collected: BTreeSet::new(),
            over: false,
        }
    }

    fn collect(mut self) {
        self.begin();
        let now = self.host.now().timestamp();
        let regular = plan::regular(
            &self.settings.catchpoint,
            &self.coverages,
            &self.verdicts,
            now,
        );
        let regular_calls = regular.len();
        for planned in regular {
            self.fetch(planned);
        }
        // Planned only now, because the answers have shown what is missing.
        let now = self.host.now().timestamp();
        for planned in plan::gap_fills(
            &self.settings.catchpoint,
            &self.coverages,
            &self.verdicts,
            now,
        ) {
            if !self.may_fill_gaps(regular_calls) {
                break;
            }
            self.fetch(planned);
        }
        self.finish();
    }

    /// Forgets tests that are not configured any more, gives up what is too old, and says again
    /// what is known to be refused.
    fn begin(&mut self) {
        let now = self.host.now().timestamp();
        let settings = &self.settings.catchpoint;
        let configured: BTreeSet<u64> = settings.test_ids().collect();
        self.report.tests.configured = configured.len() as u64;
        self.coverages.retain(|test, _| configured.contains(test));
        self.verdicts.retain(|test| configured.contains(&test));
        let oldest = now - i64::try_from(settings.max_backfill.as_secs()).unwrap_or(i64::MAX);
        let mut too_old = Vec::new();
        for (test, coverage) in &mut self.coverages {
            let lost = coverage.give_up_before(oldest);
            if lost > 0 {
                self.report.gaps.aged_out += lost;
                too_old.push(*test);
            }
        }
        if !too_old.is_empty() {
            let cause = format!(
                "{} s of results, summed over the tests, are older than max_backfill_hours and lost",
                self.report.gaps.aged_out
            );
            let mend = "fetch them with `backfill` if Catchpoint still has them; raise max_backfill_hours for longer outages";
            self.report.fail("gap", &too_old, cause, mend);
        }
        for test in configured {
            if let Some(verdict) = self.verdicts.refused(test, now)
                && let Some(reason) = &verdict.refused
            {
                let again = DateTime::from_timestamp(verdict.until, 0).unwrap_or_default();
                let cause = format!("{reason} (tried again after {})", again.format("%H:%M UTC"));
                self.report.fail(
                    "refused",
                    &[test],
                    cause,
                    CallError::Refused(String::new()).mend(),
                );
            }
        }
    }

    /// Makes one planned call. A call that Catchpoint refuses is split, until the tests that it
    /// refuses stand alone.
    fn fetch(&mut self, planned: Planned) {
        let most_refusals = planned.query.tests().len().max(1).ilog2() + 3;
        let mut refusals = 0;
        let (mut alone, mut guilty) = (Vec::new(), false);
        let mut queue = VecDeque::from([planned]);
        while let Some(planned) = queue.pop_front() {
            if self.over {
                return;
            }
            self.lease.renew();
            let error = match self.fetch_once(&planned) {
                Ok(()) => {
                    if refusals > 0 && planned.query.tests().len() == 1 {
                        alone.extend_from_slice(planned.query.tests());
                    }
                    refusals = refusals.min(1);
                    continue;
                }
                Err(error) => error,
            };
            let tests = planned.query.tests();
            if !error.is_refusal() {
                self.fail(&planned, &error);
                continue;
            }
            refusals += 1;
            // Refused in every part: the tests are not what it is about.
            if refusals > most_refusals {
                self.fail(&planned, &error);
                for rest in &queue {
                    self.fail(rest, &error);
                }
                return;
            }
            match tests {
                [test] => {
                    self.fail(&planned, &error);
                    self.refused.push((*test, error.to_string()));
                    guilty = true;
                }
                _ => {
                    let (first, second) = tests.split_at(tests.len() / 2);
                    for half in [second, first] {
                        queue.push_front(Planned {
                            query: planned.query.with_tests(half),
                            test_type: planned.test_type.clone(),
                        });
                    }
                }
            }
        }
        // Each of them is answered, but not with the others: one is of another type or division.
        let now = self.host.now().timestamp();
        for test in alone.into_iter().filter(|_| !guilty) {
            self.verdicts.set_alone(test, now);
        }
    }

    /// Makes one call and, when all its lines are in the relay, moves the cursors.
    fn fetch_once(&mut self, planned: &Planned) -> Result<(), CallError> {
        let mut intake = Intake {
            delivery: &mut self.delivery,
            page: Figures::default(),
            total: Figures::default(),
        };
        let fetched = self.client.fetch(&planned.query, &mut intake);
        let figures = intake.total;
        if fetched.is_err() {
            self.delivery.discard();
        }
        let delivered = match self.delivery.flush() {
            Ok(delivered) => delivered,
            Err((delivered, error)) => {
                self.count(planned, &figures, &delivered);
                self.relay_failed(planned, &error);
                return Err(CallError::Stopped);
            }
        };
        self.count(planned, &figures, &delivered);
        let span = fetched?;
        self.move_cursors(planned, span);
        Ok(())
    }

    fn move_cursors(&mut self, planned: &Planned, span: Span) {
        let now = self.host.now().timestamp();
        let overlap = i64::try_from(self.settings.catchpoint.overlap.as_secs()).unwrap_or(0);
        let tests = planned.query.tests();
        for test in tests {
            let coverage = self.coverages.entry(*test).or_insert_with(|| {
                Coverage::starting(span.from.max(now - WINDOW - overlap).min(span.to))
            });
            let before = coverage.missing();
            let found = coverage.cover(span);
            coverage.settle(span, now, overlap);
            self.report.gaps.found += found;
            self.report.gaps.filled += before + found - coverage.missing();
            if self.verdicts.acquit(*test) {
                self.host
                    .log(Level::Info, &format!("test {test} is answered again"));
            }
        }
        self.report.saw(span);
        let known = self.collected.len();
        self.collected.extend(tests);
        let new = (self.collected.len() - known) as u64;
        let types = &mut self.report.types;
        types.entry(planned.test_type.clone()).or_default().tests += new;
        self.report.tests.collected += new;
        self.state.write(Key::Coverage, &self.coverages);
    }

    fn count(&mut self, planned: &Planned, figures: &Figures, delivered: &Delivered) {
        let report = &mut *self.report;
        report.samples += figures.samples;
        report.nulls += figures.nulls;
        for (reason, count) in &figures.skipped {
            *report.skipped.entry((*reason).to_owned()).or_default() += count;
        }
        report.lines_accepted += delivered.accepted;
        for (reason, count) in &delivered.rejected {
            report.lines_rejected += count;
            *report.rejected.entry(reason.clone()).or_default() += count;
        }
        for example in &delivered.examples {
            self.host.log(
                Level::Error,
                &format!("the relay rejected a line: {example}"),
            );
        }
        let figures_of_type: &mut TypeFigures =
            report.types.entry(planned.test_type.clone()).or_default();
        figures_of_type.samples += figures.samples;
        figures_of_type.nulls += figures.nulls;
        figures_of_type.lines_accepted += delivered.accepted;
    }

    fn fail(&mut self, planned: &Planned, error: &CallError) {
        if *error == CallError::Stopped {
            return;
        }
        self.over |= error.ends_run();
        self.report.fail(
            planned.query.kind(),
            planned.query.tests(),
            error.to_string(),
            error.mend(),
        );
    }

    /// Without the relay there is no use in asking Catchpoint for more.
    fn relay_failed(&mut self, planned: &Planned, error: &DeliveryError) {
        self.over = true;
        self.report.fail(
            "hand-over",
            planned.query.tests(),
            error.to_string(),
            error.mend(),
        );
    }

    /// Whether the day's calls allow one more gap to be filled: what the runs of today still need
    /// comes first.
    fn may_fill_gaps(&mut self, regular_calls: usize) -> bool {
        if self.over {
            return false;
        }
        let now = self.host.now();
        let left_of_day = (midnight_after(now) - now).to_std().unwrap_or_default();
        let runs_left = left_of_day.as_secs() / self.settings.catchpoint.run_every.as_secs().max(1);
        // One more for the token, which may have to be renewed each time.
        let reserved = runs_left.saturating_mul(regular_calls as u64 + 1);
        u64::from(self.client.left_today()) > reserved
    }

    /// Remembers which tests were refused alone. While Catchpoint refuses everything, it is not
    /// about single tests.
    fn judge(&mut self) {
        let now = self.host.now().timestamp();
        if !self.collected.is_empty() {
            for (test, reason) in std::mem::take(&mut self.refused) {
                self.verdicts.refuse(test, reason, now);
                self.coverages.remove(&test);
            }
        }
        self.state.write(Key::Verdicts, &self.verdicts);
    }

    fn finish(mut self) {
        self.judge();
        // What is between windows, and what lies between a cursor and the window before this run. A
        // refused test has no cursor, and misses nothing until it is answered again.
        let due = self.report.started.timestamp() - WINDOW;
        let open = |coverage: &Coverage| coverage.missing() + (due - coverage.until()).max(0);
        self.report.gaps.open = self.coverages.values().map(open).sum();
        self.report.calls = self.client.into_calls();
        self.report.ended = self.host.now().trunc_subsecs(3);
        if let (Some(prefix), false) = (&self.settings.graphite.self_metrics_prefix, self.over) {
            self.delivery.push_line(&self.report.lines(prefix));
            if let Err((_, error)) = self.delivery.flush() {
                self.report.fail(
                    "hand-over of the run's own figures",
                    &[],
                    error.to_string(),
                    error.mend(),
                );
            }
        }
        self.state.write(Key::Coverage, &self.coverages);
        self.lease.release();
    }
}

/// Counts of one page or call.
#[derive(Debug, Clone, Default)]
struct Figures {
    samples: u64,
    nulls: u64,
    skipped: BTreeMap<&'static str, u64>,
}

/// Takes the samples of a call to the delivery.
struct Intake<'i, 'r> {
    delivery: &'i mut Delivery<'r>,
    page: Figures,
    total: Figures,
}

impl Taker for Intake<'_, '_> {
    fn begin(&mut self) {
        self.page = Figures::default();
        self.delivery.discard();
    }

    fn take(&mut self, found: Found<'_>) -> ControlFlow<()> {
        match found {
            Found::Null => self.page.nulls += 1,
            Found::Skipped(reason) => *self.page.skipped.entry(reason).or_default() += 1,
            Found::Sample(sample) => {
                self.page.samples += 1;
                match self.delivery.push(&sample) {
                    Ok(true) => {}
                    Ok(false) => return ControlFlow::Break(()),
                    Err(unfit) => *self.page.skipped.entry(unfit.name()).or_default() += 1,
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn commit(&mut self) {
        self.delivery.keep();
        let page = std::mem::take(&mut self.page);
        self.total.samples += page.samples;
        self.total.nulls += page.nulls;
        for (reason, count) in page.skipped {
            *self.total.skipped.entry(reason).or_default() += count;
        }
    }
}

fn log(host: &dyn Host, report: &Report) {
    // Rejected lines and aged-out windows are lost; every other failure is made up for later.
    let lost = report.lines_rejected > 0 || report.gaps.aged_out > 0;
    let level = match report.outcome {
        _ if lost => Level::Error,
        Outcome::Failed => Level::Warn,
        Outcome::Ok | Outcome::Skipped => Level::Info,
    };
    host.log(level, &report.to_string());
    if report.outcome != Outcome::Skipped {
        State::new(host).write(Key::Report, report);
    }
}

/// The report of the last run that did something, if there was one.
pub fn last_report(host: &dyn Host) -> Option<Report> {
    State::new(host).read::<Option<Report>>(Key::Report)
}
