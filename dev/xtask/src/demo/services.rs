//! Starting and stopping the programs of the demo. Each has a process group of its own that ends
//! with us, however we end; see [`catchpoint_testbed::process`].

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{Graphite, Options, Process, Venv, port, workspace};
use serde::Deserialize;

use crate::{artefacts, command, progress::step};

/// How long a program may take to start; the relay and the sandbox take milliseconds.
const START: Duration = Duration::from_secs(60);
/// How long a program may take to stop before it is killed.
pub const GRACE: Duration = Duration::from_secs(20);
/// The finest step of the demo's Graphite, as coarse as the sandbox's tests are apart.
pub const RESOLUTION: i64 = 60;

/// One collection: when it ran, by the clock of this machine, and what the component reported.
pub struct Run {
    /// Before the first call to the API, in epoch seconds, rounded down.
    pub started: i64,
    /// After the last one, rounded up.
    pub ended: i64,
    /// The run report.
    pub report: Report,
}

/// What the demo wants to know of the component's run report.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// Lines that the relay did not take.
    pub lines_rejected: u64,
    /// Figures by test type.
    pub types: BTreeMap<String, Figures>,
    /// What went wrong.
    pub failures: Vec<serde_json::Value>,
}

/// What the component has counted of one test type.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Figures {
    /// Values fetched.
    pub samples: u64,
    /// Values that were not measured.
    pub nulls: u64,
    /// Lines that the relay has on its disk.
    pub lines_accepted: u64,
}

/// All programs of the demo, running.
pub struct Services {
    folder: PathBuf,
    graphite: Graphite,
    sandbox: (Process, SocketAddr),
    relay: (Process, SocketAddr),
}

impl Services {
    /// Starts Graphite, the sandbox and the relay.
    pub fn start(venv: &Venv, folder: &Path, tests_per_type: u32, nodes: u32) -> Result<Self> {
        let graphite = step("starting carbon and graphite-web", |_| {
            let options = Options {
                // A day of minutes: 17 KB a series instead of the half megabyte of
                // deploy/graphite, for some thousand series that are thrown away.
                retention: Some("1m:1d".to_owned()),
                ..Options::default()
            };
            Ok(Graphite::start(venv, &folder.join("graphite"), &options)?)
        })?;
        let sandbox = step("starting the sandbox, a Catchpoint API", |_| {
            start_sandbox(folder, tests_per_type, nodes)
        })?;
        let relay = step("starting the relay", |_| start_relay(folder, &graphite))?;
        Ok(Self {
            folder: folder.to_owned(),
            graphite,
            sandbox,
            relay,
        })
    }

    /// Fires the component once in the host, and waits until it is done.
    pub fn collect(&self) -> Result<Run> {
        let log = self.folder.join("log/host.log");
        let started = epoch_seconds()?;
        let mut host = self.host("run");
        let (code, printed) = command::capture(host.arg("--json"), &log)?;
        let ended = epoch_seconds()? + 1;
        let said = fs::read_to_string(&log).unwrap_or_default();
        if code != Some(0) {
            bail!("the collection failed (exit code {code:?})\n{said}{printed}");
        }
        let report = serde_json::from_str(&printed)
            .with_context(|| format!("the host printed no run report but:\n{said}{printed}"))?;
        Ok(Run {
            started,
            ended,
            report,
        })
    }

    /// Starts the host with the schedule of `spin.toml`.
    pub fn start_schedule(&self) -> Result<Process> {
        let mut host = self.host("up");
        host.arg(format!("--listen={}", port::free()?));
        Ok(Process::spawn(
            "catchpoint-graphite",
            host,
            &self.folder.join("log/schedule.log"),
        )?)
    }

    /// Fails when one of the programs has ended.
    pub fn require_running(&mut self) -> Result<()> {
        self.relay.0.require_running()?;
        self.sandbox.0.require_running()?;
        Ok(self.graphite.require_running()?)
    }

    pub fn graphite(&self) -> &Graphite {
        &self.graphite
    }

    pub fn sandbox_url(&self) -> String {
        format!("http://{}", self.sandbox.1)
    }

    pub fn relay_url(&self) -> String {
        format!("http://{}", self.relay.1)
    }

    /// Stops all, the relay before its carbon.
    pub fn stop(self) -> Result<()> {
        self.relay.0.stop(GRACE)?;
        self.sandbox.0.stop(GRACE)?;
        self.graphite.kill()?;
        Ok(())
    }

    /// The host with one of its commands, set up by environment and flags as a user would.
    fn host(&self, subcommand: &str) -> Command {
        let mut host = Command::new(artefacts::program("catchpoint-graphite"));
        host.arg(subcommand)
            .arg("--manifest")
            .arg(workspace().join("spin.toml"))
            .arg("--config")
            .arg(config(&self.folder))
            .arg("--state")
            .arg(self.folder.join("state"))
            .env("SPIN_VARIABLE_RELAY_URL", self.relay_url())
            .env("SPIN_VARIABLE_CATCHPOINT_HOST", self.sandbox_url());
        host
    }
}

/// The two configuration files, which the sandbox writes.
fn config(folder: &Path) -> PathBuf {
    folder.join("config")
}

fn start_sandbox(folder: &Path, tests_per_type: u32, nodes: u32) -> Result<(Process, SocketAddr)> {
    let addr = port::free()?;
    let mut sandbox = Command::new(artefacts::program("catchpoint-sandbox"));
    sandbox
        .arg(format!("--listen={addr}"))
        .arg("--config-out")
        .arg(config(folder))
        .arg(format!("--tests-per-type={tests_per_type}"))
        .arg(format!("--nodes={nodes}"))
        // A run sees the last 15 minutes: a result a minute makes a curve of them.
        .arg("--interval-minutes=1");
    let mut sandbox = Process::spawn("sandbox", sandbox, &folder.join("log/sandbox.log"))?;
    // It listens before it writes its configuration; this line comes after both.
    sandbox.wait_line("look:", START)?;
    Ok((sandbox, addr))
}

fn start_relay(folder: &Path, graphite: &Graphite) -> Result<(Process, SocketAddr)> {
    let addr = port::free()?;
    let mut relay = Command::new(artefacts::program("catchpoint-graphite-relay"));
    relay
        .arg("--config")
        .arg(config(folder).join("config_graphite.yaml"))
        .arg(format!("--listen={addr}"))
        .arg(format!("--carbon={}", graphite.carbon_addr()))
        .arg("--spool")
        .arg(folder.join("spool"));
    let mut relay = Process::spawn("relay", relay, &folder.join("log/relay.log"))?;
    relay.wait_port(addr, START)?;
    Ok((relay, addr))
}

fn epoch_seconds() -> Result<i64> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock of this machine is before 1970")?;
    Ok(i64::try_from(since.as_secs())?)
}
