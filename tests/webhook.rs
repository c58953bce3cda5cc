//! Results that Catchpoint pushes: who may push, what is answered, and that a push and a poll of one
//! run are the same points.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use catchpoint_graphite::catchpoint::webhook::words::{ROUND_TRIP, WORDS};
use catchpoint_graphite::http_api::{Answer, Call, serve, serve_trusted};
use catchpoint_graphite::run::report::Report;
use catchpoint_sandbox::{Datapoint, Kind, Settings, TestType, World};
use serde_json::{Value, json};
use support::small::{START, host, yaml};
use support::{RelayMode, SimHost, series};

const TOKEN: &str = "push";

const PING: &str = include_str!("webhook/ping.json");

/// When its run was.
const PING_TIME: i64 = 1_772_366_403;

fn post_call() -> Call<'static> {
    Call {
        method: "POST",
        path_and_query: "/webhook",
        webhook_token: Some(TOKEN),
        ..Call::default()
    }
}

fn push(host: &SimHost, body: &str) -> Answer {
    let body = body.as_bytes();
    serve(
        host,
        &Call {
            body,
            ..post_call()
        },
    )
}

#[test]
fn nobody_pushes_without_the_token() {
    let host = host("v1", Settings::default());
    let status = |path_and_query, authorization, webhook_token| {
        let call = Call {
            method: "POST",
            path_and_query,
            authorization,
            webhook_token,
            body: PING.as_bytes(),
        };
        serve(&host, &call).status
    };
    assert_eq!(status("/webhook", None, Some(TOKEN)), 403);
    host.webhook_token.set(Some(TOKEN));
    assert_eq!(status("/webhook", None, None), 401);
    assert_eq!(status("/webhook", None, Some("wrong")), 401);
    assert_eq!(status("/webhook", Some("Bearer open"), None), 401);
    // The address is in the logs of every proxy.
    assert_eq!(status("/webhook?key=push", None, None), 401);
    assert_eq!(host.lines.get(), 0);
    assert_eq!(status("/webhook", None, Some(TOKEN)), 200);
    assert_eq!(status("/webhook", Some("bearer push"), None), 200);
    // A proxy has put a token of its own into the other header.
    assert_eq!(status("/webhook", Some("Bearer proxy"), Some(TOKEN)), 200);
    assert_eq!(status("/webhook", Some("Bearer push"), Some("wrong")), 401);
    // The token of one path does not open another.
    assert_eq!(status("/collect", Some("Bearer push"), None), 401);
}

#[test]
fn a_push_is_answered_by_what_became_of_it() {
    let host = host("v1", Settings::default());
    host.webhook_token.set(Some(TOKEN));
    let large = " ".repeat((1 << 20) + 1);
    for (relay, body, status, said) in [
        (RelayMode::Takes, PING, 200, "\"samples\":2"),
        (RelayMode::Rejects(1), PING, 200, "\"too_long\":1"),
        (RelayMode::Down, PING, 503, "no connection to the relay"),
        (RelayMode::Answers(503), PING, 503, "HTTP 503"),
        (RelayMode::Answers(401), PING, 503, "HTTP 401"),
        (RelayMode::Takes, "{}", 400, "TestId is missing"),
        (RelayMode::Takes, &large, 413, "larger than 1 MiB"),
    ] {
        host.relay.set(relay);
        let begun = host.clock.now();
        let answer = push(&host, body);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.contains(said), "{}", answer.body);
        // The node waits for 20 seconds.
        assert!((host.clock.now() - begun).num_seconds() < 18);
    }
    host.relay.set(RelayMode::Takes);
    host.set_config("version: v9\n");
    assert_eq!(push(&host, PING).status, 503);
}

/// Pushing needs no lease and leaves the state of the runs alone.
#[test]
fn a_push_writes_nothing_to_the_store() {
    let host = host("v1", Settings::default());
    host.webhook_token.set(Some(TOKEN));
    host.store_fails.set(true);
    assert_eq!(push(&host, PING).status, 200);
    assert!(host.state.borrow().is_empty());
}

/// The report says how much came each way and how late, also after the relay was started again.
#[test]
fn the_report_shows_how_much_came_each_way_and_how_late() {
    let host = host("v2", Settings::default());
    let run = || {
        host.clock.advance(Duration::from_secs(900));
        host.run(None).unwrap()
    };
    assert_eq!(run().push, None);
    host.webhook_token.set(Some(TOKEN));
    let pushed = |report: &Report| {
        let push = report.push.unwrap();
        assert!((300..900).contains(&push.polled_late_seconds), "{report}");
        (push.lines, push.late_seconds)
    };
    assert_eq!(pushed(&run()), (0, 0));
    let age = host.clock.now().timestamp() - PING_TIME;
    for _ in 0..2 {
        assert_eq!(push(&host, PING).status, 200);
        host.clock.advance(Duration::from_secs(10));
    }
    let report = run();
    assert_eq!(pushed(&report), (4, age as u64 + 5));
    let said = format!(" pushed=4 late_seconds=pushed:{},polled:", age + 5);
    assert!(report.to_string().contains(&said), "{report}");
    let at = report.ended.timestamp();
    let own = ("system.cp.collector.pushed.lines".to_owned(), at);
    assert_eq!(host.taken.borrow().get(&own).map(String::as_str), Some("4"));
    // Nothing since, and then less than before.
    assert_eq!(pushed(&run()), (0, 0));
    host.pushed.set((1, 2, 7));
    assert_eq!(pushed(&run()), (2, 7));
}

/// What becomes no line is counted in a series of the test and node.
#[test]
fn what_a_push_loses_is_a_series() {
    let host = host("v1", Settings::default());
    host.webhook_token.set(Some(TOKEN));
    let odd = PING.replace("12.5", "[], \"PacketLost\": 1");
    for (body, expect) in [(PING, [None; 2]), (&odd, [Some("1"), Some("1")])] {
        assert_eq!(push(&host, body).status, 200);
        let taken = host.taken.borrow();
        let found = ["unknown", "skipped"].map(|name| {
            let series = format!("system.cp.collector.webhook.{name};testId=464067;nodeId=540");
            taken.get(&(series, PING_TIME)).map(String::as_str)
        });
        assert_eq!(found, expect, "{body}");
    }
}

/// Bodies as no node sends them, and what is answered: never anything but an answer.
#[test]
fn hostile_bodies_cost_nothing_but_an_answer() {
    let host = host("v1", Settings::default());
    host.webhook_token.set(Some(TOKEN));
    let utf16: Vec<u8> = PING.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let steps = |count: u32| {
        let step = |number| {
            format!(r#"{{"StepNumber":{number},"Summary":{{"Timing":{{"Dns":{number}}}}}}}"#)
        };
        let steps: Vec<String> = (0..count).map(step).collect();
        PING.replacen('{', &format!("{{\"Steps\": [{}],", steps.join(",")), 1)
    };
    let with = |from: &str, to: &str| {
        assert!(PING.contains(from), "{from}");
        PING.replacen(from, to, 1).into_bytes()
    };
    let deep = format!(
        "\"Timing\":{}1{},",
        r#"{"a":"#.repeat(9000),
        "}".repeat(9000)
    );
    let check = |what: &str, body: &[u8], status: u16, said: &str| {
        let answer = serve(
            &host,
            &Call {
                body,
                ..post_call()
            },
        );
        let Answer {
            status: got, body, ..
        } = &answer;
        assert_eq!(*got, status, "{what}: {body}");
        assert!(body.contains(said) && body.len() < 2000, "{what}: {body}");
    };
    let whole = "\"samples\":2";
    check("nothing", b"", 400, "not JSON");
    check("UTF-16", &utf16, 400, "not JSON");
    check("gzip", &[0x1f, 0x8b, 8, 0, 0, 0], 400, "not JSON");
    check(
        "half of it",
        &PING.as_bytes()[..PING.len() / 2],
        400,
        "not JSON",
    );
    check("two of them", PING.repeat(2).as_bytes(), 400, "not JSON");
    check(
        "a long text",
        format!("\"{}\"", "x".repeat(1 << 19)).as_bytes(),
        400,
        "…",
    );
    check("no number", &with("464067", "NaN"), 400, "not JSON");
    check(
        "a huge id",
        &with("464067", "1e30"),
        400,
        "TestId is missing",
    );
    check("a byte order mark", &with("{", "\u{feff}{"), 200, whole);
    check(
        "an id twice: the later one counts",
        &with("{", "{\"TestId\": 1,"),
        200,
        whole,
    );
    let garbage = [&b"{\"\xff\":1,"[..], &PING.as_bytes()[1..]].concat();
    check("no UTF-8", &garbage, 200, whole);
    check("deep nesting", &with("\"V\": 1,", &deep), 200, whole);
    let late = with(r#""Timestamp": "2026"#, r#""Timestamp": "9999"#);
    check("no time of carbon", &late, 200, "\"time_out_of_range\":2");
    check(
        "10,000 steps",
        steps(10_000).as_bytes(),
        200,
        "\"samples\":10000",
    );
}

/// A `Summary` of these values, as far as it has words for them.
fn summary(points: &[&Datapoint], texts: bool) -> Value {
    let mut summary = json!({});
    for point in points {
        let row = WORDS.iter().find(|(_, metric, _)| *metric == point.metric);
        if let Some((word, ..)) = row {
            let mut at = &mut summary;
            for part in word.split('.') {
                at = &mut at[part];
            }
            *at = match (point.value, texts) {
                (Some(value), true) => json!(value.to_string()),
                (None, true) => json!(""),
                (value, false) => json!(value),
            };
        }
    }
    summary
}

/// What the webhook posts of one run, in the default form or in that of the template.
fn body(points: &[Datapoint], texts: bool) -> Value {
    let first = &points[0];
    let of_step = |step| -> Vec<&Datapoint> {
        let points = points.iter();
        points
            .filter(|point| point.step == step && point.hop.is_none())
            .collect()
    };
    let mut whole = summary(&of_step(None), texts);
    let time = chrono::DateTime::from_timestamp(first.epoch_seconds, 0).unwrap();
    whole["Timestamp"] = json!(time.format("%Y%m%d%H%M%S417").to_string());
    let steps: BTreeSet<u32> = points.iter().filter_map(|point| point.step).collect();
    let step =
        |number| json!({ "StepNumber": number, "Summary": summary(&of_step(Some(number)), texts) });
    let steps: Vec<Value> = steps.into_iter().map(step).collect();
    let trips = points
        .iter()
        .filter(|point| point.hop.is_some() && point.metric == ROUND_TRIP);
    let hops: BTreeMap<u32, Value> = trips
        .map(|trip| {
            let times = [trip.value; 3];
            (trip.hop.unwrap(), json!({ "RoundTripTimes": times }))
        })
        .collect();
    let hops: Vec<Value> = hops.into_values().collect();
    // Where it is known.
    let kind = Some(first.test_type).filter(|kind| *kind != TestType::Custom);
    json!({
        "TestId": first.test_id, "NodeId": first.node_id, "TestDetail": { "TypeId": kind.map(TestType::id) },
        "Summary": whole, "Steps": steps, "Diagnostic": { "TraceRoute": { "Hops": hops } },
    })
}

/// For every type: what is pushed of a run are points that polling brings, with the same values. The
/// snapshot says what push does not bring.
#[test]
fn a_push_and_a_poll_of_one_run_are_the_same_points() {
    let builder = World::builder().seed(7).nodes(2).interval_minutes(5);
    let world = builder.tests_per_type(1).build();
    let ids: Vec<String> = TestType::ALL
        .iter()
        .map(|kind| format!("{kind}: {:?}", world.ids(*kind)))
        .collect();
    let config = yaml("v1", &format!("test_ids: {{ {} }}", ids.join(", ")));
    let host = SimHost::new(world, START, Settings::default(), &config);
    host.webhook_token.set(Some(TOKEN));
    host.run(None);
    let polled = host.taken.take();

    let mut runs: BTreeMap<(u64, u64, i64), Vec<Datapoint>> = BTreeMap::new();
    let now = host.clock.now().timestamp();
    for point in host.sandbox.truth(now - 900, now) {
        let run = (point.test_id, point.node_id, point.epoch_seconds);
        runs.entry(run).or_default().push(point);
    }
    for (index, points) in runs.values().enumerate() {
        let answer = push(&host, &body(points, index % 2 == 1).to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.contains("\"unknown\":0"), "{}", answer.body);
    }
    let pushed = host.taken.take();

    let mut kinds: BTreeMap<TestType, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for point in runs
        .values()
        .flatten()
        .filter(|point| point.value.is_some())
    {
        let key = (series(point), point.epoch_seconds);
        let (both, polled_only) = kinds.entry(point.test_type).or_default();
        names.insert(key.clone());
        match (pushed.get(&key), polled.get(&key)) {
            (Some(value), Some(same)) => {
                assert_eq!(value, same, "{key:?}");
                both.insert(point.metric.to_string());
            }
            // The run began a moment before the run that polled ended.
            (Some(_), None) => assert!(now - point.epoch_seconds < 60, "{key:?}"),
            (None, _) => {
                polled_only.insert(point.metric.to_string());
            }
        }
    }
    let own = |name: &str| name.starts_with("system.cp.collector.");
    // Of some hops a poll says nothing about losses; a push always does.
    let strange = pushed
        .keys()
        .find(|key| !own(&key.0) && !names.contains(key) && !key.0.contains("PingPacketLoss"));
    assert_eq!(strange, None);
    let mut shown = String::new();
    for (kind, (both, polled_only)) in &kinds {
        let both = both.len();
        let list: Vec<&str> = polled_only.iter().map(String::as_str).collect();
        shown += &format!(
            "{kind}: {both} by both, by polling only: {}\n",
            list.join(", ")
        );
    }
    insta::assert_snapshot!(shown);
}

/// A day of `poll: gaps`, in which nothing is pushed and Catchpoint is down for an hour when it is asked
/// for the second time.
#[test]
fn polling_for_gaps_is_rare_and_complete() {
    const QUARTER: u64 = 900;
    let down = support::small::status(503);
    let host = host("v2", Settings::default());
    let config = yaml(
        "v2",
        &format!("{}\npoll: gaps", support::small::good_tests()),
    );
    host.set_config(&config);
    let warns = || {
        let answer = serve_trusted(&host, "GET", "/check");
        answer.body.contains("poll: gaps needs push")
    };
    assert!(warns());
    host.webhook_token.set(Some(TOKEN));
    assert!(!warns());
    let calls = || host.sandbox.calls().len();
    let mut asked = Vec::new();
    for quarter in 0..96 {
        match quarter {
            31 => support::small::always(&host, Kind::V2, down.clone()),
            35 => host.sandbox.set_faults(Vec::new()),
            _ => {}
        }
        let before = calls();
        let report = host.run(None).unwrap();
        if calls() > before {
            asked.push(quarter);
        }
        let is_down = (31..35).contains(&quarter);
        assert_eq!(report.failures.is_empty(), !is_down, "{quarter}: {report}");
        assert!(is_down || report.gaps.tests == 0, "{quarter}: {report}");
        host.clock
            .set(START.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
        host.clock
            .advance(Duration::from_secs((quarter + 1) * QUARTER));
    }
    assert_eq!(asked, [15, 31, 32, 33, 34, 35, 51, 67, 83]);
    support::small::assert_whole(&host, START, "2026-03-02T08:40:00Z");
}
