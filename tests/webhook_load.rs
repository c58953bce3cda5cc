//! Many nodes push at once through the real pieces, and the relay is killed meanwhile: nothing is
//! lost. `WEBHOOK_POSTS=100000 cargo test --test webhook_load -- --nocapture` is the full load; it
//! needs what `cargo xtask test` builds.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use catchpoint_testbed::pipeline::{SOON, Size};
use catchpoint_testbed::{Conduct, Pipeline, Process, Signal, StandIn, local, port, wait};

const CONNECTIONS: u64 = 200;

/// No node of the sandbox, whose results a scheduled run may bring meanwhile.
const NODE: u64 = 987_654_321;

/// How many posts a second our runner answers at least, also when it is built for development on a
/// busy machine.
const SLOWEST: u64 = 10;

/// A ping of one test; its values are the test's number.
fn body(test: u64) -> String {
    format!(
        r#"{{"TestId":{test},"NodeId":{NODE},"TestDetail":{{"TypeId":6}},"Summary":{{"Timestamp":"20260301120003417",
        "Ping":{{"RoundTripTimeAvg":{test},"PacketLossPct":0}}}}}}"#
    )
}

#[test]
fn two_hundred_connections_push_and_the_relay_is_killed_meanwhile() {
    let posts = std::env::var("WEBHOOK_POSTS").map_or(1000, |posts| posts.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let mut pipeline = Pipeline::start(folder.path(), carbon.addr(), Size::SMALL).unwrap();
    let address = port::free().unwrap();
    let listen = format!("--listen={address}");
    let mut host = pipeline
        .host(&["up", "--no-first-run", &listen], "spin.toml")
        .unwrap();
    host.env("SPIN_VARIABLE_WEBHOOK_TOKEN", "push");
    let mut host = Process::spawn("host", host, &folder.path().join("log/host.log")).unwrap();
    host.wait_port(address, SOON).unwrap();

    let (next, done, again) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let within = SOON * 2 + Duration::from_secs(posts / SLOWEST);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let client = local::client(SOON);
                let url = format!("http://{address}/webhook");
                loop {
                    let test = next.fetch_add(1, Ordering::Relaxed);
                    if test > posts {
                        return;
                    }
                    // What a node does, only sooner.
                    loop {
                        let post = client.post(&url).header("x-webhook-token", "push");
                        match post.send(body(test)) {
                            Ok(answer) if answer.status() == 200 => break,
                            Ok(answer) => assert_eq!(answer.status(), 503),
                            Err(_) => {}
                        }
                        assert!(
                            begun.elapsed() < within,
                            "post {test} is not answered by 200"
                        );
                        again.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(500));
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while done.load(Ordering::Relaxed) < posts / 2 {
            assert!(begun.elapsed() < within);
            thread::sleep(Duration::from_millis(5));
        }
        pipeline.relay.signal(Signal::KILL).unwrap();
        pipeline.relay.wait_end(SOON).unwrap();
        thread::sleep(Duration::from_secs(1));
        pipeline.restart_relay().unwrap();
    });
    let seconds = begun.elapsed().as_secs_f64();

    let node = format!(";nodeId={NODE}");
    let is_pushed = |line: &str| line.starts_with("system.cp.testdata.") && line.contains(&node);
    let expected = usize::try_from(posts * 2).unwrap();
    let points: HashMap<String, String> = wait::until("all points", within, || {
        let points: HashMap<String, String> = carbon
            .lines()
            .into_iter()
            .filter_map(|line| {
                let (series, rest) = line.split_once(' ')?;
                Some((series.to_owned(), rest.to_owned()))
            })
            .filter(|(series, _)| is_pushed(series))
            .collect();
        Ok((points.len() >= expected).then_some(points))
    })
    .unwrap();
    assert_eq!(points.len(), expected);
    for test in 1..=posts {
        let series = format!("system.cp.testdata.PingRoundTrip(ms);testId={test};nodeId={NODE}");
        assert_eq!(points[&series], format!("{test} 1772366403"));
    }
    let (rate, again) = (posts as f64 / seconds, again.into_inner());
    eprintln!("{posts} posts in {seconds:.1} s: {rate:.0} a second, {again} posted again");
    let lines = carbon.lines();
    let lines = lines.iter().filter(|line| is_pushed(line)).count();
    eprintln!("carbon got {lines} lines of {expected} points");
}
