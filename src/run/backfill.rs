//! Backfills: what is requested, how far it is, and when it goes on.
//!
//! What is still to be fetched stands in each test's coverage; here is only what was asked for.
//! Whatever a run does not have to do goes on only while the limits leave calls for the runs to come.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Run, Start};
use crate::catchpoint::budget::midnight_after;
use crate::catchpoint::error::{Kind, REFUSED};
use crate::config::Settings;
use crate::config::catchpoint::CatchpointSettings;
use crate::host::{self, Host, Level};
use crate::run::coverage::Coverages;
use crate::run::plan;
use crate::run::purpose::Purpose;
use crate::run::report::{Progress, Report, time};
use crate::state::{Key, Priority, Store};
use crate::time_range::{TimeRange, seconds};

/// How long after a run is due a backfill continues: the run goes first.
const AFTER_RUN: TimeDelta = TimeDelta::seconds(10);

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    #[serde(alias = "span")]
    range: TimeRange,
    /// How many seconds of a test it asked for.
    #[serde(default)]
    total: i64,
    /// Version 0.1 kept here how far each test was.
    #[serde(default, skip_serializing)]
    until: Option<BTreeMap<u64, i64>>,
}

/// What `POST /backfill` answers with.
///
/// To fill a range at once, repeat the request with `calls=1`: at `continue_at`, until `finished`.
/// Without `continue_at` something failed, which `report` tells; it may succeed when it is asked for
/// again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backfill {
    /// How far it is: `from`, `to`, `done_until`, `total`, `done`, `finished`. `total` and `done` are
    /// seconds of a test: an hour of three tests is 10800.
    #[serde(flatten)]
    pub progress: Progress,
    /// When to ask again; none if it is finished, or if something failed.
    pub continue_at: Option<DateTime<Utc>>,
    /// What it waits for: `run`, or the calls of the `minute`, `hour` or `day`.
    pub waits_for: Option<&'static str>,
    /// What the calls of this request did.
    pub report: Report,
}

/// Requests a past time range, and makes up to `calls` of the calls for requested time.
pub fn backfill(host: &dyn Host, settings: &Settings, range: TimeRange, calls: u32) -> Backfill {
    let answer = match Start::take(host, settings, Priority::Backfill) {
        Ok((start, settings)) => start.run(&settings).backfill(range, calls),
        Err(report) => {
            let (requests, coverages) = stored(host);
            Backfill {
                progress: progress_of(range, &requests, &settings.catchpoint, &coverages),
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

/// How far all requests are.
pub fn progress(host: &dyn Host, settings: &Settings) -> Vec<Progress> {
    let (requests, coverages) = stored(host);
    progress_of_all(&requests, &settings.catchpoint, &coverages)
}

/// Cancels what is requested in a range, and returns how far the others are.
///
/// # Errors
/// Another run is under way.
pub fn cancel(
    host: &dyn Host,
    settings: &Settings,
    range: TimeRange,
) -> Result<Vec<Progress>, Box<Report>> {
    let (start, settings) = Start::take(host, settings, Priority::Backfill)?;
    let mut run = start.run(&settings);
    for coverage in run.coverages.values_mut() {
        coverage.cancel(range);
    }
    run.save_requests();
    run.lease.release();
    let mut backfills = run.report.backfills;
    backfills.retain(|backfill| !backfill.finished);
    Ok(backfills)
}

/// The requests and the gaps that they ask for, as the last run has left them.
fn stored(host: &dyn Host) -> (Vec<Request>, Coverages) {
    let store = Store::new(host);
    (store.read(Key::Backfills), store.read(Key::Coverage))
}

/// Reads the requests. Those of version 0.1 become requested gaps of the configured tests.
pub(super) fn load(
    store: &Store<'_>,
    settings: &CatchpointSettings,
    coverages: &mut Coverages,
) -> Vec<Request> {
    let mut requests: Vec<Request> = store.read(Key::Backfills);
    for request in &mut requests {
        let range = request.range;
        for (test, until) in request.until.take().iter().flat_map(|until| {
            let of_test = |test| (test, until.get(&test).copied());
            settings.test_ids().map(of_test)
        }) {
            request.total += range.seconds();
            if let Some(coverage) = coverages.get_mut(&test) {
                coverage.request(TimeRange {
                    from: until.unwrap_or(range.from),
                    ..range
                });
            }
        }
    }
    requests
}

/// How far the request of a range is; finished if there is none.
fn progress_of(
    range: TimeRange,
    requests: &[Request],
    settings: &CatchpointSettings,
    coverages: &Coverages,
) -> Progress {
    let request = requests.iter().find(|request| request.range == range);
    let total = request.map_or(0, |request| request.total);
    let tests = settings.test_ids().filter_map(|test| coverages.get(&test));
    let left: Vec<TimeRange> = tests
        .flat_map(|test| test.requested().within(range))
        .collect();
    let seconds: i64 = left.iter().map(|left| left.seconds()).sum();
    let done_until = left.iter().map(|left| left.from).min().unwrap_or(range.to);
    Progress {
        from: time(range.from),
        to: time(range.to),
        done_until: (done_until > range.from).then(|| time(done_until)),
        total,
        done: (total - seconds).max(0),
        finished: left.is_empty(),
    }
}

fn progress_of_all(
    requests: &[Request],
    settings: &CatchpointSettings,
    coverages: &Coverages,
) -> Vec<Progress> {
    let ranges = requests.iter().map(|request| request.range);
    ranges
        .map(|range| progress_of(range, requests, settings, coverages))
        .collect()
}

impl Run<'_> {
    fn backfill(mut self, range: TimeRange, calls: u32) -> Backfill {
        let catchpoint = &self.settings.catchpoint;
        if !self.requests.iter().any(|request| request.range == range) {
            for test in catchpoint.test_ids() {
                if let Some(coverage) = self.coverages.get_mut(&test) {
                    coverage.request(range);
                }
            }
            let tests = i64::try_from(catchpoint.test_ids().count()).unwrap_or(i64::MAX);
            self.requests.push(Request {
                range,
                total: range.seconds().saturating_mul(tests),
                until: None,
            });
            self.exclusions.retry_refused();
            self.save_requests();
            self.lease.write(Key::Exclusions, &self.exclusions);
        }
        self.fill(Purpose::Requested, calls);
        let progress = progress_of(range, &self.requests, catchpoint, &self.coverages);
        let (continue_at, waits_for) = match progress.finished {
            true => (None, None),
            false => self.continue_at(),
        };
        self.close();
        self.lease.release();
        Backfill {
            progress,
            continue_at,
            waits_for,
            report: self.report,
        }
    }

    /// Writes the requests of which something is left, and the gaps that they ask for.
    pub(super) fn save_requests(&mut self) {
        let catchpoint = &self.settings.catchpoint;
        let progress = progress_of_all(&self.requests, catchpoint, &self.coverages);
        let mut finished = progress.iter().map(|progress| progress.finished);
        self.requests.retain(|_| finished.next() == Some(false));
        self.report.backfills = progress;
        // The gaps first: a request without gaps is finished, gaps without a request are filled.
        self.lease.write(Key::Coverage, &self.coverages);
        self.lease.write(Key::Backfills, &self.requests);
    }

    /// Until when a call that is not regular waits, and for what: what the runs of the day and of the
    /// next hour need comes first, and so does a run that waits for this one to end.
    pub(super) fn held_up(&mut self) -> Option<(DateTime<Utc>, &'static str)> {
        let now = self.host.now();
        let settings = &self.settings.catchpoint;
        let next_run = plan::next_run(settings, self.last_run, now);
        if let Some(error) = &self.exhausted {
            let until = error.limit.map_or(next_run + AFTER_RUN, |(_, until)| until);
            let limit = match (error.kind, error.limit) {
                (Kind::DayQuota, _) | (_, Some(("per_day", _))) => "day",
                (_, Some(("per_hour", _))) => "hour",
                (Kind::NoTime, _) => "run",
                _ => "minute",
            };
            return Some((until, limit));
        }
        let midnight = midnight_after(now);
        let announced = plan::announce(settings, &self.exclusions, 0, now.timestamp());
        let runs = (midnight - now).num_seconds() / seconds(settings.run_every).max(1);
        let lists = announced.per_list * announced.lists_per_day;
        let reserved = announced.most_per_run() * u64::try_from(runs).unwrap_or(0) + lists;
        let calls = usize::try_from(announced.most_per_run()).unwrap_or(usize::MAX);
        if u64::from(self.client.left_today()) <= reserved {
            return Some((midnight + AFTER_RUN, "day"));
        }
        if !self.client.leaves_hour(next_run, calls) {
            return Some((next_run + AFTER_RUN, "hour"));
        }
        self.lease.is_awaited().then(|| (now + AFTER_RUN, "run"))
    }

    /// When a backfill continues, and what it waits for.
    fn continue_at(&mut self) -> (Option<DateTime<Utc>>, Option<&'static str>) {
        if let Some((until, limit)) = self.held_up() {
            return (Some(until), Some(limit));
        }
        let next = self.plan().next_past(Purpose::Requested, &self.failed);
        if self.stopped || next.is_none() {
            return (None, None);
        }
        let now = self.host.now();
        match self.client.next_call() {
            Some(until) if until > now + TimeDelta::seconds(2) => (Some(until), Some("minute")),
            _ => (Some(now), None),
        }
    }

    /// A test that Catchpoint refuses has no past time either.
    pub(super) fn leave_out_refused(&mut self) {
        for (test, coverage) in &mut self.coverages {
            let refused = self.exclusions.was_refused(*test, Purpose::Regular);
            if refused && coverage.requested().seconds() > 0 {
                coverage.cancel(TimeRange::ALL);
                let cause = "not fetched: Catchpoint refuses this test";
                self.report.fail("backfill", &[*test], cause, &REFUSED);
            }
        }
    }
}
