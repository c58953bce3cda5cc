//! What was measured, as the sandbox tells it, in the shape that Graphite shows it in.
//!
//! The names are put together here on their own, from the rule and not by the component's code, so
//! that a fault in one of them shows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{BufRead as _, BufReader},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use catchpoint_testbed::local;
use serde::Deserialize;

use super::services::{RESOLUTION, Run};

/// How long an answer of the sandbox may take, to its last byte.
const PATIENCE: Duration = Duration::from_secs(300);

/// Results of the last 15 minutes are what one call to the API gives.
const WINDOW: i64 = 15 * 60;

/// One value of one result.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Datapoint {
    pub test_id: u64,
    pub test_type: String,
    pub node_id: u64,
    pub step: Option<u32>,
    pub hop: Option<u32>,
    pub metric: String,
    pub epoch_seconds: i64,
    pub value: Option<f64>,
}

/// Tests of one type.
#[derive(Debug, Default)]
pub struct Kind {
    /// By the test's id, the ids of the nodes that run it.
    pub tests: BTreeMap<u64, BTreeSet<u64>>,
}

impl Kind {
    /// How many nodes run tests of this type.
    pub fn nodes(&self) -> usize {
        distinct(self.tests.values())
    }
}

fn distinct<'a>(sets: impl Iterator<Item = &'a BTreeSet<u64>>) -> usize {
    sets.flatten().collect::<BTreeSet<_>>().len()
}

/// One series: its test type and its values.
#[derive(Debug)]
pub struct Curve {
    /// Name of the test type.
    pub kind: String,
    /// By time in epoch seconds, rounded down to the resolution of Graphite.
    pub values: BTreeMap<i64, Measured>,
}

/// One value as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// When, in epoch seconds.
    pub time: i64,
    /// What.
    pub value: f64,
}

/// Everything that a run can have seen.
#[derive(Debug)]
pub struct Truth {
    /// By test type.
    pub kinds: BTreeMap<String, Kind>,
    /// By the name that Graphite gives the series.
    pub curves: HashMap<String, Curve>,
    /// First second that may have been seen.
    pub from: i64,
    /// Last second that may have been seen.
    pub until: i64,
    /// First second that must have been seen: each call sees the 15 minutes before it, and the
    /// last one comes before the end of the run.
    must_from: i64,
    /// End of what must have been seen: results that came in during the run may be missing.
    must_until: i64,
}

impl Truth {
    /// Asks the sandbox for everything that a run could see.
    pub fn ask(sandbox: &str, run: &Run) -> Result<Self> {
        let mut truth = Self::empty(run.started, run.ended);
        let (from, to) = (truth.from, truth.until + 1);
        let url = format!("{sandbox}/sandbox/truth?from={from}&to={to}");
        for line in get(&url)?.lines() {
            let line = line.with_context(|| format!("{url} broke off"))?;
            let datapoint = serde_json::from_str(&line)
                .with_context(|| format!("a line of {url} is not as expected: {line}"))?;
            truth.add(datapoint)?;
        }
        Ok(truth)
    }

    /// Nothing yet, of a run that lasted from `started` to `ended`.
    pub(super) fn empty(started: i64, ended: i64) -> Self {
        Self {
            kinds: BTreeMap::new(),
            curves: HashMap::new(),
            from: started - WINDOW,
            until: ended,
            must_from: ended - WINDOW,
            must_until: started,
        }
    }

    /// Whether a run must have seen this.
    pub fn is_due(&self, measured: &Measured) -> bool {
        (self.must_from..self.must_until).contains(&measured.time)
    }

    /// How many nodes there are in all.
    pub fn nodes(&self) -> usize {
        distinct(self.kinds.values().flat_map(|kind| kind.tests.values()))
    }

    /// How many series have a value that a run must have seen.
    pub fn series_due(&self) -> usize {
        self.curves
            .values()
            .filter(|curve| curve.values.values().any(|measured| self.is_due(measured)))
            .count()
    }

    /// Adds one value of one result.
    pub(super) fn add(&mut self, datapoint: Datapoint) -> Result<()> {
        let kind = self.kinds.entry(datapoint.test_type.clone()).or_default();
        let nodes = kind.tests.entry(datapoint.test_id).or_default();
        nodes.insert(datapoint.node_id);
        let Some(value) = datapoint.value else {
            return Ok(());
        };
        let name = series_name(&datapoint);
        let measured = Measured {
            time: datapoint.epoch_seconds,
            value,
        };
        let bucket = bucket(measured.time);
        let curve = self.curves.entry(name).or_insert_with(|| Curve {
            kind: datapoint.test_type,
            values: BTreeMap::new(),
        });
        ensure!(
            curve.values.insert(bucket, measured).is_none(),
            "test {} has two results within {RESOLUTION} s, of which Graphite would keep one",
            datapoint.test_id
        );
        Ok(())
    }
}

/// The time that Graphite shows something with that was measured at `time`.
pub fn bucket(time: i64) -> i64 {
    time.div_euclid(RESOLUTION) * RESOLUTION
}

/// The series name with its tags in the order of the alphabet, as Graphite has them.
fn series_name(datapoint: &Datapoint) -> String {
    let mut name = format!("system.cp.testdata.{}", datapoint.metric.replace(' ', ""));
    for (tag, value) in [
        ("hopNumber", datapoint.hop.map(u64::from)),
        ("nodeId", Some(datapoint.node_id)),
        ("stepNumber", datapoint.step.map(u64::from)),
        ("testId", Some(datapoint.test_id)),
    ] {
        if let Some(value) = value {
            name += &format!(";{tag}={value}");
        }
    }
    name
}

/// A GET of one of the sandbox's own paths.
pub fn get(url: &str) -> Result<BufReader<impl std::io::Read>> {
    let answer = local::client(PATIENCE)
        .get(url)
        .call()
        .with_context(|| format!("the sandbox does not answer {url}"))?;
    let status = answer.status();
    ensure!(status.is_success(), "the sandbox answers {status} to {url}");
    Ok(BufReader::new(answer.into_body().into_reader()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_graphite_shows() {
        let check = |step, hop, metric: &str, expect: &str| {
            let datapoint = Datapoint {
                test_id: 81093,
                test_type: "web".to_owned(),
                node_id: 257,
                step,
                hop,
                metric: metric.to_owned(),
                epoch_seconds: 0,
                value: None,
            };
            assert_eq!(series_name(&datapoint), expect);
        };
        let (dns, items) = ("DNS (ms)", "# Items (Total)");
        check(
            None,
            None,
            dns,
            "system.cp.testdata.DNS(ms);nodeId=257;testId=81093",
        );
        check(
            Some(2),
            None,
            items,
            "system.cp.testdata.#Items(Total);nodeId=257;stepNumber=2;testId=81093",
        );
        check(
            None,
            Some(3),
            dns,
            "system.cp.testdata.DNS(ms);hopNumber=3;nodeId=257;testId=81093",
        );
        check(
            Some(2),
            Some(3),
            dns,
            "system.cp.testdata.DNS(ms);hopNumber=3;nodeId=257;stepNumber=2;testId=81093",
        );
    }
}
