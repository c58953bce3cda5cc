//! A carbon cluster: our relay, a real carbon-c-relay, two real carbons, as `docs/scaling.md` says.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use catchpoint_testbed::graphite::Range;
use catchpoint_testbed::pipeline::{SOON, epoch_seconds, start_relay};
use catchpoint_testbed::{Graphite, Options, Process, Venv, local, port, wait};
use tempfile::TempDir;

use crate::tools::{Data, lines, own_tool, read, results};

const SERIES: usize = 200;
const POINTS: usize = 3;

/// Names with all that carbon-c-relay would rewrite.
const METRICS: [&str; 4] = ["DNS(ms)", "%Availability", "#Items(Total)", "Apdex"];

/// The options that the file says it must be started with.
fn options(configuration: &str) -> Vec<String> {
    let (_, line) = configuration.split_once("-f carbon-c-relay.conf ").unwrap();
    let line = line.lines().next().unwrap();
    let unquoted = line.split_whitespace().map(|word| word.trim_matches('\''));
    unquoted.map(str::to_owned).collect()
}

/// Starts carbon-c-relay with the recommended file, its addresses replaced.
fn start_c_relay(folder: &TempDir, carbons: [SocketAddr; 2]) -> (Process, SocketAddr) {
    let listen = port::free().unwrap();
    let recommended = read("deploy/cluster/carbon-c-relay.conf");
    let mut text = recommended.clone();
    for (from, to) in [
        // First, for it is the beginning of what the others may become.
        ("127.0.0.1:2013", listen),
        ("10.0.0.11:2003", carbons[0]),
        ("10.0.0.12:2003", carbons[1]),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, &to.to_string());
    }
    let file = folder.path().join("carbon-c-relay.conf");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(own_tool("usr/bin/carbon-c-relay"));
    command.arg("-f").arg(&file).args(options(&recommended));
    let log = folder.path().join("carbon-c-relay.log");
    let mut process = Process::spawn("carbon-c-relay", command, &log).unwrap();
    process.wait_port(listen, SOON).unwrap();
    (process, listen)
}

fn measured(now: i64) -> Data {
    (0..SERIES)
        .map(|index| {
            let metric = METRICS[index % METRICS.len()];
            let name = format!("system.cp.testdata.{metric};nodeId={};testId=7", index + 1);
            let points = (0..POINTS).map(|point| {
                let value = u32::try_from(index * 10 + point).unwrap();
                (
                    now - 60 + 10 * i64::try_from(point).unwrap(),
                    f64::from(value),
                )
            });
            (name, points.collect())
        })
        .collect()
}

#[test]
fn a_cluster_behind_carbon_c_relay_has_everything_once() {
    let venv = Venv::ensure_default().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        retention: Some("1s:1h".to_owned()),
        ..Options::default()
    };
    let graphites =
        ["a", "b"].map(|name| Graphite::start(&venv, &folder.path().join(name), &options).unwrap());
    let carbons = graphites.each_ref().map(Graphite::carbon_addr);
    let (_c_relay, c_relay) = start_c_relay(&folder, carbons);
    let relay = port::free().unwrap();
    let _relay = start_relay(folder.path(), relay, c_relay).unwrap();

    let now = epoch_seconds();
    let sent = measured(now);
    let answer = local::client(SOON)
        .post(format!("http://{relay}/v1/lines"))
        .content_type("text/plain")
        .send(&lines(&sent))
        .unwrap();
    assert_eq!(answer.status(), 202);

    let range = Range {
        from: now - 120,
        until: now,
    };
    let there = || {
        graphites
            .each_ref()
            .map(|graphite| results(graphite, range))
    };
    let count = |data: &Data| data.values().map(Vec::len).sum::<usize>();
    wait::until("all datapoints", Duration::from_secs(60), || {
        Ok((there().iter().map(count).sum::<usize>() >= SERIES * POINTS).then_some(()))
    })
    .unwrap();
    let [first, second] = there();
    // A fair share each, and no series in two places.
    assert!(first.len() > SERIES / 5 && second.len() > SERIES / 5);
    assert_eq!(first.len() + second.len(), SERIES);
    let all: Data = first.into_iter().chain(second).collect();
    assert_eq!(all, sent);
}
