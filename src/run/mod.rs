//! One run, from top to bottom, and the only place that changes it.
//!
//! Take the lease; make the regular calls, then those for missing time, then those for requested
//! time, as far as limits and time allow. A call's results become lines, the lines go to the relay,
//! and only when all of them are on the relay's disk they count as fetched. What fails is noted and
//! costs no other call. What a run does not get to is still missing, and the next run fetches it.
//!
//! # Layout
//! - [`plan`] which calls, in which order; [`fetch`] one call to its end
//! - [`coverage`] what is in the relay and what is missing; [`requests`] the backfills
//! - [`exclusions`] what was learned from refused calls
//! - [`report`] what a run did

pub mod coverage;
pub mod exclusions;
mod fetch;
pub mod plan;
pub mod report;
pub mod requests;

use std::collections::BTreeSet;
use std::rc::Rc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::catchpoint::budget::midnight_after;
use crate::catchpoint::error::{RANGED_HINT, REFUSED_HINT};
use crate::catchpoint::{CallError, Client};
use crate::config::Settings;
use crate::config::catchpoint::ApiVersion;
use crate::host::{self, Host, Level};
use crate::http_api::Backfill;
use crate::relay::RelayClient;
use crate::run::coverage::{Coverage, Coverages};
use crate::run::exclusions::{Exclusion, Exclusions, REFUSED_ALL, Refusal};
use crate::run::plan::{GAP_TOLERANCE, Plan, PlannedCall, Purpose, seconds};
use crate::run::report::{Excluded, Outcome, Report, time};
use crate::run::requests::Request;
use crate::state::{Key, Lease, Priority, Store};
use crate::time_range::TimeRange;

/// How long after a run is due a backfill continues: the run goes first.
const AFTER_RUN: TimeDelta = TimeDelta::seconds(10);

/// How long after the run's deadline the relay may still take lines.
const AFTER_DEADLINE: TimeDelta = TimeDelta::seconds(30);

/// Collects once, logs the report and returns it.
pub fn collect(host: &dyn Host, settings: &Settings) -> Report {
    let report = match Run::begin(host, settings, Mode::Collect) {
        Ok(run) => run.collect(),
        Err(skipped) => *skipped,
    };
    let wanted = settings.catchpoint.log_level;
    host::log(host, wanted, report.level(), &report.to_string());
    report
}

/// Makes the regular calls of a run and returns their lines instead of sending them. Calls count
/// against the limits, a token is kept, and nothing else is remembered.
pub fn collect_dry(host: &dyn Host, settings: &Settings) -> (Report, String) {
    match Run::begin(host, settings, Mode::Dry) {
        Ok(run) => run.collect_dry(),
        Err(skipped) => (*skipped, String::new()),
    }
}

/// Requests a past time range, and makes up to `calls` of the calls for requested time.
pub fn backfill(host: &dyn Host, settings: &Settings, range: TimeRange, calls: u32) -> Backfill {
    let answer = match Run::begin(host, settings, Mode::Backfill) {
        Ok(run) => run.backfill(range, calls),
        Err(report) => {
            let store = Store::new(host);
            let requests: Vec<Request> = store.read(Key::Backfills);
            let coverages: Coverages = store.read(Key::Coverage);
            let catchpoint = &settings.catchpoint;
            Backfill {
                progress: requests::progress_of(&requests, catchpoint, &coverages, range),
                continue_at: Some(host.now() + AFTER_RUN),
                waits_for: Some("run"),
                report: *report,
            }
        }
    };
    let report = &answer.report;
    if report.level() > Level::Info {
        let line = format!("{}; {report}", answer.progress);
        host::log(host, settings.catchpoint.log_level, report.level(), &line);
    }
    answer
}

/// The report of the last run that did something, as JSON, if there was one.
pub fn last_report(host: &dyn Host) -> Option<String> {
    Store::new(host).text(Key::Report)
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// To collect what is new, and then what is missing and requested.
    Collect,
    /// To show what it would collect.
    Dry,
    /// To make some calls for requested time.
    Backfill,
}

/// A run that has the lease.
struct Run<'r> {
    host: &'r dyn Host,
    settings: &'r Settings,
    lease: Rc<Lease<'r>>,
    client: Client<'r>,
    relay: RelayClient<'r>,
    coverages: Coverages,
    exclusions: Exclusions,
    requests: Vec<Request>,
    report: Report,
    /// When the last collection run began; the next ones are due at its distance.
    last_run: DateTime<Utc>,
    /// Catchpoint answered the last collection run.
    answers: bool,
    /// Tests with results that are in the relay.
    collected: BTreeSet<u64>,
    /// Tests of calls that failed; no other call of this run is made for them.
    failed: BTreeSet<u64>,
    /// Queries for one test that Catchpoint refused.
    refusals: Vec<Refusal>,
    /// Calls that failed, and are split if Catchpoint answers others.
    deferred: Vec<(PlannedCall, CallError)>,
    /// A call for past time was answered.
    past_answered: bool,
    /// What a backfill waits for.
    exhausted: Option<CallError>,
    /// No more calls are made.
    stopped: bool,
    /// The relay does not answer.
    relay_failed: bool,
    /// The lines, if they are not sent.
    dry_run: Option<String>,
}

impl<'r> Run<'r> {
    /// Takes the lease and reads what earlier runs have left.
    ///
    /// # Errors
    /// Another run is under way, which the report says.
    fn begin(
        host: &'r dyn Host,
        settings: &'r Settings,
        mode: Mode,
    ) -> Result<Self, Box<Report>> {
        let mut report = Report::begun(host);
        let priority = match mode {
            Mode::Collect | Mode::Dry => Priority::Run,
            Mode::Backfill => Priority::Backfill,
        };
        let lease = match Lease::take(host, &report.run, priority) {
            Ok(lease) => Rc::new(lease),
            Err(until) => {
                report.outcome = Outcome::Skipped;
                report.ended = host.now().trunc_subsecs(3);
                let until = until.format("%H:%M:%S UTC");
                let line =
                    format!("another run is under way; its lease ends at {until} at the latest");
                host::log(host, settings.catchpoint.log_level, Level::Info, &line);
                return Err(Box::new(report));
            }
        };
        let catchpoint = &settings.catchpoint;
        let last: Option<Report> = lease.store().find(Key::Report).unwrap_or_default();
        let (last_run, answers) = match (mode, last) {
            (Mode::Backfill, Some(last)) => (last.started, last.tests.collected > 0),
            _ => (report.started, false),
        };
        let (mut coverages, changed) = coverage::load(&lease, catchpoint, &mut report);
        if changed && mode != Mode::Dry {
            lease.write(Key::Coverage, &coverages);
        }
        let requests = requests::load(&lease, catchpoint, &mut coverages);
        let configured: BTreeSet<u64> = catchpoint.test_ids().collect();
        report.tests.configured = configured.len() as u64;
        let mut exclusions: Exclusions = lease.store().read(Key::Exclusions);
        exclusions.retain(|test| configured.contains(&test), host.now().timestamp());
        let deadline = report.started + catchpoint.run_deadline;
        Ok(Self {
            host,
            settings,
            client: Client::new(host, catchpoint, Rc::clone(&lease), deadline),
            // The results of the last call are worth some more seconds.
            relay: RelayClient::new(
                host,
                settings,
                &report.run,
                deadline + AFTER_DEADLINE,
                Rc::clone(&lease),
            ),
            lease,
            coverages,
            exclusions,
            requests,
            report,
            last_run,
            answers,
            collected: BTreeSet::new(),
            failed: BTreeSet::new(),
            refusals: Vec::new(),
            deferred: Vec::new(),
            past_answered: false,
            exhausted: None,
            stopped: false,
            relay_failed: false,
            dry_run: (mode == Mode::Dry).then(String::new),
        })
    }

    fn collect(mut self) -> Report {
        self.give_up_what_is_too_old();
        self.report_refused();
        self.make_regular_calls();
        // Of a test that is answered again after a long time, once more.
        self.give_up_what_is_too_old();
        self.fill_gaps();
        self.record_refusals();
        self.fill_requested(u32::MAX);
        self.finish()
    }

    fn collect_dry(mut self) -> (Report, String) {
        self.make_regular_calls();
        self.report.calls = self.client.take_calls();
        self.report.end(self.host.now());
        self.lease.release();
        (self.report, self.dry_run.unwrap_or_default())
    }

    fn backfill(mut self, range: TimeRange, calls: u32) -> Backfill {
        let catchpoint = &self.settings.catchpoint;
        let before = self.requests.len();
        requests::add(&mut self.requests, catchpoint, &mut self.coverages, range);
        if self.requests.len() > before {
            self.exclusions.retry_refused();
            requests::save(&self.lease, &self.requests, &self.coverages);
            self.lease.write(Key::Exclusions, &self.exclusions);
        }
        self.fill_requested(calls);
        let progress = requests::progress_of(&self.requests, catchpoint, &self.coverages, range);
        let (continue_at, waits_for) = match progress.finished {
            true => (None, None),
            false => self.continue_at(),
        };
        let report = self.finish_backfill();
        Backfill { progress, continue_at, waits_for, report }
    }

    fn plan(&self) -> Plan<'_> {
        Plan {
            settings: &self.settings.catchpoint,
            coverages: &self.coverages,
            exclusions: &self.exclusions,
            now: self.host.now().timestamp(),
        }
    }

    fn make_regular_calls(&mut self) {
        // Use the time the coverage was read, or the seconds since would expire.
        let now = self.report.started.timestamp();
        let calls = Plan { now, ..self.plan() }.regular();
        for call in calls {
            self.fetch(call);
        }
        self.split_deferred();
        self.record_refusals();
    }

    fn fill_gaps(&mut self) {
        while self.may_spend() {
            let Some(call) = self.plan().next_gap(&self.failed) else {
                break;
            };
            self.fetch(call);
            self.split_deferred();
            if self.refusals.len() >= REFUSED_ALL && !self.past_answered {
                break;
            }
        }
    }

    /// Makes the calls for requested time, one after the other; a collection run that waits goes
    /// first.
    fn fill_requested(&mut self, most: u32) {
        if self.requests.is_empty() || most == 0 {
            return;
        }
        self.lease.yield_to_runs();
        self.leave_out_refused();
        for _ in 0..most {
            if !self.may_spend() || self.lease.is_awaited() {
                break;
            }
            let Some(call) = self.plan().next_requested(&self.failed) else {
                break;
            };
            self.fetch(call);
            self.split_deferred();
            self.record_refusals();
        }
    }

    /// A test that Catchpoint refuses has no past time either.
    fn leave_out_refused(&mut self) {
        let all = TimeRange { from: i64::MIN, to: i64::MAX };
        let tests: Vec<u64> = self.settings.catchpoint.test_ids().collect();
        for test in tests {
            let coverage = self.coverages.get_mut(&test);
            let coverage = coverage.filter(|coverage| coverage.requested_in(all) > 0);
            if let (Some(coverage), true) = (coverage, self.exclusions.is_refused(test)) {
                coverage.cancel(all);
                let cause = "left out: Catchpoint refuses this test".to_owned();
                self.report.fail("backfill", &[test], cause, REFUSED_HINT);
            }
        }
    }

    /// Whether Catchpoint answers calls, so that a refusal is about a test.
    fn answers(&self) -> bool {
        self.answers || !self.collected.is_empty()
    }

    /// Whether limits allow a call that is not regular: what the runs of the day and of the next
    /// hour need comes first.
    fn may_spend(&mut self) -> bool {
        !self.stopped && self.leaves_day() && self.leaves_hour()
    }

    fn calls_per_run(&self) -> u64 {
        let now = self.host.now().timestamp();
        plan::announce(&self.settings.catchpoint, &self.exclusions, now).per_run
    }

    fn leaves_day(&mut self) -> bool {
        let now = self.host.now();
        let left_of_day = (midnight_after(now) - now).to_std().unwrap_or_default();
        let every = self.settings.catchpoint.run_every.as_secs().max(1);
        let reserved = (left_of_day.as_secs() / every).saturating_mul(self.calls_per_run());
        u64::from(self.client.left_today()) > reserved
    }

    fn leaves_hour(&mut self) -> bool {
        let next = plan::next_run(&self.settings.catchpoint, self.last_run, self.host.now());
        let calls = usize::try_from(self.calls_per_run()).unwrap_or(usize::MAX);
        self.client.leaves_hour(next, calls)
    }

    /// When a backfill continues, and what it waits for.
    fn continue_at(&mut self) -> (Option<DateTime<Utc>>, Option<&'static str>) {
        let now = self.host.now();
        let next_run = plan::next_run(&self.settings.catchpoint, self.last_run, now) + AFTER_RUN;
        if let Some(error) = &self.exhausted {
            let until = error.limit.map_or(next_run, |(_, until)| until);
            return (Some(until), Some(fetch::waits_for(error)));
        }
        if self.stopped {
            return (None, None);
        }
        if !self.leaves_day() {
            return (Some(midnight_after(now) + AFTER_RUN), Some("day"));
        }
        if !self.leaves_hour() {
            return (Some(next_run), Some("hour"));
        }
        if self.lease.is_awaited() {
            return (Some(now + AFTER_RUN), Some("run"));
        }
        match (self.client.next_call(), self.plan().next_requested(&self.failed)) {
            (_, None) => (None, None),
            (Some(until), _) if until > now + TimeDelta::seconds(2) => (Some(until), Some("minute")),
            _ => (Some(now), None),
        }
    }

    /// The tests that can miss something. A refused one has nothing to lose; its coverage stays where
    /// it was refused, for the day on which it is answered again.
    fn asked_for(&self) -> Vec<u64> {
        let configured = self.settings.catchpoint.test_ids();
        configured
            .filter(|test| !self.exclusions.is_refused(*test))
            .collect()
    }

    fn give_up_what_is_too_old(&mut self) {
        let max_backfill = seconds(self.settings.catchpoint.max_backfill);
        let oldest = self.report.started.timestamp() - max_backfill;
        for test in self.asked_for() {
            let coverage = self.coverages.get_mut(&test);
            let lost = coverage.map_or(0, |coverage| coverage.give_up_before(oldest));
            if lost > 0 {
                self.lose(test, lost, "results are older than max_backfill_hours and lost");
            }
        }
    }

    /// Notes that seconds of a test are lost.
    fn lose(&mut self, test: u64, seconds: i64, cause: &str) {
        self.report.gaps.aged_out += seconds;
        let hint = "fetch them with `backfill` if Catchpoint still has them; raise max_backfill_hours for longer outages";
        self.report.fail("gap", &[test], cause.to_owned(), hint);
    }

    /// Notes which tests are skipped, and for which no gap is filled.
    fn report_refused(&mut self) {
        let now = self.host.now().timestamp();
        let (settings, exclusions) = (self.settings, &self.exclusions);
        let mut skipped = |calls: &str, test: Option<u64>, exclusion: &Exclusion| {
            let reason = exclusion.reason.clone().unwrap_or_default();
            let (since, until) = (time(exclusion.since), time(exclusion.until));
            let cause = format!(
                "skipped until {}, refused since {}: {reason}",
                until.format("%Y-%m-%d %H:%M UTC"),
                since.format("%Y-%m-%d %H:%M UTC")
            );
            let (what, hint) = match (calls, settings.catchpoint.version) {
                ("all", _) => ("calls", REFUSED_HINT),
                (_, ApiVersion::V1) => ("gap filling", RANGED_HINT),
                _ => ("gap filling", REFUSED_HINT),
            };
            let tests: Vec<u64> = test.into_iter().collect();
            self.report.fail(what, &tests, cause, hint);
            self.report.excluded.extend(test.map(|test| Excluded {
                test,
                calls: calls.to_owned(),
                since,
                until,
                reason,
            }));
        };
        for test in settings.catchpoint.test_ids() {
            if let Some(exclusion) = exclusions.refused(test, Purpose::Regular, now) {
                skipped("all", Some(test), exclusion);
            } else if let Some(exclusion) = exclusions.refused(test, Purpose::Gap, now) {
                skipped("gaps", Some(test), exclusion);
            }
        }
        if let Some(exclusion) = exclusions.refused_past(now) {
            skipped("gaps", None, exclusion);
        }
        let of_all = self.report.excluded.iter();
        self.report.tests.excluded = of_all.filter(|excluded| excluded.calls == "all").count() as u64;
    }

    /// Remembers which tests were refused alone. While Catchpoint refuses everything, it is not about
    /// single tests.
    fn record_refusals(&mut self) {
        let refusals = std::mem::take(&mut self.refusals);
        if refusals.is_empty() || self.dry_run.is_some() {
            return;
        }
        if !self.answers() {
            self.refusals = refusals;
            return;
        }
        let now = self.host.now().timestamp();
        self.exclusions.record_refusals(refusals, self.past_answered, now);
        self.lease.write(Key::Exclusions, &self.exclusions);
    }

    /// What is missing between windows, and between a test's coverage and the window before this run.
    fn measure_gaps(&mut self) {
        let expected = plan::expected_through(
            &self.settings.catchpoint,
            self.report.started.timestamp(),
        );
        let late = |coverage: &Coverage| (expected - coverage.until()).max(0);
        let (mut open, mut tests) = (0, 0);
        for test in self.asked_for() {
            if let Some(coverage) = self.coverages.get(&test) {
                open += coverage.missing() + late(coverage);
                tests += u64::from(coverage.longest_gap().max(late(coverage)) > GAP_TOLERANCE);
            }
        }
        self.report.gaps.open = open;
        self.report.gaps.tests = tests;
    }

    fn finish(mut self) -> Report {
        self.measure_gaps();
        self.close();
        let prefix = &self.settings.graphite.self_metrics_prefix;
        if let (Some(prefix), false, true) = (prefix, self.relay_failed, self.lease.is_held()) {
            let lines = self.report.lines(prefix);
            self.send_own_metrics(&lines);
        }
        self.end()
    }

    fn finish_backfill(mut self) -> Report {
        self.close();
        self.end_unreported()
    }

    /// Writes what was learned, and what is known of calls and backfills into the report.
    fn close(&mut self) {
        let catchpoint = &self.settings.catchpoint;
        let limits = self.client.learned_limits().iter();
        self.report.limits = limits.map(|limit| format!("limit in force: {limit}")).collect();
        let now = self.host.now().timestamp();
        self.report.limits.extend(self.exclusions.size_limits(now));
        self.report.backfills =
            requests::progress_of_all(&self.requests, catchpoint, &self.coverages);
        self.report.calls = self.client.take_calls();
        self.report.end(self.host.now());
        if requests::drop_finished(&mut self.requests, catchpoint, &self.coverages) {
            self.lease.write(Key::Backfills, &self.requests);
        }
        self.lease.write(Key::Exclusions, &self.exclusions);
        self.lease.write(Key::Coverage, &self.coverages);
    }

    fn end(mut self) -> Report {
        self.report.end(self.host.now());
        self.lease.write(Key::Report, &self.report);
        self.end_unreported()
    }

    fn end_unreported(self) -> Report {
        self.lease.release();
        self.report
    }
}
