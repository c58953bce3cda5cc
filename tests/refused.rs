//! What Catchpoint refuses: a test, a ranged call, everything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::time::Duration;

use catchpoint_graphite::run::report::Outcome;
use catchpoint_sandbox::{Effect, Kind, Rule, Settings, TestType};
use chrono::{DateTime, Utc};
use insta::assert_snapshot;
use support::small::{host, ids, logged, yaml};

#[test]
fn the_results_of_a_test_that_was_refused_for_a_while_are_fetched_later() {
    for version in ["v1", "v2"] {
        let host = host(version, Settings::default());
        let ping = ids(TestType::Ping);
        let at = |time: &str| {
            host.clock.set(
                format!("2026-03-01T{time}:00Z")
                    .parse::<DateTime<Utc>>()
                    .unwrap(),
            );
            host.run(None).unwrap()
        };
        at("12:00");
        let denied = Effect::Error {
            message: "You do not have access to this test".to_owned(),
        };
        host.sandbox.set_faults(vec![Rule {
            test: Some(ping[1]),
            ..Rule::new(denied)
        }]);
        assert!(at("12:15").failures[0].tests.contains(&ping[1]));
        host.sandbox.set_faults(Vec::new());
        // So long a refused test is left out.
        for quarter in 2..=25 {
            at(&format!("{}:{:02}", 12 + quarter / 4, quarter % 4 * 15));
        }
        // v2 catches up six hours at a time.
        at("18:30");
        let report = at("18:45");
        assert_eq!(report.outcome, Outcome::Ok, "{report}");
        let missing = host.missing("2026-03-01T12:00:00Z", "2026-03-01T18:15:00Z");
        assert!(missing.is_empty(), "{version}: {}", missing.len());
    }
}

#[test]
fn a_refused_ranged_call_costs_no_more_than_the_gap_filling() {
    let host = host("v1", Settings::default());
    host.run(None);
    host.sandbox.set_faults(vec![
        Rule::new(Effect::Status {
            code: 404,
            retry_after: None,
        })
        .on(Kind::Ranged)
        .test(ids(TestType::Ping)[0]),
    ]);
    host.clock.advance(Duration::from_secs(2 * 900));
    assert_snapshot!(logged(&host), @"WARN run=beeb8da1658eec67 outcome=failed started=2026-03-01T12:30:01Z seconds=2.8 from=2026-03-01T11:59:00Z to=2026-03-01T12:30:02Z tests=5/5 calls=lastraw_200:2,ranged_200:4,ranged_404:1,token_200:1 samples=262 nulls=6 accepted=262 rejected=0 gap_seconds=found:4507,filled:3606,open:901,aged_out:0 gap_tests=1 | ranged of test 142600: HTTP 404: Not Found; check the keys domain, version and rawdata_endpoint, and that the test exists");
    host.clock.advance(Duration::from_secs(900));
    assert_snapshot!(logged(&host), @"WARN run=f893a2eefb32555e outcome=failed started=2026-03-01T12:45:04Z seconds=1.2 from=2026-03-01T12:30:04Z to=2026-03-01T12:45:04Z tests=5/5 calls=lastraw_200:2,token_200:1 samples=97 nulls=2 accepted=97 rejected=0 gap_seconds=found:13,filled:0,open:914,aged_out:0 gap_tests=1 | gap filling of test 142600: HTTP 404: Not Found (tried again after 18:30 UTC); the results of the last 15 minutes are collected all the same; check the keys time_format and rawdata_endpoint, or use version: v2, which fills gaps without ranged calls");
    // Six hours later it is tried again.
    host.sandbox.set_faults(Vec::new());
    host.clock.advance(Duration::from_secs(6 * 3600));
    logged(&host);
    let missing = host.missing("2026-03-01T12:00:00Z", "2026-03-01T18:30:00Z");
    assert!(missing.is_empty(), "{}", missing.len());
}

/// The logs of two runs in a row, with a wrong id among the good ones.
fn with_a_wrong_id(version: &str) -> String {
    let mut ping = ids(TestType::Ping);
    ping.insert(1, 999);
    let tests = format!(
        "test_ids: {{ ping: {ping:?}, dns: {:?} }}",
        ids(TestType::Dns)
    );
    let host = host(version, Settings::default());
    host.set_config(&yaml(version, &tests));
    let first = logged(&host);
    host.clock.advance(Duration::from_secs(900));
    format!("{first}\n{}", logged(&host))
}

#[test]
fn a_wrong_test_id_costs_only_itself_and_is_remembered() {
    assert_snapshot!(with_a_wrong_id("v1"), @"
    WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=2.4 from=2026-03-01T11:45:01Z to=2026-03-01T12:00:02Z tests=5/6 calls=lastraw_200:6,token_200:1 samples=94 nulls=5 accepted=94 rejected=0 | lastraw of test 999: Catchpoint refused the query: One or more tests are invalid or you do not have access to them; check that the test exists, is listed under its own type, and is in the same division as the others
    WARN run=beeb8da1658eec67 outcome=failed started=2026-03-01T12:15:02Z seconds=1.2 from=2026-03-01T12:00:02Z to=2026-03-01T12:15:03Z tests=5/6 calls=lastraw_200:2,token_200:1 samples=97 nulls=2 accepted=97 rejected=0 gap_seconds=found:5,filled:0,open:5,aged_out:0 | refused of test 999: Catchpoint refused the query: One or more tests are invalid or you do not have access to them (tried again after 18:00 UTC); check that the test exists, is listed under its own type, and is in the same division as the others
    ");
    assert_snapshot!(with_a_wrong_id("v2"), @"
    WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=2.1 from=2026-03-01T11:40:00Z to=2026-03-01T12:00:00Z tests=5/6 calls=explorer_200:6 samples=126 nulls=6 accepted=126 rejected=0 | explorer of test 999: Catchpoint refused the query: One or more tests are invalid or you do not have access to them; check that the test exists, is listed under its own type, and is in the same division as the others
    WARN run=beeb8da1658eec67 outcome=failed started=2026-03-01T12:15:02Z seconds=0.9 from=2026-03-01T11:55:00Z to=2026-03-01T12:15:02Z tests=5/6 calls=explorer_200:2 samples=129 nulls=3 accepted=129 rejected=0 | refused of test 999: Catchpoint refused the query: One or more tests are invalid or you do not have access to them (tried again after 18:00 UTC); check that the test exists, is listed under its own type, and is in the same division as the others
    ");
}

#[test]
fn a_test_under_the_wrong_type_is_asked_for_alone() {
    let mut ping = ids(TestType::Ping);
    let dns = ids(TestType::Dns);
    ping.insert(0, dns[0]);
    let host = host("v1", Settings::default());
    host.set_config(&yaml(
        "v1",
        &format!("test_ids: {{ ping: {ping:?}, dns: [{}] }}", dns[1]),
    ));
    assert_snapshot!(logged(&host), @"INFO run=910a2dec89025cc1 outcome=ok started=2026-03-01T12:00:00Z seconds=2.5 from=2026-03-01T11:45:01Z to=2026-03-01T12:00:02Z tests=5/5 calls=lastraw_200:6,token_200:1 samples=94 nulls=5 accepted=94 rejected=0");
    host.clock.advance(Duration::from_secs(900));
    assert_snapshot!(logged(&host), @"INFO run=beeb8da1658eec67 outcome=ok started=2026-03-01T12:15:02Z seconds=1.9 from=2026-03-01T12:00:03Z to=2026-03-01T12:15:03Z tests=5/5 calls=lastraw_200:4,token_200:1 samples=97 nulls=2 accepted=97 rejected=0 gap_seconds=found:9,filled:0,open:9,aged_out:0");
}

#[test]
fn a_catchpoint_that_refuses_everything_condemns_no_test() {
    let host = host("v1", Settings::default());
    host.sandbox.set_faults(vec![
        Rule::new(Effect::Error {
            message: "Internal error".to_owned(),
        })
        .on(Kind::LastRaw),
    ]);
    assert_snapshot!(logged(&host), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=3.0 tests=0/5 calls=lastraw_200:8,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602,142603,142604: Catchpoint refused the query: Internal error; check that the test exists, is listed under its own type, and is in the same division as the others");
    host.sandbox.set_faults(Vec::new());
    host.clock.advance(Duration::from_secs(900));
    assert!(logged(&host).contains("tests=5/5"));
}
