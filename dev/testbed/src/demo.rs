//! Catchpoint's results on their way into a real Graphite, counted at both ends. The demo and the
//! test of the dashboards run this.
//!
//! Everything is real but Catchpoint itself, which the sandbox stands in for: the wasm component,
//! our host, the relay, carbon, graphite-web. At the end every datapoint that Graphite shows is
//! compared with what the sandbox's tests have measured.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    Graphite, Options, Pipeline, Venv,
    graphite::Range,
    pipeline::{Run, Size},
    truth::{Found, FoundByKind, Truth, total},
};

/// How long the series may take to show in Graphite: its tag index takes some hundred new ones a
/// second on a quiet machine.
const ARRIVAL: Duration = Duration::from_secs(300);
/// The rest between two looks at Graphite, which has to stop its work for them.
const PAUSE: Duration = Duration::from_secs(1);
/// Every series of ours, as an expression of the tag index.
const OURS: &str = r"name=~^system\.cp\.testdata\.";
/// A day of minutes: 17 KB a series instead of the half megabyte of deploy/graphite, for some
/// thousand series that are thrown away.
const RETENTION: &str = "1m:1d";
/// The finest step of [`RETENTION`] in seconds.
const RESOLUTION: i64 = 60;

/// All programs, running, and what came of one collection.
pub struct Demo {
    /// Carbon and graphite-web.
    pub graphite: Graphite,
    /// Sandbox and relay.
    pub pipeline: Pipeline,
    /// The collection.
    pub run: Run,
    /// What was measured.
    pub truth: Truth,
    /// What has arrived.
    pub found: FoundByKind,
}

impl Demo {
    /// Starts everything in `folder`, collects once, and waits until Graphite shows every datapoint,
    /// or has been given the time for it. `step` is told what happens.
    ///
    /// # Errors
    /// When a program does not start, or the collection fails.
    pub fn run(venv: &Venv, folder: &Path, size: Size, step: &dyn Fn(&str)) -> Result<Self> {
        step("starting carbon and graphite-web");
        let options = Options {
            retention: Some(RETENTION.to_owned()),
            ..Options::default()
        };
        let graphite = Graphite::start(venv, &folder.join("graphite"), &options)?;
        step("starting the sandbox, a Catchpoint API, and the relay");
        let pipeline = Pipeline::start(folder, graphite.carbon_addr(), size)?;
        step("collecting: Catchpoint → component → relay");
        let run = pipeline.collect()?;
        step("asking the sandbox what its tests have measured");
        let truth = Truth::ask(&pipeline.sandbox_url(), &run, RESOLUTION)?;
        let found = arrived(&graphite, &truth, step)?;
        Ok(Self {
            graphite,
            pipeline,
            run,
            truth,
            found,
        })
    }

    /// The time that was collected.
    #[must_use]
    pub fn range(&self) -> Range {
        range(&self.truth)
    }

    /// Whether there were datapoints, all have arrived, and nothing else.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let Found {
            right,
            missing,
            wrong,
        } = total(&self.found);
        let report = &self.run.report;
        let arrived = right > 0 && missing == 0 && wrong == 0;
        arrived && report.lines_rejected == 0 && report.failures.is_empty()
    }
}

fn range(truth: &Truth) -> Range {
    Range {
        from: truth.rounded(truth.from),
        until: truth.until,
    }
}

/// Looks at Graphite until nothing is missing, or the time is over.
fn arrived(graphite: &Graphite, truth: &Truth, step: &dyn Fn(&str)) -> Result<FoundByKind> {
    let start = Instant::now();
    let is_late = || start.elapsed() > ARRIVAL;
    // Cheap looks first, at the index alone.
    let due = truth.series();
    loop {
        let indexed = graphite.find_series(&[OURS])?.len();
        step(&format!(
            "graphite-web has {indexed} of {due} series in its index"
        ));
        if indexed >= due || is_late() {
            break;
        }
        thread::sleep(PAUSE);
    }
    let target = format!("seriesByTag('{OURS}')");
    loop {
        step("reading every datapoint back through graphite-web");
        let shown = graphite.render(&target, range(truth))?;
        let found = truth.compare(shown.iter().flat_map(|series| {
            let points = series.datapoints.iter();
            points.map(|(time, value)| (series.target.as_str(), *time, *value))
        }));
        if total(&found).missing == 0 || is_late() {
            return Ok(found);
        }
        thread::sleep(PAUSE);
    }
}
