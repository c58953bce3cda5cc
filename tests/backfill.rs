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
use catchpoint_sandbox::{Effect, Kind, Limits, Rule, Settings, TestType, World};
use chrono::{DateTime, Utc};
use insta::assert_snapshot;
use serde_json::Value;
use support::{COLLECT_TOKEN, RelayMode, SimHost};

/// The day that was never collected, and the one after it, on which it is filled.
const DAY: (&str, &str) = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
const NOW: &str = "2026-03-02T06:00:00Z";

const TICK: i64 = 900;

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

/// A world of 21 tests, and what is configured of it.
fn host(version: &str, more: &str, bad: bool) -> SimHost {
    let settings = Settings {
        limits: Some(Limits::default()),
        ..Settings::default()
    };
    SimHost::new(world(), NOW, settings, &yaml(version, more, bad))
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

fn ask(host: &SimHost, query: &str) -> Answer {
    let call = Call {
        method: "POST",
        path_and_query: &format!("/backfill?{query}"),
        authorization: Some(&format!("Bearer {COLLECT_TOKEN}")),
    };
    serve(host, &call)
}

/// One piece of the day; none if it was killed.
fn piece(host: &SimHost, kill_in: Option<u32>) -> Option<Value> {
    let (from, to) = DAY;
    let answer = host.killed_in(kill_in, || ask(host, &format!("from={from}&to={to}")))?;
    Some(serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}")))
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str().map(|text| text.parse().unwrap())
}

/// Fills the day with a run at each tick, as long as the backfill says when to go on. Pieces that
/// go on for long may be killed. Returns the last piece, how many were killed, and how many ranged
/// calls the runs made for gaps of their own.
fn fill_killing(host: &SimHost, kill: bool) -> (Value, usize, usize) {
    let (mut pieces, mut killed, mut of_runs) = (0, 0, 0);
    let mut ticks = host.clock.now().timestamp() / TICK;
    loop {
        let kill_in = kill.then_some(27 + 3 * pieces);
        pieces += 1;
        assert!(pieces < 100, "it does not end");
        let now = host.clock.now();
        let done = piece(host, kill_in);
        let go_on = match &done {
            // A lease that a kill has left.
            None => {
                killed += 1;
                now + Duration::from_secs(300)
            }
            Some(piece) => match time(&piece["continue_at"]) {
                Some(time) => time.max(host.clock.now()),
                None => return (piece.clone(), killed, of_runs),
            },
        };
        while (ticks + 1) * TICK <= go_on.timestamp() {
            ticks += 1;
            let tick = DateTime::from_timestamp(ticks * TICK, 0).unwrap();
            // A piece is over before the next run is due.
            assert!(host.clock.now() <= tick || done.is_none(), "{done:?}");
            host.clock.set(tick.max(host.clock.now()));
            let report = host.run(None).unwrap();
            of_runs += report.calls.get("ranged 200").map_or(0, |n| *n as usize);
        }
        host.clock.set(go_on.max(host.clock.now()));
    }
}

fn fill(host: &SimHost) -> Value {
    fill_killing(host, false).0
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
    let v1 = host("v1", "", false);
    let last = fill(&v1);
    check_whole(&v1, &last);
    assert_eq!(last["done_until"], DAY.1);
    assert_eq!((calls(&v1, Kind::Ranged), &last["total"]), (21, &21.into()));

    let v2 = host("v2", "", false);
    let last = fill(&v2);
    check_whole(&v2, &last);
    // Three batches of ping and two of dns, in four spans of six hours.
    assert_eq!((calls(&v2, Kind::V2), &last["total"]), (20, &20.into()));
}

#[test]
fn a_backfill_that_is_killed_goes_on_where_it_was() {
    for version in ["v1", "v2"] {
        let host = host(version, "", false);
        let (last, killed, of_runs) = fill_killing(&host, true);
        check_whole(&host, &last);
        assert!(killed > 2, "{killed}");
        // Only the calls that were under way are made again. v2's runs make the same kind of calls.
        if version == "v1" {
            let made = calls(&host, Kind::Ranged) - of_runs;
            assert!(
                (21..=21 + killed).contains(&made),
                "{made}, {killed} killed"
            );
        }
    }
}

#[test]
fn the_calls_that_the_days_runs_need_are_left() {
    // A run of v1 is five calls and a token, and 95 of them are still to come on this day.
    let host = host("v1", "limits: { per_day: 590 }", false);
    host.clock.set(DAY.1.parse().unwrap());
    host.run(None);
    let stopped = piece(&host, None).unwrap();
    assert_eq!(
        (&stopped["finished"], &stopped["waits_for"]),
        (&false.into(), &"day".into()),
        "{stopped}"
    );
    assert_eq!(stopped["continue_at"], "2026-03-03T00:00:10Z");
    assert_eq!(stopped["report"]["outcome"], "ok");
    assert!(stopped["done"].as_u64() > Some(0), "{stopped}");
    for tick in 1..96 {
        let time = DAY.1.parse::<DateTime<Utc>>().unwrap() + Duration::from_secs(900 * tick);
        host.clock.set(time);
        let report = host.run(None).unwrap();
        assert!(report.failures.is_empty(), "{report}");
    }
    host.set_config(&yaml("v1", "", false));
    let last = fill(&host);
    check_whole(&host, &last);
}

#[test]
fn the_calls_that_the_hours_runs_need_are_left() {
    let host = host("v1", "limits: { per_hour: 32 }", false);
    host.run(None);
    let stopped = piece(&host, None).unwrap();
    assert_eq!(
        (&stopped["waits_for"], &stopped["continue_at"]),
        (&"hour".into(), &"2026-03-02T06:15:10Z".into()),
        "{stopped}"
    );
    host.clock.set("2026-03-02T06:15:00Z".parse().unwrap());
    let report = host.run(None).unwrap();
    assert_eq!((report.ended - report.started).num_seconds(), 2, "{report}");
    host.set_config(&yaml("v1", "", false));
    let last = fill(&host);
    check_whole(&host, &last);
    assert!(
        !host
            .logged
            .borrow()
            .iter()
            .any(|line| line.contains("per_hour"))
    );
}

#[test]
fn a_backfill_moves_no_cursor_but_fills_the_gaps_in_its_span() {
    let host = host("v1", "", false);
    host.clock.set("2026-03-01T20:00:00Z".parse().unwrap());
    host.run(None);
    // Until past midnight nothing runs; then the relay stops before the gap can be filled.
    host.clock.set("2026-03-02T05:00:00Z".parse().unwrap());
    host.sandbox.set_faults(vec![
        Rule::new(Effect::Status {
            code: 500,
            retry_after: None,
        })
        .on(Kind::Ranged),
    ]);
    let before = host.run(None).unwrap();
    host.sandbox.set_faults(vec![]);
    let open = before.gaps.open;
    assert_eq!(open, 21 * (8 * 3600 + 45 * 60), "{before}");
    host.clock.set("2026-03-02T05:16:30Z".parse().unwrap());
    let done = piece(&host, None).unwrap();
    assert_eq!(done["finished"], true, "{done}");
    // The run at 20:00 has fetched up to the time of its calls.
    let filled = done["report"]["gaps"]["filled"].as_i64().unwrap();
    assert!(
        (21 * 4 * 3600 - 60..=21 * 4 * 3600).contains(&filled),
        "{done}"
    );
    let calls_before = calls(&host, Kind::Ranged);
    host.clock.set("2026-03-02T05:30:00Z".parse().unwrap());
    let after = host.run(None).unwrap();
    // What the backfill has left, and nothing of what it has filled.
    let filled = after.gaps.filled;
    assert!(
        (open - 21 * 4 * 3600..open - 21 * 4 * 3600 + 21 * 1200).contains(&filled),
        "{after}"
    );
    assert_eq!(calls(&host, Kind::Ranged) - calls_before, 21);
    assert_eq!(
        host.missing("2026-03-01T19:45:00Z", "2026-03-02T05:30:00Z"),
        []
    );
}

#[test]
fn a_refused_test_costs_the_others_nothing_and_is_tried_again_by_the_next_backfill() {
    for version in ["v1", "v2"] {
        let host = host(version, "", true);
        let last = fill(&host);
        check_whole(&host, &last);
        let failures = last["report"]["failures"].as_array().unwrap();
        assert!(
            failures.iter().any(|failure| failure["tests"][0] == BAD_ID),
            "{last}"
        );
        let of_bad = |host: &SimHost| {
            let calls = host.sandbox.calls();
            calls
                .iter()
                .filter(|call| call.tests.contains(&BAD_ID))
                .count()
        };
        let (all, bad) = (host.sandbox.calls().len(), of_bad(&host));
        host.clock.set("2026-03-03T12:01:00Z".parse().unwrap());
        let again = piece(&host, None).unwrap();
        assert_eq!(again["finished"], true, "{again}");
        assert_eq!(of_bad(&host) - bad, 1);
        // v1 has to renew its token.
        assert!(host.sandbox.calls().len() - all <= 2);
    }
}

#[test]
fn trouble_ends_a_piece_and_is_said() {
    let host = host("v1", "", false);
    host.relay.set(RelayMode::Down);
    let failed = piece(&host, None).unwrap();
    assert_eq!(
        (&failed["done"], &failed["continue_at"]),
        (&0.into(), &Value::Null)
    );
    assert_snapshot!(host.logged.borrow().join("\n"), @"WARN backfill from 2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z: 0 of 21 calls done; run=910a2dec89025cc1 outcome=failed started=2026-03-02T06:00:00Z seconds=46.0 tests=0/21 calls=ranged_200:1,token_200:1 samples=1961 nulls=55 accepted=0 rejected=0 | hand-over of test 142600: no connection to the relay at http://127.0.0.1:2080: connection refused; nothing is lost: the next run fetches these results again; start the relay, or set the variable relay_url to where it listens");
    host.relay.set(RelayMode::Takes);
    let last = fill(&host);
    check_whole(&host, &last);
}

#[test]
fn short_pieces_come_through_and_a_failing_test_does_not_hold_the_others_up() {
    let host = host("v1", "", false);
    let first = world().ids(TestType::Ping)[0];
    let fault = Effect::Status {
        code: 503,
        retry_after: None,
    };
    host.sandbox
        .set_faults(vec![Rule::new(fault).on(Kind::Ranged).test(first)]);
    let mut pieces = 0;
    let last = loop {
        let answer = ask(&host, "from=2026-03-01&to=2026-03-02&seconds=5");
        let piece: Value = serde_json::from_str(&answer.body).unwrap();
        match time(&piece["continue_at"]) {
            Some(time) => host.clock.set(time.max(host.clock.now())),
            None => break piece,
        }
        pieces += 1;
        assert!(pieces < 50, "{piece}");
    };
    assert_eq!(
        (&last["finished"], &last["done"]),
        (&false.into(), &20.into()),
        "{last}"
    );
    host.sandbox.set_faults(vec![]);
    check_whole(&host, &fill(&host));
}

#[test]
fn a_piece_waits_for_a_run_that_is_under_way() {
    let host = host("v1", "", false);
    assert_eq!(host.run(Some(9)), None);
    let waits = ask(&host, "from=2026-03-01&to=2026-03-02");
    assert_eq!(waits.status, 409);
    let waits: Value = serde_json::from_str(&waits.body).unwrap();
    assert_eq!(
        (&waits["waits_for"], &waits["total"]),
        (&"run".into(), &21.into())
    );
}

#[test]
fn a_wrong_span_is_refused_in_words() {
    let host = host("v1", "", false);
    let refused = |query: &str| {
        let answer = ask(&host, query);
        assert_eq!(answer.status, 400);
        answer.body
    };
    assert_snapshot!(refused("from=2026-03-01"), @"`to` is missing; write a time in UTC as 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z");
    assert_snapshot!(refused("from=monday&to=2026-03-02"), @"`from` is `monday`, which is no time; write a time in UTC as 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z");
    assert_snapshot!(refused("from=2026-03-02&to=2026-03-01T12:00"), @"`from` must be before `to`, but 2026-03-02T00:00:00Z is not before 2026-03-01T12:00:00Z");
    assert_snapshot!(refused("from=2026-03-01&to=2026-03-02T07:00:00%2B00:00"), @"`to` is 2026-03-02T07:00:00Z, which is in the future; the latest is now, 2026-03-02T06:00:00Z");
    assert_eq!(calls(&host, Kind::Ranged), 0);
}
