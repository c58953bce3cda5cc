//! One large LastRaw answer through component, host and relay, from the first call to the last line at
//! carbon: samples a second, and the most memory that the host has had. And an answer of 64 MB, the
//! largest that is read: the most linear memory that the component has had.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use catchpoint_sandbox::{Effect, Kind, Rule, Settings, write_config};
use catchpoint_testbed::{Process, pipeline::wait_ready, port};

use crate::{Edition, sink::Carbon, table::Row, world};

const ROUNDS: usize = 3;
/// The most bytes of an answer that the component reads.
const LARGEST: usize = 64 << 20;
/// The most linear memory that it may need for such an answer, in MiB. Some hosts give it 128.
const MOST_MEMORY: u64 = 96;
/// How long one run may take.
const LONGEST: Duration = Duration::from_secs(120);

/// Collects with each edition in turn.
pub fn run(editions: &[Edition]) -> Result<Vec<Row>> {
    let mut measured = vec![(Vec::new(), 0, 0); editions.len()];
    for _ in 0..ROUNDS {
        for (edition, (times, memory, samples)) in editions.iter().zip(&mut measured) {
            let run = collect(edition, None)?;
            times.push(run.time);
            *memory = run.host.max(*memory);
            *samples = run.lines;
        }
    }
    let rows = editions
        .iter()
        .zip(measured)
        .map(|(edition, (times, memory, samples))| {
            let row = Row::new(edition.name, samples as f64, "samples", &times);
            row.note(format!(
                "{samples} samples, the host had {} MB at most",
                memory / 1000
            ))
        });
    Ok(rows.collect())
}

/// Reads the largest answer of each API version.
pub fn largest(edition: &Edition) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for version in ["v1", "v2"] {
        let run = collect(edition, Some(version))?;
        ensure!(run.lines > 100_000, "{version}: {} lines", run.lines);
        ensure!(
            run.component <= MOST_MEMORY,
            "{version}: {} MiB of linear memory",
            run.component
        );
        let row = Row::new(version, run.lines as f64, "samples", &[run.time]);
        rows.push(row.note(format!("{} MiB of linear memory at most", run.component)));
    }
    Ok(rows)
}

/// An answer of the largest size, with a value in each row and many that are null.
fn largest_answer(version: &str) -> String {
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
    let row = row.replace("NULLS", &["null"; 66].join(","));
    let rows = (LARGEST - begin.len() - end.len()) / (row.len() + 1);
    let body = format!("{begin}{}{end}", vec![row; rows].join(","));
    format!("{body:LARGEST$}")
}

/// What one run has taken.
struct Run {
    time: Duration,
    /// The most memory of the host in kilobytes, and of the component in MiB.
    host: u64,
    component: u64,
    lines: u64,
}

/// One run, with answers of a small world, or with the largest one of an API version.
fn collect(edition: &Edition, largest: Option<&str>) -> Result<Run> {
    let folder = tempfile::tempdir()?;
    let sandbox = Arc::new(world::sandbox(40, 9, 5));
    if let Some(version) = largest {
        let effect = Effect::Answer {
            code: 200,
            headers: BTreeMap::new(),
            body: largest_answer(version),
        };
        sandbox.set_faults(vec![Rule::new(effect).on(match version {
            "v1" => Kind::LastRaw,
            _ => Kind::V2,
        })]);
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = folder.path().join("config");
    write_config(&config, address, sandbox.world(), &Settings::default())?;
    let file = config.join("config_catchpoint.yaml");
    let text = fs::read_to_string(&file)?.replace("batch_size: 10", "batch_size: 50");
    let version = format!("version: {}", largest.unwrap_or("v1"));
    let text = text.replace("version: 'v1'", &version);
    let key = Settings::default().api_key;
    fs::write(&file, format!("{text}api_key: '{key}'\n"))?;
    let _server = Arc::clone(&sandbox).serve(listener)?;
    let carbon = Carbon::start()?;
    let listen = port::free()?;
    let mut relay = Command::new(edition.program("catchpoint-graphite-relay"));
    relay
        .arg(format!("--listen={listen}"))
        .arg(format!("--carbon={}", carbon.addr))
        .arg("--spool")
        .arg(folder.path().join("spool"));
    let mut relay = Process::spawn("relay", relay, &folder.path().join("relay.log"))?;
    wait_ready(&mut relay, listen)?;

    let host = |subcommand: &str| {
        let mut host = Command::new(edition.program("catchpoint-graphite"));
        host.arg(subcommand)
            .arg("--manifest")
            .arg(edition.root.join("spin.toml"))
            .arg("--config")
            .arg(&config)
            .arg("--state")
            .arg(folder.path().join("state"))
            .env("SPIN_VARIABLE_CATCHPOINT_HOST", format!("http://{address}"))
            .env("SPIN_VARIABLE_RELAY_URL", format!("http://{listen}"))
            .process_group(0);
        host
    };
    // Translates the component to machine code, which is not measured.
    host("check")
        .output()
        .context("cannot start catchpoint-graphite")?;
    let begun = Instant::now();
    let log = folder.path().join("host.log");
    let mut child = host("run")
        .arg("--json")
        .env("RUST_LOG", "catchpoint_graphite=debug")
        .stdout(Stdio::piped())
        .stderr(File::create(&log)?)
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut host_memory = 0;
    while child.try_wait()?.is_none() {
        // Empty once it has ended.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = number_behind(&text, "VmHWM:").unwrap_or(0);
        host_memory = peak.max(host_memory);
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    let log = fs::read_to_string(&log)?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}: no report\n{log}", edition.name))?;
    let Some(lines) = report
        .get("lines_accepted")
        .and_then(|lines| lines.as_u64())
    else {
        bail!("{}: {report}", edition.name);
    };
    carbon.wait(lines, LONGEST)?;
    Ok(Run {
        time: begun.elapsed(),
        host: host_memory,
        component: number_behind(&log, "linear memory:").unwrap_or(0),
        lines,
    })
}

/// The number behind some words.
fn number_behind(text: &str, words: &str) -> Option<u64> {
    let (_, rest) = text.split_once(words)?;
    rest.split_whitespace().next()?.parse().ok()
}
