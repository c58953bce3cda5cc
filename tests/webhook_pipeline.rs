//! Pushes through the real pieces: the wasm component in our host, the relay, and carbon, real or a
//! recording stand-in. `cargo xtask test` builds the pieces beforehand.
//!
//! `WEBHOOK_POSTS=100000 cargo test --test webhook_pipeline -- --nocapture` is the full load.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use catchpoint_graphite::catchpoint::webhook::Push;
use catchpoint_graphite::config::Settings;
use catchpoint_graphite::config::catchpoint::CatchpointSettings;
use catchpoint_graphite::config::graphite::GraphiteSettings;
use catchpoint_testbed::graphite::{Range, Series};
use catchpoint_testbed::pipeline::{SOON, Size, epoch_seconds};
use catchpoint_testbed::{
    Conduct, Graphite, Options, Pipeline, Process, Signal, StandIn, Venv, local, port, wait,
};
use chrono::DateTime;

const CONNECTIONS: u64 = 200;

/// How many tests the load is of.
const TESTS: u64 = 100;

/// No node of the sandbox, whose results a scheduled run may bring meanwhile.
const NODE: u64 = 987_654_321;

/// How many posts a second our runner answers at least, also when it is built for development on a
/// busy machine.
const SLOWEST: u64 = 10;

/// The relay in front of a carbon, our host that takes pushes, and its address.
fn start(folder: &Path, carbon: SocketAddr) -> (Pipeline, Process, SocketAddr) {
    let pipeline = Pipeline::start(folder, carbon, Size::SMALL).unwrap();
    let address = port::free().unwrap();
    let listen = format!("--listen={address}");
    let mut host = pipeline
        .host(&["up", "--no-first-run", &listen], "spin.toml")
        .unwrap();
    host.env("SPIN_VARIABLE_WEBHOOK_TOKEN", "push");
    let mut host = Process::spawn("host", host, &folder.join("log/host.log")).unwrap();
    host.wait_port(address, SOON).unwrap();
    (pipeline, host, address)
}

/// A point as Graphite shows it: name and tags, and the value.
type Points = BTreeMap<BTreeMap<String, String>, f64>;

fn points(lines: &str) -> Points {
    let point = |line: &str| {
        let (series, rest) = line.split_once(' ').unwrap();
        let tags = format!("name={series}");
        let tags = tags.split(';').map(|tag| tag.split_once('=').unwrap());
        let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let value = rest.split(' ').next().unwrap().parse().unwrap();
        (tags.collect(), value)
    };
    lines.lines().map(point).collect()
}

/// Each public shape is posted twice, as by a node that has not read the answer.
#[test]
fn every_shape_reaches_a_real_graphite_once() {
    let venv = Venv::ensure_default().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        retention: Some("1m:1d".to_owned()),
        ..Options::default()
    };
    let graphite = Graphite::start(&venv, &folder.path().join("graphite"), &options).unwrap();
    let (_pipeline, _host, address) = start(folder.path(), graphite.carbon_addr());
    let time = epoch_seconds() - 60;
    let stamp = DateTime::from_timestamp(time, 0).unwrap();
    let stamp = stamp.format("%Y%m%d%H%M%S417").to_string();
    let settings = Settings {
        catchpoint: CatchpointSettings::default(),
        graphite: GraphiteSettings::read("", "").0,
        relay_url: String::new(),
        relay_token: None,
    };
    let mut expected = Points::new();
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webhook");
    for shape in std::fs::read_dir(shapes).unwrap() {
        let body = std::fs::read_to_string(shape.unwrap().path()).unwrap();
        let body = body.replace("20260301120003417", &stamp);
        let lines = Push::read(&body, &settings).unwrap().lines;
        expected.extend(points(str::from_utf8(&lines).unwrap()));
        for _ in 0..2 {
            let post = local::client(SOON).post(format!("http://{address}/webhook"));
            let answer = post.header("x-webhook-token", "push").send(&body).unwrap();
            assert_eq!(answer.status(), 200);
        }
    }
    assert!(expected.len() > 60, "{}", expected.len());
    let range = Range {
        from: time - 120,
        until: time + 60,
    };
    let shown = wait::until("all points in Graphite", SOON * 2, || {
        let shown = graphite.render(
            r"seriesByTag('name=~^system\.cp\.testdata\.','testId=~^46406')",
            range,
        )?;
        let point = |series: Series| {
            let [(_, value)] = series.datapoints[..] else {
                return None;
            };
            Some((series.tags, value))
        };
        let shown: Points = shown.into_iter().filter_map(point).collect();
        Ok((shown.len() >= expected.len()).then_some(shown))
    })
    .unwrap();
    assert_eq!(shown, expected);
}

/// A ping of one test at a second of its own.
fn body(test: u64, time: i64, value: u64) -> String {
    let stamp = DateTime::from_timestamp(time, 0).unwrap();
    let stamp = stamp.format("%Y%m%d%H%M%S417");
    format!(
        r#"{{"TestId":{test},"NodeId":{NODE},"TestDetail":{{"TypeId":6}},"Summary":{{"Timestamp":"{stamp}",
        "Ping":{{"RoundTripTimeAvg":{value},"PacketLossPct":0}}}}}}"#
    )
}

#[test]
fn two_hundred_connections_push_and_the_relay_is_killed_meanwhile() {
    let posts: u64 = std::env::var("WEBHOOK_POSTS").map_or(1000, |posts| posts.parse().unwrap());
    let venv = Venv::ensure_default().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        retention: Some("1s:3h".to_owned()),
        ..Options::default()
    };
    let graphite = Graphite::start(&venv, &folder.path().join("graphite"), &options).unwrap();
    let (mut pipeline, _host, address) = start(folder.path(), graphite.carbon_addr());

    // Each post is one second of one of the tests, and has a value of its own.
    let (first, span) = (epoch_seconds() - 1800, posts.div_ceil(TESTS) as i64);
    let point = |post: u64| (1 + post % TESTS, first + (post / TESTS) as i64);
    let (next, done, again) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let within = SOON * 2 + Duration::from_secs(posts / SLOWEST);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let client = local::client(SOON);
                let url = format!("http://{address}/webhook");
                loop {
                    let post = next.fetch_add(1, Ordering::Relaxed);
                    if post >= posts {
                        return;
                    }
                    let (test, time) = point(post);
                    let body = body(test, time, post);
                    // What a node does, only sooner.
                    loop {
                        let call = client.post(&url).header("x-webhook-token", "push");
                        match call.send(&body) {
                            Ok(answer) if answer.status() == 200 => break,
                            Ok(answer) => assert_eq!(answer.status(), 503),
                            Err(_) => {}
                        }
                        assert!(
                            begun.elapsed() < within,
                            "post {post} is not answered by 200"
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

    let (rate, again) = (posts as f64 / seconds, again.into_inner());
    eprintln!("{posts} posts in {seconds:.1} s: {rate:.0} a second, {again} posted again");

    let value = |post: u64| {
        let (test, time) = point(post);
        [("PingRoundTrip(ms)", post as f64), ("%PingPacketLoss", 0.0)]
            .map(|(metric, value)| ((metric.to_owned(), test, time), value))
    };
    let expected: BTreeMap<_, _> = (0..posts).flat_map(value).collect();
    let tag = format!("nodeId={NODE}");
    let range = Range {
        from: first - 10,
        until: first + span + 10,
    };
    let shown = wait::until("all points in Graphite", within, || {
        let mut shown = BTreeMap::new();
        for metric in ["PingRoundTrip(ms)", "%PingPacketLoss"] {
            let name = format!("name=system.cp.testdata.{metric}");
            for series in graphite.render(&format!("seriesByTag('{name}','{tag}')"), range)? {
                let test: u64 = series.tags["testId"].parse()?;
                let points = series.datapoints.into_iter();
                shown.extend(points.map(|(time, value)| ((metric.to_owned(), test, time), value)));
            }
        }
        Ok((shown.len() >= expected.len()).then_some(shown))
    })
    .unwrap();
    // Not one big assertion: it would print all of both.
    let differs = |(point, value): &(&(String, u64, i64), &f64)| shown.get(*point) != Some(*value);
    assert_eq!(expected.iter().find(differs), None);
    assert_eq!(shown.len(), expected.len());
}

/// A body in pieces, one that is too long for the component or for the runner, and one that breaks off.
#[test]
fn bodies_are_bounded_on_their_way() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let (_pipeline, _host, address) = start(folder.path(), carbon.addr());
    let send = |length: &str, body: &str| {
        let head =
            "POST /webhook HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-webhook-token: push";
        let mut stream = TcpStream::connect(address).unwrap();
        let sent = stream.write_all(format!("{head}\r\n{length}\r\n\r\n{body}").as_bytes());
        sent.map(|()| stream)
    };
    // The beginning of the answer.
    let chunked = |body: &str| {
        let body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let mut status = [0; 12];
        send("transfer-encoding: chunked", &body)?.read_exact(&mut status)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&status).into_owned())
    };
    assert_eq!(chunked(&body(7, 1_772_366_403, 7)).unwrap(), "HTTP/1.1 200");
    assert_eq!(chunked(&" ".repeat(3 << 19)).unwrap(), "HTTP/1.1 413");
    // Whoever goes on sending may not get to read the answer.
    let long = chunked(&" ".repeat(10 << 20));
    assert!(long.is_err() || long.unwrap() == "HTTP/1.1 413");
    drop(send("content-length: 999", "{"));
    assert_eq!(chunked("{}").unwrap(), "HTTP/1.1 400");
    assert_eq!(chunked(&body(7, 1_772_366_403, 7)).unwrap(), "HTTP/1.1 200");
}

/// More nodes than are served at once post to a relay that hangs: each is told so while it waits, and
/// pushes go on with the relay.
#[test]
fn a_relay_that_hangs_is_a_503_in_time() {
    const NODES: u64 = 450;
    let folder = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let (pipeline, _host, address) = start(folder.path(), carbon.addr());
    let post = |test| {
        let client = local::client(Duration::from_secs(20));
        let post = client.post(format!("http://{address}/webhook"));
        let begun = Instant::now();
        let answer = post
            .header("x-webhook-token", "push")
            .send(body(test, 1_772_366_403, test));
        (answer.unwrap().status().as_u16(), begun.elapsed())
    };
    assert_eq!(post(1).0, 200);
    pipeline.relay.signal(Signal::STOP).unwrap();
    let answers: Vec<(u16, Duration)> = thread::scope(|scope| {
        let nodes: Vec<_> = (0..NODES)
            .map(|test| scope.spawn(move || post(test)))
            .collect();
        nodes.into_iter().map(|node| node.join().unwrap()).collect()
    });
    pipeline.relay.signal(Signal::CONT).unwrap();
    assert!(
        answers.iter().all(|(status, _)| *status == 503),
        "{answers:?}"
    );
    let waited = |(_, time): &&(u16, Duration)| *time > Duration::from_secs(10);
    let waited = answers.iter().filter(waited).count();
    assert!((1..=400).contains(&waited), "{waited}");
    assert_eq!(post(1).0, 200);
}
