//! What was measured against what Graphite shows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use catchpoint_testbed::graphite::{Range, Series};

use crate::progress::Step;

use super::{
    services::Services,
    truth::{Truth, bucket},
};

/// Every series of ours, as an expression of the tag index.
const OURS: &str = r"name=~^system\.cp\.testdata\.";
/// The rest between two looks at Graphite, which has to work for them.
const PAUSE: Duration = Duration::from_millis(500);

/// What was found of one test type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Datapoints that Graphite shows as they were measured.
    pub right: u64,
    /// Datapoints that must be there and are not.
    pub missing: u64,
    /// Datapoints with a value, time or name that was never measured.
    pub wrong: u64,
}

/// By test type; series that belong to no test are under "unknown".
pub type FoundByKind = BTreeMap<String, Found>;

/// Looks at Graphite until nothing is missing, or the time is over.
pub fn wait(
    services: &Services,
    truth: &Truth,
    within: Duration,
    step: &Step,
) -> Result<FoundByKind> {
    let start = Instant::now();
    let graphite = services.graphite();
    // Cheap looks first, at the index alone.
    let due = truth.series_due();
    loop {
        let indexed = graphite.find_series(&[OURS])?.len();
        step.say(&format!("{indexed} of {due} series are indexed"));
        if indexed >= due || start.elapsed() > within {
            break;
        }
        thread::sleep(PAUSE);
    }
    let range = Range {
        from: bucket(truth.from),
        until: truth.until,
    };
    let target = format!("seriesByTag('{OURS}')");
    loop {
        let found = compare(truth, &graphite.render(&target, range)?);
        let missing: u64 = found.values().map(|found| found.missing).sum();
        step.say(&format!("{missing} datapoints are still to come"));
        if missing == 0 || start.elapsed() > within {
            return Ok(found);
        }
        thread::sleep(PAUSE);
    }
}

/// Compares datapoint by datapoint.
fn compare(truth: &Truth, shown: &[Series]) -> FoundByKind {
    let mut found = FoundByKind::new();
    let shown: HashMap<&str, &Series> = shown
        .iter()
        .map(|series| (series.target.as_str(), series))
        .collect();
    for (name, series) in &shown {
        let curve = truth.curves.get(*name);
        let kind = curve.map_or("unknown", |curve| curve.kind.as_str());
        let found = found.entry(kind.to_owned()).or_default();
        for (time, value) in &series.datapoints {
            // Exactly: on the whole way the value is only written and read again.
            let measured = curve.and_then(|curve| curve.values.get(time));
            if measured.is_some_and(|measured| measured.value == *value) {
                found.right += 1;
            } else {
                found.wrong += 1;
            }
        }
    }
    for (name, curve) in &truth.curves {
        let there: BTreeSet<i64> = shown
            .get(name.as_str())
            .into_iter()
            .flat_map(|series| &series.datapoints)
            .map(|(time, _)| *time)
            .collect();
        let missing = curve
            .values
            .iter()
            .filter(|(time, measured)| truth.is_due(measured) && !there.contains(time))
            .count();
        found.entry(curve.kind.clone()).or_default().missing += missing as u64;
    }
    found
}
