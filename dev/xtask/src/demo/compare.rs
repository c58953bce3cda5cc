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
/// The rest between two looks at Graphite, which has to stop its work for them.
const PAUSE: Duration = Duration::from_secs(1);

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
        step.count(&format!("{indexed} of {due} series are indexed"));
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
        step.count(&format!("{missing} datapoints are still to come"));
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

#[cfg(test)]
mod tests {
    use super::super::truth::Datapoint;
    use super::*;

    /// A run from second 6000 to 6010: what came in from 5110 to 5999 is due.
    const STARTED: i64 = 6000;
    const ENDED: i64 = 6010;

    fn measured(epoch_seconds: i64, value: Option<f64>) -> Datapoint {
        Datapoint {
            test_id: 1,
            test_type: "ping".to_owned(),
            node_id: 2,
            step: None,
            hop: None,
            metric: "Jitter (ms)".to_owned(),
            epoch_seconds,
            value,
        }
    }

    fn check(truth: &[(i64, Option<f64>)], shown: &[(i64, f64)], expect: (u64, u64, u64)) {
        let mut all = Truth::empty(STARTED, ENDED);
        for (time, value) in truth {
            all.add(measured(*time, *value)).unwrap();
        }
        let series = Series {
            target: "system.cp.testdata.Jitter(ms);nodeId=2;testId=1".to_owned(),
            tags: BTreeMap::new(),
            datapoints: shown.to_vec(),
        };
        let found = compare(&all, &[series]);
        let (right, missing, wrong) = expect;
        let expect = Found {
            right,
            missing,
            wrong,
        };
        let total = found.values().fold(Found::default(), |sum, one| Found {
            right: sum.right + one.right,
            missing: sum.missing + one.missing,
            wrong: sum.wrong + one.wrong,
        });
        assert_eq!(total, expect);
    }

    #[test]
    fn each_datapoint_is_judged() {
        let two = [(5162, Some(1.5)), (5222, Some(2.5))];
        check(&two, &[(5160, 1.5), (5220, 2.5)], (2, 0, 0));
        // Not there, with another value, at another time.
        check(&two, &[(5160, 1.5)], (1, 1, 0));
        check(&two, &[(5160, 1.5), (5220, 2.6)], (1, 0, 1));
        check(&two, &[(5160, 1.5), (5280, 2.5)], (1, 1, 1));
        // A null is no datapoint.
        check(&[(5162, None)], &[], (0, 0, 0));
        check(&[(5162, None)], &[(5160, 0.0)], (0, 0, 1));
    }

    #[test]
    fn what_came_in_at_the_edges_may_be_there_or_not() {
        for time in [5101, 6005] {
            check(&[(time, Some(1.5))], &[], (0, 0, 0));
            check(&[(time, Some(1.5))], &[(bucket(time), 1.5)], (1, 0, 0));
        }
        for time in [5110, 5999] {
            check(&[(time, Some(1.5))], &[], (0, 1, 0));
        }
    }

    #[test]
    fn series_of_no_test_are_wrong() {
        let series = Series {
            target: "system.cp.testdata.Jitter;nodeId=2;testId=1".to_owned(),
            tags: BTreeMap::new(),
            datapoints: vec![(5160, 1.0)],
        };
        let found = compare(&Truth::empty(STARTED, ENDED), &[series]);
        assert_eq!(found.get("unknown").map(|found| found.wrong), Some(1));
    }

    #[test]
    fn two_results_in_one_bucket_are_refused() {
        let mut truth = Truth::empty(STARTED, ENDED);
        truth.add(measured(5162, Some(1.0))).unwrap();
        assert!(truth.add(measured(5170, Some(1.0))).is_err());
    }
}
