//! The programs between Catchpoint and carbon, running: the sandbox, the relay, and our host with
//! the component. Each has a process group of its own that ends with us, however we end.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{Process, local, port, process::last_lines, target_dir, workspace};

/// How long anything may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// More than a run needs: the API's own limits would stretch each test over minutes.
const MANY_CALLS: &str =
    "limits: { per_second: 1000, per_minute: 1000, per_hour: 10000, per_day: 100000 }\n";

/// How large the sandbox's world is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Tests of each of the 16 types.
    pub tests_per_type: u32,
    /// Nodes that run each test.
    pub nodes: u32,
    /// Minutes from one run on a node to the next.
    pub interval_minutes: u32,
}

impl Size {
    /// One test of each type on two nodes.
    pub const SMALL: Self = Self {
        tests_per_type: 1,
        nodes: 2,
        interval_minutes: 5,
    };
}

/// One collection: when it ran, by the clock of this machine, and what the component reported.
#[derive(Debug)]
pub struct Run {
    /// Before the first call to the API, in epoch seconds, rounded down.
    pub started: i64,
    /// After the last one, rounded up.
    pub ended: i64,
    /// The run report.
    pub report: Report,
}

/// What is needed here of the component's run report.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Report {
    /// `ok`, `partial`, `failed` or `skipped`.
    pub outcome: String,
    /// Values fetched.
    pub samples: u64,
    /// Lines that the relay has on its disk.
    pub lines_accepted: usize,
    /// Lines that the relay did not take.
    pub lines_rejected: u64,
    /// Figures by test type.
    pub types: BTreeMap<String, Figures>,
    /// What went wrong.
    pub failures: Vec<serde_json::Value>,
}

/// What the component has counted of one test type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Figures {
    /// Values fetched.
    pub samples: u64,
    /// Values that were not measured.
    pub nulls: u64,
    /// Lines that the relay has on its disk.
    pub lines_accepted: u64,
}

/// One call that the sandbox got.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Call {
    /// `token`, `lastraw`, …
    pub kind: String,
    /// The tests that it asked for.
    pub tests: Vec<u64>,
}

/// The running programs. They end when it is dropped.
#[derive(Debug)]
pub struct Pipeline {
    folder: PathBuf,
    carbon: SocketAddr,
    sandbox: (Process, SocketAddr),
    /// The relay.
    pub relay: Process,
    relay_address: SocketAddr,
}

impl Pipeline {
    /// Starts the sandbox and the relay, with everything they leave behind in `folder`.
    ///
    /// # Errors
    /// When a program is not built or does not start.
    pub fn start(folder: &Path, carbon: SocketAddr, size: Size) -> Result<Self> {
        let address = port::free()?;
        let mut sandbox = Command::new(program("catchpoint-sandbox")?);
        sandbox
            .arg(format!("--listen={address}"))
            .arg("--config-out")
            .arg(folder.join("config"))
            .arg(format!("--tests-per-type={}", size.tests_per_type))
            .arg(format!("--nodes={}", size.nodes))
            .arg(format!("--interval-minutes={}", size.interval_minutes));
        let mut sandbox = Process::spawn("sandbox", sandbox, &folder.join("log/sandbox.log"))?;
        sandbox.wait_line("API v1 at", SOON)?;
        append(&folder.join("config/config_catchpoint.yaml"), MANY_CALLS)?;
        share_compiled(&folder.join("state"))?;
        let relay_address = port::free()?;
        Ok(Self {
            folder: folder.to_owned(),
            carbon,
            sandbox: (sandbox, address),
            relay: start_relay(folder, relay_address, carbon)?,
            relay_address,
        })
    }

    /// The folder with the two configuration files.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    /// Where the relay listens.
    #[must_use]
    pub fn relay_url(&self) -> String {
        format!("http://{}", self.relay_address)
    }

    /// Where the sandbox listens.
    #[must_use]
    pub fn sandbox_url(&self) -> String {
        format!("http://{}", self.sandbox.1)
    }

    /// Our host with one of its commands and a manifest, set up by environment and flags as a user
    /// would.
    ///
    /// # Errors
    /// When it is not built.
    pub fn host(&self, arguments: &[&str], manifest: &str) -> Result<Command> {
        let mut host = Command::new(program("catchpoint-graphite")?);
        host.args(arguments)
            .arg("--manifest")
            .arg(workspace().join(manifest))
            .arg("--config")
            .arg(self.config())
            .arg("--state")
            .arg(self.folder.join("state"))
            .env("SPIN_VARIABLE_RELAY_URL", self.relay_url())
            .env("SPIN_VARIABLE_CATCHPOINT_HOST", self.sandbox_url());
        Ok(host)
    }

    /// Fires the component once in our host, and waits until it is done.
    ///
    /// # Errors
    /// When the run fails or prints no report.
    pub fn collect(&self) -> Result<Run> {
        let mut host = self.host(&["run", "--json"], "spin.toml")?;
        let started = epoch_seconds();
        let output = host.output().context("cannot start catchpoint-graphite")?;
        let ended = epoch_seconds() + 1;
        match serde_json::from_slice(&output.stdout) {
            Ok(report) if output.status.success() => Ok(Run {
                started,
                ended,
                report,
            }),
            _ => {
                let said = [output.stderr, output.stdout].concat();
                let said = last_lines(&String::from_utf8_lossy(&said));
                bail!(
                    "`catchpoint-graphite run --json` failed ({}):\n{said}",
                    output.status
                )
            }
        }
    }

    /// What the sandbox was asked so far.
    ///
    /// # Errors
    /// When it does not answer so.
    pub fn calls(&self) -> Result<Vec<Call>> {
        let url = format!("{}/sandbox/calls", self.sandbox_url());
        serde_json::from_str(&local::get(&url, SOON)?).context(url)
    }

    /// Starts the relay again, after it has ended, with the same spool.
    ///
    /// # Errors
    /// As [`Pipeline::start`].
    pub fn restart_relay(&mut self) -> Result<()> {
        self.relay = start_relay(&self.folder, self.relay_address, self.carbon)?;
        Ok(())
    }

    /// Fails when one of the programs has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn require_running(&mut self) -> Result<()> {
        self.relay.require_running()?;
        self.sandbox.0.require_running()
    }

    /// Stops the relay and gives it time to finish.
    ///
    /// # Errors
    /// When the system does not tell how it ended.
    pub fn stop(self) -> Result<ExitStatus> {
        self.relay.stop(SOON)
    }
}

/// Lets all hosts keep the component's machine code in one folder: a host that is compiled for
/// development takes ten seconds to make it.
///
/// # Errors
/// Also when the folder `state` has code already.
pub fn share_compiled(state: &Path) -> Result<()> {
    let shared = target_dir().join("compiled");
    fs::create_dir_all(&shared)
        .and_then(|()| fs::create_dir_all(state))
        .and_then(|()| symlink(&shared, state.join("cache")))
        .with_context(|| format!("cannot link {}", shared.display()))
}

/// Starts a relay with its spool in `folder`, and its configuration, if there is one.
///
/// # Errors
/// When it is not built, not ready in time, or ends before.
pub fn start_relay(folder: &Path, listen: SocketAddr, carbon: SocketAddr) -> Result<Process> {
    let mut relay = Command::new(program("catchpoint-graphite-relay")?);
    let config = folder.join("config/config_graphite.yaml");
    if config.exists() {
        relay.arg("--config").arg(config);
    }
    relay
        .arg(format!("--listen={listen}"))
        .arg(format!("--carbon={carbon}"))
        .arg("--spool")
        .arg(folder.join("spool"));
    let mut relay = Process::spawn("relay", relay, &folder.join("log/relay.log"))?;
    wait_ready(&mut relay, listen)?;
    Ok(relay)
}

/// Waits until a relay takes posts: while it reads its spool it listens, and answers 503.
///
/// # Errors
/// When it is not in time, or ends before.
pub fn wait_ready(relay: &mut Process, address: SocketAddr) -> Result<()> {
    let url = format!("http://{address}/readyz");
    relay.wait("a relay that is ready", SOON, |_| {
        Ok(local::get(&url, SOON).ok().map(drop))
    })
}

/// One of the native programs as tests and the demo run it.
///
/// # Errors
/// When it is not built.
pub fn program(name: &str) -> Result<PathBuf> {
    existing(target_dir().join("debug").join(name), "cargo xtask test")
}

/// One of the two wasm files.
///
/// # Errors
/// When it is not built.
pub fn wasm(name: &str) -> Result<PathBuf> {
    let folder = target_dir().join("wasm32-wasip2/release");
    existing(folder.join(name), "cargo xtask build")
}

fn existing(path: PathBuf, command: &str) -> Result<PathBuf> {
    if !path.exists() {
        bail!("{} is missing: run `{command}`", path.display());
    }
    Ok(path)
}

fn append(file: &Path, text: &str) -> Result<()> {
    let opened = fs::OpenOptions::new().append(true).open(file);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The time of this machine; 0 before 1970.
#[must_use]
pub fn epoch_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default().as_secs();
    i64::try_from(since).unwrap_or(i64::MAX)
}
