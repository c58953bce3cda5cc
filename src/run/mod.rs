//! One run, from top to bottom, and the only place that changes it.
//!
//! Take the lease; make the regular calls, then those for missing time, then those for requested
//! time, as far as limits and time allow. A call's results become lines, the lines go to the relay,
//! and only when all of them are on the relay's disk they count as fetched. What fails is noted and
//! costs no other call. What a run does not get to is still missing, and the next run fetches it.
//!
//! # Layout
//! - [`plan`] which calls, in which order; [`purpose`] what for
//! - `fetch` one call to its end, `split` in parts where that helps
//! - [`coverage`] what is in the relay and what is missing; [`backfill`] what is requested, and when
//!   it goes on
//! - [`discovery`] which tests Catchpoint lists
//! - [`exclusions`] what was learned from failed calls
//! - [`report`] what a run did

pub mod backfill;
pub mod coverage;
pub mod discovery;
pub mod exclusions;
mod fetch;
pub mod plan;
pub mod purpose;
pub mod report;
mod split;

use std::collections::BTreeSet;
use std::rc::Rc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::catchpoint::error;
use crate::catchpoint::token::Token;
use crate::catchpoint::{CallError, Client};
use crate::config::Settings;
use crate::config::catchpoint::ApiVersion;
use crate::hint::Hint;
use crate::host::{self, Host, Level};
use crate::relay::{Pushed, RelayClient};
use crate::run::backfill::Request;
use crate::run::coverage::{Coverage, Coverages, GAP_TOLERANCE};
use crate::run::exclusions::{Exclusion, Exclusions};
use crate::run::plan::{Announced, Plan, PlannedCall};
use crate::run::purpose::Purpose;
use crate::run::report::{LastRun, Outcome, Report, time};
use crate::state::{Key, Lease, Priority, Store, under_way};
use crate::time_range::seconds;

/// How long after the run's deadline the relay may still take lines.
const AFTER_DEADLINE: TimeDelta = TimeDelta::seconds(30);

/// Collects once, logs the report and returns it.
pub fn collect(host: &dyn Host, settings: &Settings) -> Report {
    let report = match Start::take(host, settings, Priority::Run) {
        Ok((start, settings)) => start.run(&settings).collect(),
        Err(skipped) => *skipped,
    };
    let wanted = settings.catchpoint.log_level;
    host::log(host, wanted, report.level(), &report.to_string());
    report
}

/// Makes the regular calls of a run and returns their lines instead of sending them. Calls count
/// against the limits, a token is kept, and nothing else is remembered.
pub fn collect_dry(host: &dyn Host, settings: &Settings) -> (Report, String) {
    match Start::take(host, settings, Priority::Run) {
        Ok((start, settings)) => start.run(&settings).collect_dry(),
        Err(skipped) => (*skipped, String::new()),
    }
}

/// The report of the last run that did something, as JSON, if there was one.
pub fn last_report(host: &dyn Host) -> Option<String> {
    Store::new(host).text(Key::Report)
}

/// The limits that earlier runs have learned and that are in force.
pub fn learned_limits(host: &dyn Host) -> Vec<String> {
    LastRun::find(&Store::new(host)).map_or_else(Vec::new, |last| last.limits)
}

/// The calls that a configuration takes, with what earlier runs have learned.
pub fn announce(host: &dyn Host, settings: &Settings) -> Announced {
    let store = Store::new(host);
    let (exclusions, token): (Exclusions, Option<Token>) =
        (store.read(Key::Exclusions), store.read(Key::Token));
    let lasts = token.map_or(0, |token| token.lasts());
    plan::announce(
        &settings.catchpoint,
        &exclusions,
        lasts,
        host.now().timestamp(),
    )
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
    /// Catchpoint answers calls, so that a refusal is about a test.
    answers: bool,
    /// Tests with results that are in the relay.
    collected: BTreeSet<u64>,
    /// Tests of calls that failed; no other call of this run is made for them.
    failed: BTreeSet<u64>,
    /// Calls for one test that Catchpoint refused.
    refused: Vec<(PlannedCall, String)>,
    /// Calls that failed, and are split if Catchpoint answers others.
    deferred: Vec<(PlannedCall, CallError)>,
    /// Calls for past time of one test that were refused; none once one is answered.
    refused_past: Option<usize>,
    /// What backfills wait for.
    exhausted: Option<CallError>,
    /// Rows fetched, and the seconds from each to its arrival, summed up.
    polled_rows: u64,
    polled_age: u64,
    /// What the relay had counted as pushed at the run before.
    pushed_before: Pushed,
    /// No more calls are made.
    stopped: bool,
    /// The relay does not answer.
    relay_failed: bool,
    /// The lines, if they are not sent.
    dry_run: Option<Vec<u8>>,
}

/// What a run begins with.
struct Start<'h> {
    host: &'h dyn Host,
    priority: Priority,
    lease: Rc<Lease<'h>>,
    client: Client<'h>,
    exclusions: Exclusions,
    report: Report,
    deadline: DateTime<Utc>,
}

impl<'h> Start<'h> {
    /// Takes the lease, and adds the tests that Catchpoint lists to the settings.
    ///
    /// # Errors
    /// Another run is under way, which the report says.
    fn take(
        host: &'h dyn Host,
        settings: &'h Settings,
        priority: Priority,
    ) -> Result<(Self, Settings), Box<Report>> {
        let mut report = Report::begun(host);
        let catchpoint = &settings.catchpoint;
        let lease = match Lease::take(host, &report.run, priority) {
            Ok(lease) => Rc::new(lease),
            Err(until) => {
                report.outcome = Outcome::Skipped;
                report.ended = host.now().trunc_subsecs(3);
                report.notes.push(under_way(until));
                return Err(Box::new(report));
            }
        };
        let deadline = report.started + catchpoint.run_deadline;
        let mut start = Self {
            host,
            priority,
            client: Client::new(host, catchpoint, Rc::clone(&lease), deadline),
            exclusions: lease.store().read(Key::Exclusions),
            lease,
            report,
            deadline,
        };
        let mut settings = settings.clone();
        discovery::discover(&mut start, &mut settings.catchpoint);
        Ok((start, settings))
    }

    /// Reads what earlier runs have left.
    fn run<'r>(self, settings: &'r Settings) -> Run<'r>
    where
        'h: 'r,
    {
        let Self {
            host,
            lease,
            client,
            mut exclusions,
            mut report,
            ..
        } = self;
        let (store, catchpoint) = (lease.store(), &settings.catchpoint);
        let last = LastRun::find(store);
        let push = last.as_ref().and_then(|last| last.push);
        let pushed_before = push.unwrap_or_default().relay;
        let (last_run, answers) = match (self.priority, last) {
            (Priority::Backfill, Some(last)) => (last.started, last.tests.collected > 0),
            _ => (report.started, false),
        };
        let mut coverages = coverage::load(store, catchpoint, &mut report);
        let requests = backfill::load(store, catchpoint, &mut coverages);
        let configured: BTreeSet<u64> = catchpoint.test_ids().collect();
        report.tests.configured = configured.len() as u64;
        exclusions.retain(|test| configured.contains(&test), host.now().timestamp());
        // The results of the last call are worth some more seconds.
        let relay_deadline = self.deadline + AFTER_DEADLINE;
        Run {
            host,
            settings,
            client,
            relay: RelayClient::new(
                host,
                settings,
                &report.run,
                relay_deadline,
                Some(Rc::clone(&lease)),
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
            refused: Vec::new(),
            deferred: Vec::new(),
            refused_past: Some(0),
            exhausted: None,
            polled_rows: 0,
            polled_age: 0,
            pushed_before,
            stopped: false,
            relay_failed: false,
            dry_run: None,
        }
    }
}

impl Run<'_> {
    fn collect(mut self) -> Report {
        // What is not fetched from now on counts as missing, whatever becomes of the run.
        self.lease.write(Key::Coverage, &self.coverages);
        self.give_up_what_is_too_old();
        self.report_refused();
        self.make_regular_calls();
        // Of a test that is answered again after a long time, once more.
        self.give_up_what_is_too_old();
        self.fill(Purpose::Gap, u32::MAX);
        self.fill(Purpose::Requested, u32::MAX);
        self.measure_gaps();
        self.measure_push();
        self.close();
        let prefix = &self.settings.graphite.self_metrics_prefix;
        if let (Some(prefix), false, true) = (prefix, self.relay_failed, self.lease.is_held()) {
            let lines = self.report.lines(prefix);
            self.send_own_metrics(lines);
        }
        self.report.end(self.host.now());
        self.lease.write(Key::Report, &self.report);
        self.lease.release();
        self.report
    }

    fn collect_dry(mut self) -> (Report, String) {
        self.dry_run = Some(Vec::new());
        self.make_regular_calls();
        self.report.calls = self.client.take_calls();
        self.report.end(self.host.now());
        self.lease.release();
        let lines = String::from_utf8(self.dry_run.unwrap_or_default());
        (self.report, lines.unwrap_or_default())
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
        self.fetch(calls);
    }

    /// Makes the calls for missing or requested time, one after the other, while nothing else needs
    /// them. While it fills what is requested, a run that waits goes first.
    fn fill(&mut self, purpose: Purpose, most: u32) {
        if purpose == Purpose::Requested {
            if self.requests.is_empty() || most == 0 {
                return;
            }
            self.lease.yield_to_runs();
            self.leave_out_refused();
        }
        for _ in 0..most {
            if self.stopped || self.held_up().is_some() {
                break;
            }
            let Some(call) = self.plan().next_past(purpose, &self.failed) else {
                break;
            };
            self.fetch(vec![call]);
        }
    }

    /// Writes what was learned, and what is known of calls and backfills into the report.
    fn close(&mut self) {
        let limits = self.client.learned_limits().iter();
        let limits = limits.map(|limit| format!("limit in force: {limit}"));
        self.report.limits = limits.collect();
        let now = self.host.now().timestamp();
        self.report.limits.extend(self.exclusions.size_limits(now));
        self.report.calls = self.client.take_calls();
        self.lease.write(Key::Exclusions, &self.exclusions);
        self.save_requests();
        self.report.end(self.host.now());
    }

    /// The tests that can miss something. A refused one has nothing to lose; its coverage stays where
    /// it was refused, for the day on which it is answered again.
    fn asked_for(&self) -> Vec<u64> {
        let configured = self.settings.catchpoint.test_ids();
        configured
            .filter(|test| !self.exclusions.was_refused(*test, Purpose::Regular))
            .collect()
    }

    fn give_up_what_is_too_old(&mut self) {
        let max_backfill = seconds(self.settings.catchpoint.max_backfill);
        let oldest = self.report.started.timestamp() - max_backfill;
        let cause = "results are older than max_backfill_hours and lost";
        for test in self.asked_for() {
            if let Some(coverage) = self.coverages.get_mut(&test) {
                let lost = coverage.give_up_before(oldest);
                self.report.lose(test, lost, cause);
            }
        }
    }

    /// What is missing between windows, and between a test's coverage and the window before this run.
    fn measure_gaps(&mut self) {
        let started = self.report.started.timestamp();
        let expected = plan::expected_through(&self.settings.catchpoint, started);
        let late = |coverage: &Coverage| (expected - coverage.until()).max(0);
        for test in self.asked_for() {
            if let Some(coverage) = self.coverages.get(&test) {
                let longest = coverage.longest_gap().max(late(coverage));
                self.report.gaps.open += coverage.gaps().seconds() + late(coverage);
                self.report.gaps.tests += u64::from(longest > GAP_TOLERANCE);
            }
        }
    }

    /// Notes which tests are skipped, and for which no gap is filled: since when, until when and why.
    fn report_refused(&mut self) {
        let now = self.host.now().timestamp();
        let settings = &self.settings.catchpoint;
        let ranged_hint = match settings.version {
            ApiVersion::V1 => &error::RANGED,
            ApiVersion::Explorer(_) => &error::REFUSED,
        };
        let mut skipped = |what: &str, tests: &[u64], exclusion: &Exclusion, hint: &Hint| {
            let minute = |second| time(second).format("%Y-%m-%d %H:%M UTC");
            let cause = format!(
                "skipped until {}, refused since {}: {}",
                minute(exclusion.until),
                minute(exclusion.since),
                exclusion.reason.as_deref().unwrap_or_default()
            );
            self.report.fail(what, tests, &cause, hint);
        };
        let exclusions = &self.exclusions;
        let all = exclusions.refused_past(now);
        let mut excluded = 0;
        for test in settings.test_ids() {
            if let Some(exclusion) = exclusions.refused(test, Purpose::Regular, now) {
                skipped("calls", &[test], exclusion, &error::REFUSED);
                excluded += 1;
            } else if let (Some(exclusion), None) =
                (exclusions.refused(test, Purpose::Gap, now), all)
            {
                skipped("gap filling", &[test], exclusion, ranged_hint);
            }
        }
        if let Some(exclusion) = all {
            skipped("gap filling", &[], exclusion, ranged_hint);
        }
        self.report.tests.excluded = excluded;
    }

    fn log(&self, level: Level, line: &str) {
        host::log(self.host, self.settings.catchpoint.log_level, level, line);
    }
}
