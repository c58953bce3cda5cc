//! The real pieces together: the wasm component in our host, the relay, and carbon – a recording
//! stand-in, and the real one with graphite-web. `cargo xtask test` builds the pieces beforehand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use catchpoint_sandbox::{
    Clock, Datapoint, Kind, Sandbox, Settings, TestType, World, write_config,
};
use catchpoint_testbed::graphite::Range;
use catchpoint_testbed::{Conduct, Graphite, Options, Process, StandIn, Venv, port, target_dir};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn component() -> PathBuf {
    target_dir().join("wasm32-wasip2/release/catchpoint_graphite.wasm")
}

/// One program of this workspace, as `cargo test` built it.
fn program(name: &str) -> PathBuf {
    let path = target_dir().join("debug").join(name);
    assert!(
        path.exists(),
        "{} is missing; run `cargo xtask test`",
        path.display()
    );
    path
}

/// A sandbox, a configuration as the original has it, and a relay.
struct Pieces {
    folder: TempDir,
    sandbox: Arc<Sandbox>,
    server: catchpoint_sandbox::Server,
    relay: Process,
    relay_addr: SocketAddr,
}

impl Pieces {
    fn start(carbon: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::builder()
            .seed(11)
            .tests_per_type(1)
            .nodes(2)
            .interval_minutes(5)
            .build();
        let sandbox = Arc::new(Sandbox::new(world, Clock::real(), Settings::default()));
        let server = Arc::clone(&sandbox)
            .serve(TcpListener::bind("127.0.0.1:0").unwrap())
            .unwrap();
        let settings = Settings::default();
        write_config(folder.path(), server.address(), sandbox.world(), &settings).unwrap();
        let relay_addr = port::free().unwrap();
        let relay = start_relay(folder.path(), relay_addr, carbon);
        Self {
            folder,
            sandbox,
            server,
            relay,
            relay_addr,
        }
    }

    fn host(&self, arguments: &[&str]) -> Command {
        let mut host = Command::new(program("catchpoint-graphite"));
        assert!(
            component().exists(),
            "the component is missing; run `cargo xtask build`"
        );
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("spin.toml");
        host.args(arguments)
            .arg("--manifest")
            .arg(manifest)
            .arg("--config")
            .arg(self.folder.path())
            .arg("--state")
            .arg(self.folder.path().join("state"))
            .env(
                "SPIN_VARIABLE_CATCHPOINT_HOST",
                format!("http://{}", self.server.address()),
            )
            .env(
                "SPIN_VARIABLE_RELAY_URL",
                format!("http://{}", self.relay_addr),
            );
        host
    }

    /// One collection; the report.
    fn run(&self) -> serde_json::Value {
        let Output {
            status,
            stdout,
            stderr,
        } = self.host(&["run", "--json"]).output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{status}\n{stderr}{}", self.relay.tail());
        serde_json::from_slice(&stdout).unwrap()
    }

    /// What the calls so far must have brought, and what they may have brought: a window begins and
    /// ends within a second, and which side of it a result falls on is the sandbox's to say.
    fn expected(&self) -> (Vec<Datapoint>, BTreeSet<String>) {
        let (mut must, mut may) = (Vec::new(), BTreeSet::new());
        for call in self
            .sandbox
            .calls()
            .iter()
            .filter(|call| call.kind == Kind::LastRaw)
        {
            assert_eq!(call.status, Some(200));
            let at = call.at.timestamp();
            for point in self
                .sandbox
                .truth(at - 901, at + 2)
                .filter(|point| call.tests.contains(&point.test_id))
            {
                let Some(line) = original_line(&point) else {
                    continue;
                };
                may.insert(line);
                if (at - 898..at - 1).contains(&point.epoch_seconds) {
                    must.push(point);
                }
            }
        }
        (must, may)
    }
}

fn start_relay(folder: &Path, listen: SocketAddr, carbon: SocketAddr) -> Process {
    let mut relay = Command::new(program("catchpoint-graphite-relay"));
    relay
        .arg("--config")
        .arg(folder.join("config_graphite.yaml"))
        .args([
            "--listen",
            &listen.to_string(),
            "--carbon",
            &carbon.to_string(),
        ])
        .arg("--spool")
        .arg(folder.join("spool"));
    let mut relay = Process::spawn("relay", relay, &folder.join("relay.log")).unwrap();
    relay.wait_port(listen, SOON).unwrap();
    relay
}

/// The line that the original sends for a datapoint; none for a null. Written independently of the
/// mapping under test.
fn original_line(point: &Datapoint) -> Option<String> {
    let series = series(point);
    Some(format!("{series} {} {}", point.value?, point.epoch_seconds))
}

fn series(point: &Datapoint) -> String {
    let metric = point.metric.replace(' ', "");
    let mut series = format!(
        "system.cp.testdata.{metric};testId={};nodeId={}",
        point.test_id, point.node_id
    );
    if let Some(step) = point.step {
        series += &format!(";stepNumber={step}");
    } else if let Some(hop) = point.hop {
        series += &format!(";hopNumber={hop}");
    }
    series
}

/// Lines of tests, without the collector's own figures.
fn data(lines: &[String]) -> BTreeSet<String> {
    lines
        .iter()
        .filter(|line| line.starts_with("system.cp.testdata."))
        .cloned()
        .collect()
}

/// A small component starts quickly where each firing is a new instance.
#[test]
fn the_component_is_smaller_than_a_megabyte() {
    let bytes = std::fs::metadata(component()).unwrap().len();
    assert!(bytes < 1_000_000, "{bytes} bytes");
}

#[test]
fn the_originals_configuration_delivers_the_originals_lines_to_a_tcp_listener() {
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let pieces = Pieces::start(carbon.addr());
    let report = pieces.run();
    let accepted = report["lines_accepted"].as_u64().unwrap();
    assert_eq!(report["samples"].as_u64(), Some(accepted));
    assert_eq!(report["failures"].as_array().map(Vec::len), Some(0));
    assert_eq!(report["tests"]["collected"], 16);
    let own = report["calls"].as_object().unwrap().len() as u64 + 12;
    let lines = carbon
        .wait_lines(usize::try_from(accepted + own).unwrap(), SOON)
        .unwrap();
    let lines = data(&lines);
    let (must, may) = pieces.expected();
    let missing: Vec<String> = must
        .iter()
        .filter_map(original_line)
        .filter(|line| !lines.contains(line))
        .collect();
    let foreign: Vec<&String> = lines.difference(&may).collect();
    assert!(must.len() > 500, "only {} values are expected", must.len());
    assert_eq!((missing, foreign), (Vec::new(), Vec::new()));
    let types: BTreeSet<&str> = must.iter().map(|point| point.test_type.name()).collect();
    assert_eq!(types.len(), TestType::ALL.len());
}

#[test]
fn kill_9_of_the_relay_between_202_and_carbon_loses_no_line() {
    // Nobody listens there yet: the relay answers 202 and cannot forward.
    let addr = port::free().unwrap();
    let mut pieces = Pieces::start(addr);
    let report = pieces.run();
    let accepted = report["lines_accepted"].as_u64().unwrap();
    assert!(accepted > 500);
    pieces
        .relay
        .signal(catchpoint_testbed::Signal::KILL)
        .unwrap();
    pieces.relay.wait_end(SOON).unwrap();
    let carbon = StandIn::start_at(addr, Conduct::Read).unwrap();
    pieces.relay = start_relay(pieces.folder.path(), pieces.relay_addr, addr);
    let lines = data(
        &carbon
            .wait_lines(usize::try_from(accepted).unwrap(), SOON)
            .unwrap(),
    );
    let (must, _) = pieces.expected();
    let missing = must
        .iter()
        .filter_map(original_line)
        .filter(|line| !lines.contains(line))
        .count();
    assert_eq!(missing, 0);
}

#[test]
fn a_real_graphite_holds_every_datapoint() {
    let venv = Venv::ensure_default().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        retention: Some("1s:1h".to_owned()),
        ..Options::default()
    };
    let graphite = Graphite::start(&venv, folder.path(), &options).unwrap();
    let pieces = Pieces::start(graphite.carbon_addr());
    pieces.run();
    let (must, _) = pieces.expected();
    let mut missing: BTreeMap<(String, i64), f64> = must
        .iter()
        .map(|point| {
            (
                (sorted(&series(point)), point.epoch_seconds),
                point.value.unwrap(),
            )
        })
        .collect();
    let expected = missing.len();
    let now = must.iter().map(|point| point.epoch_seconds).max().unwrap();
    let range = Range {
        from: now - 1800,
        until: now + 60,
    };
    // Asking keeps graphite-web from indexing new series, so it is asked seldom, and only for what
    // is still missing.
    let deadline = std::time::Instant::now() + Duration::from_secs(240);
    while !missing.is_empty() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(2));
        for id in pieces.sandbox.world().tests().map(|test| test.id) {
            let tag = format!(";testId={id}");
            if !missing.keys().any(|(series, _)| series.ends_with(&tag)) {
                continue;
            }
            for found in graphite
                .render(&format!("seriesByTag('testId={id}')"), range)
                .unwrap()
            {
                for (time, value) in found.datapoints {
                    let key = (found.target.clone(), time);
                    if missing.get(&key) == Some(&value) {
                        missing.remove(&key);
                    }
                }
            }
        }
    }
    assert!(expected > 500);
    assert_eq!(
        missing.len(),
        0,
        "of {expected}, for instance {:?}",
        missing.iter().next()
    );
}

/// Graphite sorts the tags of a series by name.
fn sorted(series: &str) -> String {
    let mut parts = series.split(';');
    let name = parts.next().unwrap_or_default();
    let tags: BTreeSet<&str> = parts.collect();
    tags.iter()
        .fold(name.to_owned(), |series, tag| format!("{series};{tag}"))
}
