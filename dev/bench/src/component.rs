//! Answers of LastRaw through the component in our runner.

use std::{
    collections::BTreeMap, fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use catchpoint_sandbox::{Effect, Kind, Rule, Settings, write_config};

use crate::{
    Edition, ROUNDS,
    catchpoint::{self, Catchpoint},
    curve::Curve,
    measure::{self, Cost},
    python::Python,
    relay::Relay,
    report::{Report, Row, Spread, Unit},
    sink::{self, Carbon},
};

/// How long lines may take to come out of the relay.
const LONGEST: Duration = Duration::from_secs(60);

/// A folder with the configuration and the state of one runner.
pub struct Runner<'e> {
    edition: &'e Edition,
    folder: tempfile::TempDir,
    catchpoint: SocketAddr,
    relay: SocketAddr,
}

impl<'e> Runner<'e> {
    /// A runner whose code is compiled, and whose next run has everything to fetch.
    pub fn new(
        edition: &'e Edition,
        catchpoint: &Catchpoint,
        batch_size: u32,
        relay: SocketAddr,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("config");
        write_config(
            &config,
            catchpoint.addr,
            catchpoint.world(),
            &Settings::default(),
        )?;
        let file = config.join("config_catchpoint.yaml");
        let text = fs::read_to_string(&file)?;
        let size = format!("batch_size: {batch_size}");
        fs::write(&file, text.replace("batch_size: 10", &size))?;
        let runner = Self {
            edition,
            folder,
            catchpoint: catchpoint.addr,
            relay,
        };
        // Translates the component to machine code.
        measure::run(&mut runner.command("check"))?;
        Ok(runner)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut host = Command::new(self.edition.program("catchpoint-graphite"));
        host.arg(subcommand)
            .arg("--manifest")
            .arg(self.edition.root.join("spin.toml"))
            .arg("--config")
            .arg(self.config())
            .arg("--state")
            .arg(self.folder.path().join("state"))
            .env(
                "SPIN_VARIABLE_CATCHPOINT_HOST",
                format!("http://{}", self.catchpoint),
            )
            .env("SPIN_VARIABLE_RELAY_URL", format!("http://{}", self.relay));
        host
    }

    /// One run that fetches everything; the samples and what it costs.
    pub fn collect(&self) -> Result<(u64, Cost)> {
        for kept in fs::read_dir(self.folder.path().join("state"))?.flatten() {
            if kept.file_name() != "cache" {
                fs::remove_dir_all(kept.path())?;
            }
        }
        let (report, cost) = measure::run(
            self.command("run")
                .arg("--json")
                .env("RUST_LOG", "catchpoint_graphite=debug"),
        )?;
        let report: serde_json::Value = serde_json::from_str(&report)
            .with_context(|| format!("{}: no report", self.edition.name))?;
        let samples = report.get("samples").and_then(|samples| samples.as_u64());
        Ok((samples.with_context(|| report.to_string())?, cost))
    }
}

/// Runs the rows about the component in our runner.
pub fn run(report: &Report, editions: &[Edition], python: Option<&Python>) -> Result<()> {
    whole(report, editions)?;
    linear_memory(report, editions.first().context("no edition")?)?;
    let Some((ours, python)) = editions.first().zip(python) else {
        return Ok(());
    };
    million(report, ours, python)?;
    largest(report, ours, python)?;
    nothing(report, ours, python)
}

/// Fetch, map, post: against another version.
fn whole(report: &Report, editions: &[Edition]) -> Result<()> {
    const BATCH: u32 = 40;
    let catchpoint = Catchpoint::start(catchpoint::sandbox(4 * BATCH, 15, 5))?;
    let relay = sink::relay()?;
    let runners = editions
        .iter()
        .map(|edition| Runner::new(edition, &catchpoint, BATCH, relay));
    let runners: Vec<Runner> = runners.collect::<Result<_>>()?;
    let mut costs = vec![Vec::new(); editions.len()];
    // What Catchpoint answers is made in a first run, which does not count.
    let (samples, _) = runners.first().context("no edition")?.collect()?;
    for _ in 0..ROUNDS {
        for (runner, costs) in runners.iter().zip(&mut costs) {
            let (found, cost) = runner.collect()?;
            ensure!(
                found == samples,
                "{}: {found} samples, not {samples}",
                runner.edition.name
            );
            costs.push(cost);
        }
    }
    let of = |index: usize, part: fn(&Cost) -> f64| -> Vec<f64> {
        costs.get(index).into_iter().flatten().map(part).collect()
    };
    let unit = Unit::Rate(samples as f64, "samples");
    let what = "component in our runner: fetch, map, post";
    if editions.len() < 2 {
        let wall = Spread::of(of(0, |cost| cost.wall)).median;
        let cpu = Spread::of(of(0, |cost| cost.cpu)).median;
        return report.say(&format!(
            "The {what}: {samples} samples in {wall:.2} s, {cpu:.2} s of CPU. It is compared with version 1 where --baseline names a checkout of it that is built."
        ));
    }
    let [wall, cpu, memory] = [
        |cost: &Cost| cost.wall,
        |cost: &Cost| cost.cpu,
        |cost: &Cost| cost.memory,
    ]
    .map(|part| [of(0, part), of(1, part)]);
    let row = |what, unit, [ours, theirs]: &[Vec<f64>; 2]| {
        Row::new(what, "version 1", unit, ours, theirs)
    };
    let note = format!("{samples} samples in 4 answers");
    report.add(row(what, unit, &wall).wanted(4.0).note(note))?;
    report.add(row("the same, CPU of the runner", Unit::Seconds, &cpu))?;
    report.add(row(
        "the same, memory of the runner",
        Unit::Megabytes,
        &memory,
    ))
}

/// A run of a million samples: all that runs between Catchpoint and carbon.
fn million(report: &Report, edition: &Edition, python: &Python) -> Result<()> {
    const TESTS: u32 = 17;
    const BATCH: u32 = 6;
    let catchpoint = Catchpoint::start(catchpoint::sandbox(TESTS, 10, 10))?;
    let (mut ours, mut theirs, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    let (mut samples, mut relays) = (0, Vec::new());
    let (folder, carbon) = (tempfile::tempdir()?, Carbon::start()?);
    let relay = Relay::start(edition, &folder.path().join("relay"), carbon.addr)?;
    let runner = Runner::new(edition, &catchpoint, BATCH, relay.addr)?;
    runner.collect()?;
    for _ in 0..ROUNDS {
        let (lines, before) = (carbon.lines(), relay.cpu()?);
        catchpoint.take_calls();
        let (found, cost) = runner.collect()?;
        carbon.wait(lines + found, LONGEST)?;
        let by_relay = relay.cpu()? - before;
        relays.push(by_relay);
        ours.push(cost.cpu + by_relay);
        samples = found;
        calls.push(catchpoint.take_calls() as f64);
        let (found, cost) = python.collect(&runner.config(), carbon.addr)?;
        ensure!(
            found == samples,
            "Python finds {found} samples, we {samples}"
        );
        theirs.push(cost.cpu);
    }
    report.add(
        Row::new(
            "a run of a million samples, CPU of runner and relay",
            "CPython with requests, sockets to carbon",
            Unit::Seconds,
            &ours,
            &theirs,
        )
        .wanted(8.0)
        .note(format!(
            "{samples} samples; {:.0} ms of it the relay",
            Spread::of(relays).median * 1e3
        )),
    )?;
    report.add(
        Row::new(
            "calls to Catchpoint in a run",
            "ids ÷ batch and one token",
            Unit::Calls,
            &calls,
            &vec![f64::from(TESTS.div_ceil(BATCH) + 1); calls.len()],
        )
        .wanted(1.0),
    )
}

/// The memory for an answer of nearly the most that a page may have.
fn largest(report: &Report, edition: &Edition, python: &Python) -> Result<()> {
    let catchpoint = Catchpoint::start(catchpoint::sandbox(42, 15, 5))?;
    let carbon = Carbon::start()?;
    let runner = Runner::new(edition, &catchpoint, 42, sink::relay()?)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        ours.push(runner.collect()?.1.memory);
        theirs.push(python.collect(&runner.config(), carbon.addr)?.1.memory);
    }
    let note = format!("{} MB of JSON", catchpoint.last_raw()?.len() / 1_000_000);
    report.add(
        Row::new(
            "peak memory for one large answer",
            "CPython",
            Unit::Megabytes,
            &ours,
            &theirs,
        )
        .wanted(8.0)
        .note(note),
    )
}

/// The linear memory for the largest answer that is read, of each version of the API.
fn linear_memory(report: &Report, edition: &Edition) -> Result<()> {
    for version in ["v1", "v2"] {
        let sandbox = catchpoint::sandbox(40, 1, 900);
        let effect = Effect::Answer {
            code: 200,
            headers: BTreeMap::new(),
            body: largest_answer(version),
        };
        let call = if version == "v1" {
            Kind::LastRaw
        } else {
            Kind::V2
        };
        sandbox.set_faults(vec![Rule::new(effect).on(call)]);
        let runner = Runner::new(edition, &Catchpoint::start(sandbox)?, 50, sink::relay()?)?;
        let file = runner.config().join("config_catchpoint.yaml");
        let text =
            fs::read_to_string(&file)?.replace("version: 'v1'", &format!("version: {version}"));
        let key = Settings::default().api_key;
        fs::write(&file, format!("{text}api_key: '{key}'\n"))?;
        let (samples, cost) = runner.collect()?;
        ensure!(samples > 100_000, "{version}: {samples} samples");
        let what = format!("linear memory for an answer of 64 MiB, {version}");
        let row = Row::new(&what, "at most", Unit::Megabytes, &[cost.linear], &[96.0]);
        report.add(row.wanted(1.0))?;
    }
    Ok(())
}

/// An answer of the largest size, with a value in each row and many that are null.
fn largest_answer(version: &str) -> String {
    const LARGEST: usize = 64 << 20;
    let (begin, row, end) = match version {
        "v1" => (
            r#"{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:15:00Z","detail":{"fields":{"synthetic_metrics":[{"name":"A"}]},"items":["#,
            r#"{"synthetic_metrics":[12.5,NULLS],"breakdown_1":{"id":1,"name":"Home page"},"breakdown_2":{"id":2,"name":"Oslo"},"dimension":{"name":"2026-01-01T00:00:00Z"}}"#,
            "]}}",
        ),
        _ => (
            r#"{"data":{"responseItems":[{"metrics":[{"name":"A"}],"items":["#,
            r#"{"dateTime":"2026-01-01T00:00:00","values":[12.5,NULLS],"dimensions":[{"type":{"id":16,"name":"Test"},"id":1,"name":"Home page"},{"type":{"id":1,"name":"Node"},"id":2,"name":"Oslo"}]}"#,
            "]}]}}",
        ),
    };
    // Within the range that a call of v2 asks for: an answer about another time is refused.
    let time = chrono::Utc::now() - Duration::from_secs(60);
    let row = row.replace("NULLS", &["null"; 66].join(","));
    let row = row.replace("2026-01-01T00:00:00", &time.format("%FT%T").to_string());
    let rows = (LARGEST - begin.len() - end.len()) / (row.len() + 1);
    let body = format!("{begin}{}{end}", vec![row; rows].join(","));
    let blanks = " ".repeat(LARGEST - body.len());
    body + &blanks
}

/// A run with nothing to do.
fn nothing(report: &Report, edition: &Edition, python: &Python) -> Result<()> {
    let catchpoint = Catchpoint::start(catchpoint::sandbox(1, 1, 40_000))?;
    let carbon = Carbon::start()?;
    let runner = Runner::new(edition, &catchpoint, 10, sink::relay()?)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..2 * ROUNDS {
        let (samples, cost) = runner.collect()?;
        ensure!(samples == 0, "{samples} samples");
        ours.push(cost.cpu);
        theirs.push(python.collect(&runner.config(), carbon.addr)?.1.cpu);
    }
    report.add(
        Row::new(
            "a run with nothing to do, CPU",
            "CPython importing requests and yaml, the same",
            Unit::Seconds,
            &ours,
            &theirs,
        )
        .wanted(10.0),
    )
}

/// The time of runs of a thousand to ten million samples through the real relay.
pub fn growth(edition: &Edition) -> Result<Curve> {
    let mut points = Vec::new();
    let (folder, carbon) = (tempfile::tempdir()?, Carbon::start()?);
    let relay = Relay::start(edition, &folder.path().join("relay"), carbon.addr)?;
    for (tests, nodes, interval) in [
        (1, 9, 900),
        (10, 9, 900),
        (10, 9, 90),
        (10, 10, 10),
        (85, 10, 5),
    ] {
        let catchpoint = Catchpoint::start(catchpoint::sandbox(tests, nodes, interval))?;
        let runner = Runner::new(edition, &catchpoint, 25, relay.addr)?;
        let (samples, _) = runner.collect()?;
        let rounds = (0..3).map(|_| Ok(runner.collect()?.1.wall));
        let seconds = Spread::of(rounds.collect::<Result<Vec<_>>>()?).median;
        points.push((samples as f64, seconds));
    }
    Ok(Curve::of("A run, by its samples", "samples", points))
}
