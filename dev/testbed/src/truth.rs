//! What was measured, as the sandbox tells it, against what arrived.
//!
//! The names of the series are made here on their own, from the rule and not by the component's
//! code, so that a fault in one of them shows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{local, pipeline::Run};

/// How long the sandbox's answer may take, to its last byte.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Results of the last 15 minutes are what one call to the API gives.
const WINDOW: i64 = 15 * 60;

/// One value of one result.
#[derive(Debug, Clone, Deserialize)]
struct Datapoint {
    test_id: u64,
    test_type: String,
    node_id: u64,
    step: Option<u32>,
    hop: Option<u32>,
    metric: String,
    epoch_seconds: i64,
    value: Option<f64>,
}

/// One series: its test type and its values.
#[derive(Debug)]
struct Curve {
    kind: String,
    /// By time in epoch seconds, rounded down to the resolution: when and what exactly.
    values: BTreeMap<i64, (i64, f64)>,
}

/// Everything that a run can have seen.
#[derive(Debug)]
pub struct Truth {
    /// By test type, the ids of its tests with those of the nodes that run them.
    pub kinds: BTreeMap<String, BTreeMap<u64, BTreeSet<u64>>>,
    /// By the name that Graphite gives the series.
    curves: HashMap<String, Curve>,
    /// Seconds between two datapoints of what is compared.
    resolution: i64,
    /// First second that may have been seen.
    pub from: i64,
    /// Last second that may have been seen.
    pub until: i64,
    /// The seconds that must have been seen: each call sees the 15 minutes before it; results that
    /// came in during the run may be missing.
    must: std::ops::Range<i64>,
}

/// What was found of one test type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Datapoints that arrived as they were measured.
    pub right: u64,
    /// Datapoints that must have arrived and have not.
    pub missing: u64,
    /// Datapoints with a value, time or name that was never measured.
    pub wrong: u64,
}

/// By test type; series that belong to no test are under "unknown".
pub type FoundByKind = BTreeMap<String, Found>;

impl Truth {
    /// Asks the sandbox for everything that a run could see. Compared are datapoints that are
    /// `resolution` seconds apart.
    ///
    /// # Errors
    /// When it does not answer so.
    pub fn ask(sandbox: &str, run: &Run, resolution: i64) -> Result<Self> {
        let mut truth = Self::empty(run.started, run.ended, resolution);
        let (from, to) = (truth.from, truth.until + 1);
        let url = format!("{sandbox}/sandbox/truth?from={from}&to={to}");
        let text = local::get(&url, TIMEOUT)?;
        for line in text.lines() {
            let datapoint = serde_json::from_str(line).with_context(|| format!("{url}: {line}"))?;
            truth.add(datapoint)?;
        }
        Ok(truth)
    }

    /// Nothing yet, of a run that lasted from `started` to `ended`.
    fn empty(started: i64, ended: i64, resolution: i64) -> Self {
        Self {
            kinds: BTreeMap::new(),
            curves: HashMap::new(),
            resolution,
            from: started - WINDOW,
            until: ended,
            must: ended - WINDOW..started,
        }
    }

    /// How many series have a value that the run must have seen.
    #[must_use]
    pub fn series(&self) -> usize {
        let has_due = |curve: &&Curve| curve.values.values().any(|(at, _)| self.must.contains(at));
        self.curves.values().filter(has_due).count()
    }

    /// The time that something is shown with that was measured at `time`.
    #[must_use]
    pub fn rounded(&self, time: i64) -> i64 {
        time.div_euclid(self.resolution) * self.resolution
    }

    fn add(&mut self, datapoint: Datapoint) -> Result<()> {
        let kind = self.kinds.entry(datapoint.test_type.clone()).or_default();
        let nodes = kind.entry(datapoint.test_id).or_default();
        nodes.insert(datapoint.node_id);
        let Some(value) = datapoint.value else {
            return Ok(());
        };
        let (at, name) = (datapoint.epoch_seconds, series_name(&datapoint));
        let rounded = self.rounded(at);
        let curve = self.curves.entry(name).or_insert_with(|| Curve {
            kind: datapoint.test_type,
            values: BTreeMap::new(),
        });
        if curve.values.insert(rounded, (at, value)).is_some() {
            let (test, seconds) = (datapoint.test_id, self.resolution);
            bail!("test {test} has two results within {seconds} s");
        }
        Ok(())
    }

    /// Compares datapoint by datapoint: series with their tags in the order of the alphabet, time
    /// and value. One that comes twice counts once.
    pub fn compare<'a>(
        &self,
        arrived: impl IntoIterator<Item = (&'a str, i64, f64)>,
    ) -> FoundByKind {
        let mut found = FoundByKind::new();
        let mut there = HashSet::new();
        for (name, time, value) in arrived {
            let curve = self.curves.get(name);
            let kind = curve.map_or("unknown", |curve| curve.kind.as_str());
            let found = found.entry(kind.to_owned()).or_default();
            // Exactly: on the whole way the value is only written and read again.
            let measured = curve.and_then(|curve| curve.values.get(&time));
            if measured.is_none_or(|(_, measured)| *measured != value) {
                found.wrong += 1;
            } else if there.insert((name, time)) {
                found.right += 1;
            }
        }
        for (name, curve) in &self.curves {
            let due = curve
                .values
                .iter()
                .filter(|(_, (at, _))| self.must.contains(at));
            let missing = due.filter(|(time, _)| !there.contains(&(name.as_str(), **time)));
            found.entry(curve.kind.clone()).or_default().missing += missing.count() as u64;
        }
        found
    }

    /// Compares lines as carbon gets them, those of tests alone.
    #[must_use]
    pub fn compare_lines(&self, lines: &[String]) -> FoundByKind {
        let parsed: Vec<(String, i64, f64)> = lines
            .iter()
            .filter(|line| line.starts_with("system.cp.testdata."))
            .map(|line| {
                let mut words = line.split(' ');
                let series = sorted(words.next().unwrap_or_default());
                let value = words.next().and_then(|word| word.parse().ok());
                let time = words.next().and_then(|word| word.parse().ok());
                (series, time.unwrap_or(i64::MIN), value.unwrap_or(f64::NAN))
            })
            .collect();
        self.compare(
            parsed
                .iter()
                .map(|(series, time, value)| (series.as_str(), *time, *value)),
        )
    }
}

/// The sum over all test types.
#[must_use]
pub fn total(found: &FoundByKind) -> Found {
    found.values().fold(Found::default(), |sum, one| Found {
        right: sum.right + one.right,
        missing: sum.missing + one.missing,
        wrong: sum.wrong + one.wrong,
    })
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

/// A series as it was sent, its tags in the order of the alphabet.
fn sorted(series: &str) -> String {
    let mut parts = series.split(';');
    let name = parts.next().unwrap_or_default();
    let tags: BTreeSet<&str> = parts.collect();
    let add = |series, tag: &&str| format!("{series};{tag}");
    tags.iter().fold(name.to_owned(), add)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run from second 6000 to 6010: what came in from 5110 to 5999 is due.
    fn check(measured: &[(i64, Option<f64>)], arrived: &[(i64, f64)], expect: (u64, u64, u64)) {
        let mut truth = Truth::empty(6000, 6010, 60);
        for (epoch_seconds, value) in measured {
            let datapoint = Datapoint {
                test_id: 1,
                test_type: "ping".to_owned(),
                node_id: 2,
                step: Some(3),
                hop: None,
                metric: "Jitter (ms)".to_owned(),
                epoch_seconds: *epoch_seconds,
                value: *value,
            };
            truth.add(datapoint).unwrap();
        }
        let name = sorted("system.cp.testdata.Jitter(ms);testId=1;nodeId=2;stepNumber=3");
        let arrived = arrived
            .iter()
            .map(|(time, value)| (name.as_str(), *time, *value));
        let found = total(&truth.compare(arrived));
        assert_eq!((found.right, found.missing, found.wrong), expect);
    }

    #[test]
    fn each_datapoint_is_compared() {
        let two = [(5162, Some(1.5)), (5222, Some(2.5))];
        check(&two, &[(5160, 1.5), (5220, 2.5)], (2, 0, 0));
        // Not there, with another value, at another time, twice.
        check(&two, &[(5160, 1.5)], (1, 1, 0));
        check(&two, &[(5160, 1.5), (5220, 2.6)], (1, 1, 1));
        check(&two, &[(5160, 1.5), (5280, 2.5)], (1, 1, 1));
        check(&two[..1], &[(5160, 1.5), (5160, 1.5)], (1, 0, 0));
        // A null is no datapoint.
        check(&[(5162, None)], &[(5160, 0.0)], (0, 0, 1));
        // At the edges it may be there or not.
        for (time, is_due) in [(5101, false), (5110, true), (5999, true), (6005, false)] {
            check(&[(time, Some(1.5))], &[], (0, u64::from(is_due), 0));
            check(&[(time, Some(1.5))], &[(time / 60 * 60, 1.5)], (1, 0, 0));
        }
    }
}
