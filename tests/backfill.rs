//! Backfills against the sandbox in driven time, with the regular runs going on beside them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::time::Duration;

use catchpoint_graphite::http_api::{Answer, Call, serve};
use catchpoint_graphite::run::report::Outcome;
use catchpoint_sandbox::{Kind, Limits, RangedLists, Settings, TestType, World};
use chrono::{DateTime, TimeDelta, Utc};
use insta::assert_snapshot;
use serde_json::Value;
use support::small::{always, always_with, assert_run, assert_whole, status};
use support::{COLLECT_TOKEN, RelayMode, SimHost};

/// The day that was never collected, and the one after it, on which it is filled.
const DAY: (&str, &str) = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
const NOW: &str = "2026-03-02T06:00:00Z";

/// The seconds of a test in the day, for all tests.
const TOTAL: i64 = 21 * 86_400;

/// Catchpoint does not know this test.
const BAD_ID: u64 = 999_999_999;

fn world() -> World {
    let builder = World::builder().seed(11).nodes(3).interval_minutes(15);
    builder
        .only(&[TestType::Ping, TestType::Dns])
        .tests(TestType::Ping, 14)
        .tests(TestType::Dns, 7)
        .build()
}

/// A world of 21 tests, in five batches.
fn host(version: &str, lists: RangedLists, more: &str) -> SimHost {
    let settings = Settings {
        limits: Some(Limits::default()),
        ranged_lists: lists,
        ..Settings::default()
    };
    SimHost::new(world(), NOW, settings, &yaml(version, more, false))
}

fn v1() -> SimHost {
    host("v1", RangedLists::Refused, "")
}

fn yaml(version: &str, more: &str, bad: bool) -> String {
    let mut ping = world().ids(TestType::Ping);
    if bad {
        ping.insert(4, BAD_ID);
    }
    let dns = world().ids(TestType::Dns);
    format!(
        "client_id: 'sandbox-client'\nclient_secret: 'sandbox-secret'\napi_key: 'sandbox-key'\nprotocol: 'http'\n\
         domain: 'catchpoint.test/ui/api'\nversion: '{version}'\nbatch_size: 5\n{more}\ntest_ids: {{ ping: {ping:?}, dns: {dns:?} }}\n"
    )
}

fn ask(host: &SimHost, method: &str, path_and_query: &str) -> Answer {
    let authorization = Some(format!("Bearer {COLLECT_TOKEN}"));
    let call = Call {
        method,
        path_and_query,
        authorization: authorization.as_deref(),
    };
    serve(host, &call)
}

fn read(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

fn post(host: &SimHost, calls: u32) -> Value {
    let (from, to) = DAY;
    read(&ask(
        host,
        "POST",
        &format!("/backfill?from={from}&to={to}&calls={calls}"),
    ))
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str().map(|text| text.parse().unwrap())
}

/// Asks for one call after the other, with a run at each tick, as long as the component says when to
/// continue. Requests may be killed. Returns the last answer, and how many were killed.
fn fill_with(host: &SimHost, offset: i64, kill: bool) -> (Value, usize) {
    let (mut requests, mut killed) = (0, 0);
    let tick = |n: i64| DateTime::from_timestamp(n * 900 + offset, 0).unwrap();
    let mut ticks = (host.clock.now().timestamp() - offset) / 900;
    loop {
        let kill_in = (kill && requests % 3 == 0).then_some(20 + requests);
        requests += 1;
        assert!(requests < 200, "it does not end");
        let answer = host.killed_in(kill_in, || post(host, 1));
        let now = host.clock.now();
        let go_on = match &answer {
            // A lease that a kill has left.
            None => {
                killed += 1;
                now + Duration::from_secs(160)
            }
            Some(answer) => match time(&answer["continue_at"]) {
                Some(time) => time.max(now),
                None => return (answer.clone(), killed),
            },
        };
        while tick(ticks + 1) <= go_on {
            ticks += 1;
            // No run comes later than one call.
            assert!(
                now < tick(ticks) + TimeDelta::seconds(5) || killed > 0,
                "{now}"
            );
            host.clock.set(tick(ticks).max(host.clock.now()));
            let report = host.run(None).unwrap();
            assert!(killed > 0 || report.outcome != Outcome::Skipped, "{report}");
        }
        host.clock.set(go_on.max(host.clock.now()));
    }
}

fn fill(host: &SimHost) -> Value {
    fill_with(host, 0, false).0
}

#[track_caller]
fn check_whole(host: &SimHost, last: &Value) {
    assert_eq!(host.missing(DAY.0, DAY.1), [], "{last}");
    assert!(host.produced(DAY.0, DAY.1) > 10_000);
    assert_eq!(last["finished"], true, "{last}");
    assert_eq!(last["done"], last["total"], "{last}");
    assert!(!host.sandbox.peak().exceeds(&Limits::default()));
}

fn calls(host: &SimHost, kind: Kind) -> usize {
    let calls = host.sandbox.calls();
    calls.iter().filter(|call| call.kind == kind).count()
}

#[test]
fn a_day_that_was_never_collected_is_filled_with_the_fewest_calls() {
    for (version, lists, kind, expect) in [
        ("v1", RangedLists::Answered, Kind::Ranged, 5),
        // The first call is for five tests, and refused or useless.
        ("v1", RangedLists::Refused, Kind::Ranged, 22),
        ("v1", RangedLists::Ignored, Kind::Ranged, 22),
        // Four ranges of six hours.
        ("v2", RangedLists::Answered, Kind::V2, 20),
    ] {
        let host = host(version, lists, "");
        let last = fill(&host);
        check_whole(&host, &last);
        assert_eq!(
            (&last["total"], &last["done_until"]),
            (&TOTAL.into(), &DAY.1.into())
        );
        assert_eq!(calls(&host, kind), expect, "{version} {lists:?}");
    }
}

#[test]
fn a_backfill_that_is_killed_continues_where_it_was() {
    for version in ["v1", "v2"] {
        let host = host(version, RangedLists::Answered, "");
        let (last, killed) = fill_with(&host, 0, true);
        check_whole(&host, &last);
        assert!(killed > 1, "{killed}");
    }
}

#[test]
fn c04_runs_of_any_schedule_go_first() {
    let host = v1();
    let (last, _) = fill_with(&host, 7 * 60, false);
    check_whole(&host, &last);
}

#[test]
fn runs_fill_what_is_requested_and_report_how_far_it_is() {
    for version in ["v1", "v2"] {
        let host = host(version, RangedLists::Refused, "");
        host.run(None);
        let requested = post(&host, 0);
        assert_eq!(
            (&requested["done"], &requested["finished"]),
            (&0.into(), &false.into())
        );
        // The same request again changes nothing.
        assert_eq!(post(&host, 0)["total"], TOTAL);
        host.clock.advance(Duration::from_secs(900));
        let report = host.run(None).unwrap();
        let [progress] = &report.backfills[..] else {
            panic!("{report}")
        };
        assert!(progress.done > 0, "{report}");
        host.clock.advance(Duration::from_secs(900));
        host.run(None);
        let progress = read(&ask(&host, "GET", "/backfill"));
        assert_eq!(progress["backfills"], serde_json::json!([]), "{version}");
        assert_whole(&host, DAY.0, DAY.1);
    }
}

#[test]
fn a_request_is_cancelled() {
    let host = v1();
    host.run(None);
    post(&host, 3);
    let half = read(&ask(
        &host,
        "DELETE",
        "/backfill?from=2026-03-01T12:00&to=2026-03-02",
    ));
    let half = &half["backfills"][0];
    assert!(half["done"].as_i64().unwrap() > TOTAL / 2, "{half}");
    let none = read(&ask(&host, "DELETE", "/backfill"));
    assert_eq!(none["backfills"], serde_json::json!([]));
    let ranged = calls(&host, Kind::Ranged);
    host.clock.advance(Duration::from_secs(900));
    host.run(None);
    assert_eq!(calls(&host, Kind::Ranged), ranged);
}

#[test]
fn backfills_of_version_0_1_continue() {
    let host = v1();
    host.run(None);
    let first = world().ids(TestType::Ping)[0];
    let stored = format!(
        r#"[{{"span":{{"from":1772323200,"to":1772409600}},"until":{{"{first}":1772409600}},"refused":{{}}}}]"#
    );
    host.state
        .borrow_mut()
        .insert("backfills".to_owned(), stored.into_bytes());
    let continued = post(&host, 0);
    assert_eq!(continued["total"], TOTAL);
    assert_eq!(continued["done"], 86_400);
    fill(&host);
    let missing = host.missing(DAY.0, DAY.1);
    assert!(missing.iter().all(|point| point.test_id == first));
}

#[test]
fn the_calls_that_the_days_runs_need_are_left() {
    // A run of v1 is five calls and a token, and 95 of them are still to come on this day.
    let host = host("v1", RangedLists::Refused, "limits: { per_day: 590 }");
    host.clock.set(DAY.1.parse().unwrap());
    host.run(None);
    let stopped = post(&host, 100);
    assert_eq!(stopped["waits_for"], "day", "{stopped}");
    assert_eq!(stopped["continue_at"], "2026-03-03T00:00:10Z");
    assert!(stopped["done"].as_i64() > Some(0), "{stopped}");
    for tick in 1..96 {
        let time = DAY.1.parse::<DateTime<Utc>>().unwrap() + Duration::from_secs(900 * tick);
        host.clock.set(time);
        let report = host.run(None).unwrap();
        assert!(report.failures.is_empty(), "{report}");
    }
    host.set_config(&yaml("v1", "", false));
    check_whole(&host, &fill(&host));
}

#[test]
fn the_calls_that_the_hours_runs_need_are_left() {
    let host = host("v1", RangedLists::Refused, "limits: { per_hour: 32 }");
    host.run(None);
    let stopped = post(&host, 100);
    assert_eq!(
        (&stopped["waits_for"], &stopped["continue_at"]),
        (&"hour".into(), &"2026-03-02T06:15:10Z".into()),
        "{stopped}"
    );
    host.clock.set("2026-03-02T06:15:00Z".parse().unwrap());
    let report = host.run(None).unwrap();
    assert!(
        (report.ended - report.started).num_seconds() < 10,
        "{report}"
    );
    assert_run(&report, Outcome::Ok, 21);
    host.set_config(&yaml("v1", "", false));
    check_whole(&host, &fill(&host));
}

#[test]
fn a_backfill_fills_the_gaps_in_its_range_and_nothing_after_it_counts_as_fetched() {
    let host = v1();
    host.clock.set("2026-03-01T20:00:00Z".parse().unwrap());
    host.run(None);
    host.clock.set("2026-03-02T05:00:00Z".parse().unwrap());
    always(&host, Kind::Ranged, status(500));
    let before = host.run(None).unwrap();
    host.sandbox.set_faults(vec![]);
    let open = before.gaps.open;
    assert!((21 * (8 * 3600 + 45 * 60)..).contains(&open), "{before}");
    let done = post(&host, 100);
    let filled = done["report"]["gaps"]["filled"].as_i64().unwrap();
    assert!(
        (21 * 4 * 3600 - 60..=21 * 4 * 3600).contains(&filled),
        "{done}"
    );
    host.clock.set("2026-03-02T05:30:00Z".parse().unwrap());
    let after = host.run(None).unwrap();
    // What the backfill has left, and nothing of what it has filled.
    let rest = open - filled;
    assert!(
        (rest..rest + 21 * 1200).contains(&after.gaps.filled),
        "{after}"
    );
    assert_whole(&host, "2026-03-01T19:45:00Z", "2026-03-02T05:30:00Z");
}

#[test]
fn a_test_that_catchpoint_refuses_is_left_out() {
    for version in ["v1", "v2"] {
        let host = host(version, RangedLists::Answered, "");
        host.set_config(&yaml(version, "", true));
        host.run(None);
        let last = post(&host, 100);
        assert_eq!(last["finished"], true, "{last}");
        assert_whole(&host, DAY.0, DAY.1);
        let failures = last["report"]["failures"].as_array().unwrap();
        assert!(
            failures.iter().any(|failure| failure["tests"][0] == BAD_ID),
            "{last}"
        );
    }
}

#[test]
fn what_is_refused_three_times_is_given_up_and_said_to_be() {
    let host = v1();
    host.run(None);
    let first = world().ids(TestType::Ping)[0];
    always_with(&host, Kind::Ranged, status(404), first);
    for (times, finished) in [(1, false), (2, false), (3, true)] {
        let answer = post(&host, 100);
        assert_eq!(answer["finished"], finished, "{times}: {answer}");
        let words = answer.to_string();
        let given_up = words.contains("given up after it was refused three times");
        assert_eq!(given_up, finished, "{times}: {answer}");
        // It waits for a quarter of an hour.
        let waits = |answer: &Value| answer["report"]["calls"] == serde_json::json!({});
        assert!(finished || waits(&post(&host, 100)));
        host.clock.advance(Duration::from_secs(900));
    }
    let missing = host.missing(DAY.0, DAY.1);
    assert!(missing.iter().all(|point| point.test_id == first));
}

#[test]
fn trouble_ends_the_calls_and_is_reported() {
    let host = v1();
    host.relay.set(RelayMode::Down);
    let failed = post(&host, 100);
    assert_eq!(
        (&failed["done"], &failed["continue_at"]),
        (&0.into(), &Value::Null)
    );
    let report = &failed["report"];
    assert_eq!(report["outcome"], "failed");
    assert_eq!(report["failures"][0]["what"], "sending to the relay");
    host.relay.set(RelayMode::Takes);
    check_whole(&host, &fill(&host));
}

#[test]
fn a_failing_test_does_not_hold_the_others_up() {
    let host = host("v1", RangedLists::Answered, "");
    let first = world().ids(TestType::Ping)[0];
    always_with(&host, Kind::Ranged, status(503), first);
    // Its batch fails, comes last in the next request, and is split then.
    let last = post(&host, 100);
    assert_eq!(last["done"], 16 * 86_400, "{last}");
    let last = post(&host, 100);
    assert_eq!(last["done"], 20 * 86_400, "{last}");
    host.sandbox.set_faults(vec![]);
    host.clock.advance(Duration::from_secs(1800));
    check_whole(&host, &fill(&host));
}

#[test]
fn a_backfill_waits_for_a_run_that_is_under_way() {
    let host = v1();
    assert_eq!(host.run(Some(18)), None);
    let (from, to) = DAY;
    let waits = ask(&host, "POST", &format!("/backfill?from={from}&to={to}"));
    assert_eq!(waits.status, 409);
    let waits = read(&waits);
    assert_eq!(waits["waits_for"], "run", "{waits}");
    assert_eq!(ask(&host, "DELETE", "/backfill").status, 409);
}

#[test]
fn a_wrong_range_is_refused_in_words() {
    let host = v1();
    let refused = |query: &str| {
        let answer = ask(&host, "POST", &format!("/backfill?{query}"));
        assert_eq!((answer.status, answer.exit_code), (400, 64));
        answer.body
    };
    assert_snapshot!(refused("from=2026-03-01"), @"`to` is missing; write a time in UTC as 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z");
    assert_snapshot!(refused("from=monday&to=2026-03-02"), @"`from` is `monday`, which is not a time; write a time in UTC as 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z");
    assert_snapshot!(refused("from=2026-03-02&to=2026-03-01T12:00"), @"`from` must be before `to`, but 2026-03-02T00:00:00Z is not before 2026-03-01T12:00:00Z");
    assert_snapshot!(refused("from=2026-03-01&to=2026-03-02T07:00:00%2B00:00"), @"`to` is 2026-03-02T07:00:00Z, which is in the future; the latest is now, 2026-03-02T06:00:00Z");
    assert_snapshot!(refused("from=2026-03-01&to=2026-03-02&calls=all"), @"`calls` must be a whole number");
    assert_eq!(calls(&host, Kind::Ranged), 0);
}
