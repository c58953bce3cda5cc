//! One large LastRaw answer through component, host and relay, from the first call to the last line at
//! carbon: samples a second, and the most memory that the host has had.

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use catchpoint_sandbox::{Settings, write_config};
use catchpoint_testbed::{Process, pipeline::wait_ready, port};

use crate::{Edition, sink::Carbon, table::Row, world};

const ROUNDS: usize = 3;
/// How long one run may take.
const LONGEST: Duration = Duration::from_secs(120);

/// Collects with each edition in turn.
pub fn run(editions: &[Edition]) -> Result<Vec<Row>> {
    let mut measured = vec![(Vec::new(), 0, 0); editions.len()];
    for _ in 0..ROUNDS {
        for (edition, (times, memory, samples)) in editions.iter().zip(&mut measured) {
            let (time, kilobytes, lines) = collect(edition)?;
            times.push(time);
            *memory = kilobytes.max(*memory);
            *samples = lines;
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

/// The time, the most memory of the host in kilobytes, and the lines.
fn collect(edition: &Edition) -> Result<(Duration, u64, u64)> {
    let folder = tempfile::tempdir()?;
    let sandbox = Arc::new(world::sandbox(40, 9, 5));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = folder.path().join("config");
    write_config(&config, address, sandbox.world(), &Settings::default())?;
    let file = config.join("config_catchpoint.yaml");
    let text = fs::read_to_string(&file)?.replace("batch_size: 10", "batch_size: 50");
    fs::write(&file, text)?;
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
    let mut child = host("run")
        .arg("--json")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut memory = 0;
    while child.try_wait()?.is_none() {
        // Empty once it has ended.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok());
        memory = peak.unwrap_or(0).max(memory);
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}: no report", edition.name))?;
    let Some(accepted) = report
        .get("lines_accepted")
        .and_then(|lines| lines.as_u64())
    else {
        bail!("{}: {report}", edition.name);
    };
    carbon.wait(accepted, LONGEST)?;
    Ok((begun.elapsed(), memory, accepted))
}
