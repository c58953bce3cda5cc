//! Makes planned calls: fetches, turns to lines, hands over to the relay, and notes what fails.
//!
//! What is remembered of an answer, once all of it is on the relay's disk, is for the caller to say:
//! a run moves cursors, a backfill its progress.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use chrono::{DateTime, SubsecRound, Utc};

use crate::catchpoint::budget::midnight_after;
use crate::catchpoint::error::{Call, CallError, Concerns, Kind, RANGED_HINT, REFUSED_HINT, Split};
use crate::catchpoint::query::Query;
use crate::catchpoint::{Client, Counts};
use crate::config::Settings;
use crate::host::{self, Host, Level};
use crate::relay::{Delivered, RelayClient, RelayError};
use crate::run::cursors;
use crate::run::exclusions::{Verdict, Verdicts};
use crate::run::plan::{self, Coverages, Planned};
use crate::run::report::{Outcome, Report, TypeFigures};
use crate::state::{Key, Lease, State};
use crate::time_range::TimeRange;

/// Remembers an answer that is in the relay as a whole: what was asked, and what it covers.
pub type Keep<'k, 'r> = dyn FnMut(&mut Collector<'r>, &Planned, TimeRange) + 'k;

/// Makes the calls of one run that has the lease, or of one piece of a backfill.
pub struct Collector<'r> {
    /// The world outside.
    pub host: &'r dyn Host,
    /// The configuration.
    pub settings: &'r Settings,
    /// What is kept between runs.
    pub state: State<'r>,
    /// The hand-over to the relay.
    pub relay: RelayClient<'r>,
    /// How far each test's data is in the relay.
    pub coverages: Coverages,
    /// What is known of refused tests.
    pub verdicts: Verdicts,
    /// What is done, and what went wrong.
    pub report: &'r mut Report,
    /// The queries for one test that Catchpoint refused, and why.
    pub refused: Vec<(Query, String)>,
    /// Tests with an answer that is in the relay as a whole.
    pub collected: BTreeSet<u64>,
    /// Nothing more can be done in this run.
    pub over: bool,
    /// The relay does not take lines.
    pub relay_failed: bool,
    /// A limit that is used up, or the time, is no failure: there will be another time.
    pub patient: bool,
    /// What was used up.
    pub spent: Option<CallError>,
    client: Client<'r>,
    lease: Rc<Lease<'r>>,
}

impl<'r> Collector<'r> {
    /// Takes the lease, and whatever must be done is to be done by `deadline`. None if another run
    /// is under way; the report then says so.
    pub fn begin(
        host: &'r dyn Host,
        settings: &'r Settings,
        report: &'r mut Report,
        deadline: DateTime<Utc>,
    ) -> Option<Self> {
        let run_deadline = settings.catchpoint.run_deadline;
        let lease = match Lease::take(host, &report.run, run_deadline) {
            Ok(lease) => Rc::new(lease),
            Err(until) => {
                report.outcome = Outcome::Skipped;
                report.ended = host.now().trunc_subsecs(3);
                let until = until.format("%H:%M:%S UTC");
                let line =
                    format!("another run is under way; its lease ends at {until} at the latest");
                host::log(host, settings.catchpoint.log_level, Level::Info, &line);
                return None;
            }
        };
        let state = State::new(host);
        let coverages = cursors::read(&state, &settings.catchpoint, report);
        let configured: BTreeSet<u64> = settings.catchpoint.test_ids().collect();
        report.tests.configured = configured.len() as u64;
        let mut verdicts: Verdicts = state.read(Key::Verdicts);
        let now = host.now().timestamp();
        verdicts.retain(|test| configured.contains(&test), now);
        Some(Self {
            host,
            settings,
            state,
            client: Client::new(host, &settings.catchpoint, Rc::clone(&lease), deadline),
            relay: RelayClient::new(host, settings, &report.run, deadline, Rc::clone(&lease)),
            coverages,
            verdicts,
            report,
            refused: Vec::new(),
            collected: BTreeSet::new(),
            over: false,
            relay_failed: false,
            patient: false,
            spent: None,
            lease,
        })
    }

    /// Says again which tests are known to be refused, and not asked for in this run.
    pub fn say_refused(&mut self) {
        self.say("refused", Verdicts::refused, REFUSED_HINT);
    }

    /// Says again for which tests no gap is filled, because ranged calls are known to be refused.
    pub fn say_refused_ranged(&mut self) {
        self.say("gap filling", Verdicts::refused_ranged, RANGED_HINT);
    }

    fn say(
        &mut self,
        what: &str,
        verdict: fn(&Verdicts, u64, i64) -> Option<&Verdict>,
        mend: &str,
    ) {
        let now = self.host.now().timestamp();
        for test in self.settings.catchpoint.test_ids() {
            if let Some(verdict) = verdict(&self.verdicts, test, now)
                && let Some(reason) = &verdict.refused
            {
                let again = DateTime::from_timestamp(verdict.until, 0).unwrap_or_default();
                let cause = format!("{reason} (tried again after {})", again.format("%H:%M UTC"));
                self.report.fail(what, &[test], cause, mend);
            }
        }
    }

    /// Whether the day's calls allow one that is not due: what the runs of today still need, at so
    /// many calls each, comes first.
    pub fn may_spend(&mut self, calls_of_a_run: usize) -> bool {
        if self.over {
            return false;
        }
        let now = self.host.now();
        let left_of_day = (midnight_after(now) - now).to_std().unwrap_or_default();
        let runs_left = left_of_day.as_secs() / self.settings.catchpoint.run_every.as_secs().max(1);
        // One more for the token, which may have to be renewed each time.
        let reserved = runs_left.saturating_mul(calls_of_a_run as u64 + 1);
        u64::from(self.client.left_today()) > reserved
    }

    /// Whether the hour's calls allow one that is not due: the runs of the next hour come first.
    pub fn leaves_hour(&mut self, calls_of_a_run: usize) -> bool {
        let next_run = plan::next_run(&self.settings.catchpoint, self.host.now());
        self.client.leaves_hour(next_run, calls_of_a_run + 1)
    }

    /// When the limits allow the next call, if not now.
    pub fn next_call(&mut self) -> Option<DateTime<Utc>> {
        self.client.next_call()
    }

    /// Writes the calls into the report; no more are made.
    pub fn close(&mut self) {
        self.report.calls = self.client.take_calls();
        self.report.ended = self.host.now().trunc_subsecs(3);
    }

    /// Gives the lease back.
    pub fn release(self) {
        self.lease.release();
    }

    /// Makes one planned call. A call that Catchpoint refuses is split, until the tests that it
    /// refuses stand alone.
    ///
    /// `keep` is called for each answer that is in the relay as a whole, with what was asked and the
    /// span that the answer covers.
    pub fn fetch(&mut self, planned: Planned, keep: &mut Keep<'_, 'r>) {
        let most_refusals = planned.query.tests().len().max(1).ilog2() + 3;
        let mut refusals = 0;
        let (mut alone, mut guilty) = (Vec::new(), false);
        let mut queue = VecDeque::from([planned]);
        while let Some(planned) = queue.pop_front() {
            if self.over {
                return;
            }
            if !self.lease.renew() {
                self.lose_lease(&planned);
                return;
            }
            let error = match self.fetch_once(&planned, keep) {
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
            if error.class().split != Split::Now {
                if !error.class().stops_run {
                    let now = self.host.now().timestamp();
                    self.verdicts.failed(&planned.query, now);
                }
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
                [_] => {
                    self.fail(&planned, &error);
                    let refusal = (planned.query.clone(), error.to_string());
                    self.refused.push(refusal);
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

    /// Makes one call and, when all its lines are in the relay, has it remembered.
    fn fetch_once(&mut self, planned: &Planned, keep: &mut Keep<'_, 'r>) -> Result<(), CallError> {
        let prefix = &self.settings.graphite.metric_prefix;
        let (mut counts, mut delivered) = (Counts::default(), Delivered::default());
        let mut batch = String::new();
        let mut next = None;
        let mut fetched = Err(CallError::new(Kind::NoTime, Call::Results, ""));
        let mut posted = Ok(());
        'pages: loop {
            let page = match self.client.fetch_page(&planned.query, next.as_ref()) {
                Ok(page) => page,
                Err(error) => {
                    fetched = Err(error);
                    break;
                }
            };
            let mut lines = page.page.lines(prefix);
            loop {
                let more = lines.fill(&mut batch, self.relay.full());
                posted = self.relay.post(&batch, &mut delivered);
                batch.clear();
                if posted.is_err() {
                    counts.add(lines.counts());
                    break 'pages;
                }
                if !more {
                    break;
                }
            }
            counts.add(lines.counts());
            fetched = Ok(page.covered);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        self.count(planned, &counts, &delivered);
        if let Err(error) = posted {
            self.fail_relay(planned, &error);
            return Ok(());
        }
        let span = fetched?;
        self.verdicts.answered(&planned.query);
        keep(self, planned, span);
        self.report.saw(span);
        let known = self.collected.len();
        self.collected.extend(planned.query.tests());
        let new = (self.collected.len() - known) as u64;
        let types = &mut self.report.types;
        types.entry(planned.test_type.clone()).or_default().tests += new;
        self.report.tests.collected += new;
        Ok(())
    }

    fn count(&mut self, planned: &Planned, figures: &Counts, delivered: &Delivered) {
        let report = &mut *self.report;
        report.samples += figures.samples;
        report.nulls += figures.nulls;
        for (reason, count) in &figures.skipped {
            *report.skipped.entry((*reason).to_owned()).or_default() += count;
        }
        report.lines_accepted += delivered.accepted;
        let figures_of_type: &mut TypeFigures =
            report.types.entry(planned.test_type.clone()).or_default();
        figures_of_type.samples += figures.samples;
        figures_of_type.nulls += figures.nulls;
        figures_of_type.lines_accepted += delivered.accepted;
        self.count_rejected(delivered);
    }

    /// Counts the lines that the relay did not take, and says some of them.
    pub fn count_rejected(&mut self, delivered: &Delivered) {
        for (reason, count) in &delivered.rejected {
            self.report.lines_rejected += count;
            *self.report.rejected.entry(reason.clone()).or_default() += count;
        }
        for example in &delivered.examples {
            let line = format!("the relay rejected a line: {example}");
            self.host.log(Level::Error, &line);
        }
    }

    fn fail(&mut self, planned: &Planned, error: &CallError) {
        self.over |= error.class().stops_run;
        if self.patient && error.class().concerns == Concerns::Limits {
            self.spent = Some(error.clone());
            return;
        }
        self.report.fail(
            planned.query.kind(),
            planned.query.tests(),
            error.to_string(),
            error.class().hint,
        );
    }

    /// This run stood still for so long that another one has begun, which does its work.
    fn lose_lease(&mut self, planned: &Planned) {
        self.over = true;
        let mend = "nothing is lost: the other run goes on from here; if it happens often, see what makes this machine stand still, or lower request_timeout_seconds";
        let cause = "another run has taken over meanwhile".to_owned();
        let report = &mut *self.report;
        report.fail(planned.query.kind(), planned.query.tests(), cause, mend);
    }

    /// Without the relay there is no use in asking Catchpoint for more.
    fn fail_relay(&mut self, planned: &Planned, error: &RelayError) {
        self.over = true;
        self.relay_failed = true;
        self.report.fail(
            "hand-over",
            planned.query.tests(),
            error.to_string(),
            error.hint(),
        );
    }
}
