//! A sandbox, a relay and a carbon stand-in, which a component build under test stands between.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use catchpoint_testbed::{Conduct, Process, Signal, StandIn, local, port, workspace};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::tools::program;

/// How long anything may take on a loaded machine.
pub const SOON: Duration = Duration::from_secs(60);

/// More than a run needs: the API's own limits would stretch each test over minutes.
const MANY_CALLS: &str =
    "limits: { per_second: 1000, per_minute: 1000, per_hour: 10000, per_day: 100000 }\n";

/// What a run report says, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// `ok`, `failed` or `skipped`.
    pub outcome: String,
    /// Lines that the relay has on its disk.
    pub lines_accepted: usize,
    /// What went wrong.
    pub failures: Vec<Value>,
}

/// One call that the sandbox got.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Call {
    /// `token`, `lastraw`, …
    pub kind: String,
    /// The tests that it asked for.
    pub tests: Vec<u64>,
}

/// The programs around a component. They end when it is dropped.
pub struct Pipeline {
    /// For state, logs and configuration.
    pub folder: TempDir,
    /// What the relay has sent on.
    pub carbon: StandIn,
    relay: Process,
    _sandbox: Process,
    relay_address: SocketAddr,
    sandbox: SocketAddr,
}

impl Pipeline {
    /// Starts all of it, with one test of each of the 16 types on two nodes.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let carbon = StandIn::start(Conduct::Read).unwrap();
        let at = |name: &str| folder.path().join(name);

        let sandbox = port::free().unwrap();
        let mut command = Command::new(program("catchpoint-sandbox"));
        command
            .arg(format!("--listen={sandbox}"))
            .args(["--tests-per-type=1", "--nodes=2", "--no-limits"])
            .arg("--config-out")
            .arg(at("config"));
        let mut sandbox_process = Process::spawn("sandbox", command, &at("sandbox.log")).unwrap();
        // It listens before it has written its configuration; this it says after both.
        sandbox_process.wait_line("look:", SOON).unwrap();
        append(at("config/config_catchpoint.yaml"), MANY_CALLS);
        append(at("config/config_graphite.yaml"), "self_metrics: false\n");

        let relay_address = port::free().unwrap();
        let mut command = Command::new(program("catchpoint-graphite-relay"));
        command
            .arg(format!("--listen={relay_address}"))
            .arg(format!("--carbon={}", carbon.addr()))
            .arg("--spool")
            .arg(at("spool"));
        let mut relay = Process::spawn("relay", command, &at("relay.log")).unwrap();
        relay.wait_port(relay_address, SOON).unwrap();
        Self {
            carbon,
            relay,
            _sandbox: sandbox_process,
            relay_address,
            sandbox,
            folder,
        }
    }

    /// The folder with the two configuration files.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Where the relay listens.
    pub fn relay_url(&self) -> String {
        format!("http://{}", self.relay_address)
    }

    /// A command of the host that runs the component by this manifest, with a state of its own.
    pub fn host(&self, arguments: &[&str], manifest: &str) -> Command {
        let mut host = Command::new(program("catchpoint-graphite"));
        host.args(arguments)
            .arg("--manifest")
            .arg(workspace().join(manifest))
            .arg("--config")
            .arg(self.config())
            .arg("--state")
            .arg(self.folder.path().join("state"))
            .env("SPIN_VARIABLE_RELAY_URL", self.relay_url())
            .env(
                "SPIN_VARIABLE_CATCHPOINT_HOST",
                format!("http://{}", self.sandbox),
            );
        host
    }

    /// What the sandbox was asked so far.
    pub fn calls(&self) -> Vec<Call> {
        #[derive(Deserialize)]
        struct Calls {
            calls: Vec<Call>,
        }
        let url = format!("http://{}/sandbox/calls", self.sandbox);
        let mut answer = local::client(SOON).get(&url).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        serde_json::from_str::<Calls>(&text).unwrap().calls
    }

    /// Does this while the relay stands still, so that no run can end.
    pub fn while_no_run_ends<T>(&self, work: impl FnOnce() -> T) -> T {
        self.relay.signal(Signal::STOP).unwrap();
        let done = work();
        self.relay.signal(Signal::CONT).unwrap();
        done
    }
}

fn append(file: PathBuf, text: &str) {
    assert!(fs::exists(&file).unwrap(), "no {}", file.display());
    let mut file = OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
