//! The backfills that are requested, and how far they are.
//!
//! What is still to be fetched stands in each test's coverage; here is only what was asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::config::catchpoint::CatchpointSettings;
use crate::host::Host;
use crate::run::coverage::{self, Coverage, Coverages};
use crate::run::report::{Progress, Report, time};
use crate::state::{Key, Lease, Priority, Store};
use crate::time_range::TimeRange;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    #[serde(alias = "span")]
    range: TimeRange,
    /// How many seconds of a test it asked for.
    #[serde(default)]
    total: i64,
    /// Version 0.1 kept here how far each test was.
    #[serde(default, skip_serializing)]
    until: Option<BTreeMap<u64, i64>>,
}

/// Reads the requests. Those of version 0.1 become gaps of the configured tests.
pub fn load(
    lease: &Lease<'_>,
    settings: &CatchpointSettings,
    coverages: &mut Coverages,
) -> Vec<Request> {
    let mut requests: Vec<Request> = lease.store().read(Key::Backfills);
    let mut converted = false;
    for request in &mut requests {
        let Some(until) = request.until.take() else {
            continue;
        };
        converted = true;
        for test in settings.test_ids() {
            let from = until.get(&test).copied().unwrap_or(request.range.from);
            let range = TimeRange { from, ..request.range };
            request.total += request.range.seconds();
            if let Some(coverage) = coverages.get_mut(&test) {
                coverage.request(range);
            }
        }
    }
    if converted {
        save(lease, &requests, coverages);
    }
    requests
}

/// Writes the requests and the gaps that they ask for.
pub fn save(lease: &Lease<'_>, requests: &[Request], coverages: &Coverages) {
    // The gaps first: a request without gaps is finished, gaps without a request are filled.
    lease.write(Key::Coverage, coverages);
    lease.write(Key::Backfills, &requests);
}

/// Requests a range of all configured tests; nothing changes if the same is under way.
pub fn add(
    requests: &mut Vec<Request>,
    settings: &CatchpointSettings,
    coverages: &mut Coverages,
    range: TimeRange,
) {
    if requests.iter().any(|request| request.range == range) {
        return;
    }
    let mut total = 0;
    for test in settings.test_ids() {
        if let Some(coverage) = coverages.get_mut(&test) {
            coverage.request(range);
            total += range.seconds();
        }
    }
    requests.push(Request { range, total, until: None });
}

/// How far the request of a range is; finished if there is none.
pub fn progress_of(
    requests: &[Request],
    settings: &CatchpointSettings,
    coverages: &Coverages,
    range: TimeRange,
) -> Progress {
    let request = requests.iter().find(|request| request.range == range);
    let total = request.map_or(0, |request| request.total);
    let tests = settings.test_ids().filter_map(|test| coverages.get(&test));
    let tests: Vec<&Coverage> = tests.collect();
    let left: i64 = tests.iter().map(|test| test.requested_in(range)).sum();
    let first_left = tests.iter().filter_map(|test| test.first_requested_in(range)).min();
    let done_until = first_left.unwrap_or(range.to);
    Progress {
        from: time(range.from),
        to: time(range.to),
        done_until: (done_until > range.from).then(|| time(done_until)),
        total,
        done: (total - left).max(0),
        finished: left == 0,
    }
}

/// How far all requests are.
pub fn progress_of_all(
    requests: &[Request],
    settings: &CatchpointSettings,
    coverages: &Coverages,
) -> Vec<Progress> {
    let requested = requests.iter();
    requested
        .map(|request| progress_of(requests, settings, coverages, request.range))
        .collect()
}

/// How far all requests are by what is in the store.
pub fn progress(host: &dyn Host, settings: &Settings) -> Vec<Progress> {
    let store = Store::new(host);
    let requests: Vec<Request> = store.read(Key::Backfills);
    progress_of_all(&requests, &settings.catchpoint, &store.read(Key::Coverage))
}

/// Cancels what is requested in a range, and returns how far the others are.
///
/// # Errors
/// Another run is under way; until when, at the latest.
pub fn cancel(
    host: &dyn Host,
    settings: &Settings,
    range: TimeRange,
) -> Result<Vec<Progress>, DateTime<Utc>> {
    let mut report = Report::begun(host);
    let lease = Lease::take(host, &report.run, Priority::Backfill)?;
    let (mut coverages, _) = coverage::load(&lease, &settings.catchpoint, &mut report);
    let mut requests = load(&lease, &settings.catchpoint, &mut coverages);
    for coverage in coverages.values_mut() {
        coverage.cancel(range);
    }
    drop_finished(&mut requests, &settings.catchpoint, &coverages);
    save(&lease, &requests, &coverages);
    lease.release();
    Ok(progress_of_all(&requests, &settings.catchpoint, &coverages))
}

/// Forgets the requests of which nothing is left; whether there was one.
pub fn drop_finished(
    requests: &mut Vec<Request>,
    settings: &CatchpointSettings,
    coverages: &Coverages,
) -> bool {
    let before = requests.len();
    let all = requests.clone();
    requests.retain(|request| !progress_of(&all, settings, coverages, request.range).finished);
    requests.len() < before
}
