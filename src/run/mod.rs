//! One run, from top to bottom, and the only place that changes it.
//!
//! Take the lease; make the regular calls, then those for missing time, then those for requested
//! time, as far as limits and time allow. A call's results become lines, the lines go to the relay,
//! and only when all of them are on the relay's disk they count as fetched. What fails is noted and
//! costs no other call. What a run does not get to is still missing, and the next run fetches it.
//!
//! # Layout
//! - [`plan`] which calls, in which order; [`call`] one of them
//! - `fetch` one call to its end, `split` in parts where that helps; `limits` what limits leave for
//!   calls that are not regular
//! - [`coverage`] what is in the relay and what is missing; [`requests`] the backfills
//! - [`exclusions`] what was learned from refused calls
//! - [`report`] what a run did; `gaps` what it says of missing time and skipped tests

pub mod call;
pub mod coverage;
pub mod exclusions;
mod fetch;
mod gaps;
mod limits;
pub mod plan;
pub mod report;
pub mod requests;
mod split;

use std::collections::BTreeSet;
use std::rc::Rc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::catchpoint::{CallError, Client};
use crate::config::Settings;
use crate::host::{self, Host, Level};
use crate::relay::RelayClient;
use crate::run::call::PlannedCall;
use crate::run::coverage::Coverages;
use crate::run::exclusions::{Exclusions, REFUSED_ALL, Refusal};
use crate::run::plan::Plan;
use crate::run::report::{Outcome, Report};
use crate::run::requests::{Backfill, Request};
use crate::state::{Key, Lease, Priority, Store};
use crate::time_range::TimeRange;

/// How long after the run's deadline the relay may still take lines.
const AFTER_DEADLINE: TimeDelta = TimeDelta::seconds(30);

/// How long after a run is due a backfill continues: the run goes first.
const AFTER_RUN: TimeDelta = TimeDelta::seconds(10);

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

/// The limits that earlier runs have learned and that are in force.
pub fn learned_limits(host: &dyn Host) -> Vec<String> {
    let last: Option<Report> = Store::new(host).find(Key::Report).unwrap_or_default();
    last.map(|report| report.limits).unwrap_or_default()
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
    fn begin(host: &'r dyn Host, settings: &'r Settings, mode: Mode) -> Result<Self, Box<Report>> {
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
        Backfill {
            progress,
            continue_at,
            waits_for,
            report,
        }
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

    fn finish(mut self) -> Report {
        self.measure_gaps();
        self.close();
        let prefix = &self.settings.graphite.self_metrics_prefix;
        if let (Some(prefix), false, true) = (prefix, self.relay_failed, self.lease.is_held()) {
            let lines = self.report.lines(prefix);
            self.send_own_metrics(lines);
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
        self.report.limits = limits
            .map(|limit| format!("limit in force: {limit}"))
            .collect();
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
