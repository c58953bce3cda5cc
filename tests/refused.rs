//! Calls that fail because of some of their tests, and calls that fail whatever the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use catchpoint_graphite::run::report::{Outcome, Report};
use catchpoint_sandbox::{Effect, Kind, Rule, Settings, TestType};
use chrono::{DateTime, Utc};
use support::small::{good_tests, host, ids, yaml};
use support::{RelayMode, SimHost};

fn answers(code: u16, body: &str) -> Effect {
    Effect::Answer {
        code,
        headers: BTreeMap::new(),
        body: body.to_owned(),
    }
}

fn says(message: &str) -> Effect {
    let message = message.to_owned();
    Effect::Error { message }
}

fn next(host: &SimHost) -> Report {
    host.clock.advance(Duration::from_secs(900));
    host.run(None).unwrap()
}

#[test]
fn the_results_of_a_test_that_was_refused_for_a_while_are_fetched_later() {
    for version in ["v1", "v2"] {
        let host = host(version, Settings::default());
        let ping = ids(TestType::Ping);
        let at = |time: &str| {
            let time = format!("2026-03-01T{time}:00Z")
                .parse::<DateTime<Utc>>()
                .unwrap();
            host.clock.set(time.max(host.clock.now()));
            host.run(None).unwrap()
        };
        at("12:00");
        let denied = Rule::new(says("You do not have access to this test"));
        host.sandbox.set_faults(vec![denied.test(ping[1])]);
        assert!(at("12:15").failures[0].tests.contains(&ping[1]));
        host.sandbox.set_faults(Vec::new());
        // So long a refused test is skipped.
        for quarter in 2..=25 {
            at(&format!("{}:{:02}", 12 + quarter / 4, quarter % 4 * 15));
        }
        at("18:30");
        let report = at("18:45");
        assert_eq!(report.outcome, Outcome::Ok, "{report}");
        let missing = host.missing("2026-03-01T12:00:00Z", "2026-03-01T18:15:00Z");
        assert!(missing.is_empty(), "{version}: {}", missing.len());
    }
}

#[test]
fn a_refused_ranged_call_costs_no_more_than_the_gap_filling_and_is_tried_again() {
    let host = host("v1", Settings::default());
    host.run(None);
    let code = 404;
    let refused = Rule::new(Effect::Status {
        code,
        retry_after: None,
    })
    .on(Kind::Ranged);
    let lists = Rule::new(says("no lists")).on(Kind::Ranged);
    host.sandbox
        .set_faults(vec![refused.test(ids(TestType::Ping)[0]), lists.times(0)]);
    host.clock.advance(Duration::from_secs(900));
    let report = next(&host);
    assert_eq!(report.tests.collected, 5, "{report}");
    assert_eq!(report.gaps.tests, 1, "{report}");
    let report = next(&host);
    assert_eq!(
        (report.outcome, report.excluded.len()),
        (Outcome::Partial, 1),
        "{report}"
    );
    assert_eq!(report.excluded[0].calls, "gaps");
    // Six hours later it is tried again.
    host.sandbox.set_faults(Vec::new());
    host.clock.advance(Duration::from_secs(6 * 3600));
    host.run(None);
    let missing = host.missing("2026-03-01T12:00:00Z", "2026-03-01T18:30:00Z");
    assert!(missing.is_empty(), "{}", missing.len());
}

#[test]
fn a_test_under_the_wrong_type_is_asked_for_alone() {
    let mut ping = ids(TestType::Ping);
    let dns = ids(TestType::Dns);
    ping.insert(0, dns[0]);
    let host = host("v1", Settings::default());
    let tests = format!("test_ids: {{ ping: {ping:?}, dns: [{}] }}", dns[1]);
    host.set_config(&yaml("v1", &tests));
    let calls = |report: Report| {
        assert_eq!(report.outcome, Outcome::Ok, "{report}");
        (report.tests.collected, report.calls["lastraw 200"])
    };
    let first = calls(host.run(None).unwrap());
    assert_eq!(first, (5, 6));
    // Three batches, and one of each test that was answered alone.
    let (collected, again) = calls(next(&host));
    assert!(collected == 5 && again < 6, "{again}");
}

#[test]
fn a_catchpoint_that_refuses_everything_excludes_no_test() {
    let host = host("v1", Settings::default());
    host.sandbox
        .set_faults(vec![Rule::new(says("Internal error")).on(Kind::LastRaw)]);
    let report = host.run(None).unwrap();
    assert_eq!(
        (report.outcome, report.tests.collected),
        (Outcome::Failed, 0)
    );
    host.sandbox.set_faults(Vec::new());
    assert_eq!(next(&host).tests.collected, 5);
}

/// One test has answers that cannot be used; the others of its batch are collected all the same, in
/// the same run, and in the next ones no call is spent on it.
#[track_caller]
fn check_culprit_alone(effect: Effect) {
    let host = host("v1", Settings::default());
    let culprit = ids(TestType::Ping)[1];
    host.sandbox.set_faults(vec![
        Rule::new(effect.clone()).on(Kind::LastRaw).test(culprit),
    ]);
    let report = host.run(None).unwrap();
    assert_eq!(
        (report.outcome, report.tests.collected),
        (Outcome::Partial, 4),
        "{effect:?}: {report}"
    );
    let failed: Vec<&[u64]> = report
        .failures
        .iter()
        .map(|failure| &failure.tests[..])
        .collect();
    assert_eq!(failed, [[culprit]], "{report}");
    let calls = host.sandbox.calls().len();
    let report = next(&host);
    assert_eq!(
        (report.tests.collected, report.tests.excluded),
        (4, 1),
        "{report}"
    );
    // Two LastRaw and a token.
    assert_eq!(host.sandbox.calls().len() - calls, 3, "{report}");
    host.sandbox.set_faults(Vec::new());
    host.clock.advance(Duration::from_secs(6 * 3600));
    let report = host.run(None).unwrap();
    assert_eq!(
        (report.outcome, report.tests.collected),
        (Outcome::Ok, 5),
        "{report}"
    );
}

#[test]
fn c05_an_answer_that_cannot_be_read_is_split_until_the_culprit_stands_alone() {
    check_culprit_alone(answers(
        200,
        r#"{"start":"2026-03-01T11:45:00Z","end":NaN}"#,
    ));
    check_culprit_alone(Effect::WrongShape);
}

#[test]
fn c05_a_server_error_that_comes_with_one_test_is_split_until_it_stands_alone() {
    check_culprit_alone(Effect::Status {
        code: 500,
        retry_after: None,
    });
}

#[test]
fn c05_a_server_error_of_the_only_batch_is_split_in_the_next_run() {
    let host = host("v1", Settings::default());
    let ping = ids(TestType::Ping);
    host.set_config(&yaml("v1", &format!("test_ids: {{ ping: {ping:?} }}")));
    let code = 500;
    let broken = Rule::new(Effect::Status {
        code,
        retry_after: None,
    })
    .on(Kind::LastRaw);
    host.sandbox.set_faults(vec![broken.test(ping[0])]);
    assert_eq!(host.run(None).unwrap().outcome, Outcome::Failed);
    let report = next(&host);
    assert_eq!(
        (report.outcome, report.tests.collected),
        (Outcome::Partial, 2),
        "{report}"
    );
}

#[test]
fn c05_an_answer_that_breaks_off_twice_is_asked_for_in_parts() {
    let host = host("v1", Settings::default());
    let ping = ids(TestType::Ping);
    let cut = Effect::Truncate { after: Some(900) };
    // As long as more than one test is asked for.
    let rules =
        [ping[0], ping[1]].map(|test| Rule::new(cut.clone()).on(Kind::LastRaw).test(test).times(2));
    host.sandbox.set_faults(rules.into());
    let report = host.run(None).unwrap();
    assert_eq!(
        (report.outcome, report.tests.collected),
        (Outcome::Ok, 5),
        "{report}"
    );
}

/// How many calls one run makes that meets this fault with each of them.
fn calls_with(effect: Effect, kind: Kind) -> (usize, Report) {
    let host = host("v1", Settings::default());
    host.set_config(&yaml("v1", &format!("{}\nbatch_size: 1", good_tests())));
    host.sandbox.set_faults(vec![Rule::new(effect).on(kind)]);
    let report = host.run(None).unwrap();
    assert_eq!(report.outcome, Outcome::Failed);
    (host.sandbox.calls().len(), report)
}

#[test]
fn c06_a_token_call_that_is_not_found_ends_the_run_and_excludes_no_test() {
    let (calls, report) = calls_with(
        Effect::Status {
            code: 404,
            retry_after: None,
        },
        Kind::Token,
    );
    assert_eq!(calls, 1, "{report}");
    assert!(
        report.failures[0].hint.contains("token_endpoint"),
        "{report}"
    );
    assert_eq!(report.excluded, []);
}

#[test]
fn c07_a_wrong_path_costs_one_call_and_excludes_no_test() {
    let (calls, report) = calls_with(answers(404, "<html>no such page</html>"), Kind::LastRaw);
    assert_eq!(calls, 2, "{report}");
    assert!(
        report.failures[0].hint.contains("rawdata_endpoint"),
        "{report}"
    );
    assert_eq!(report.excluded, []);
}

#[test]
fn c09_cloudflare_is_named_and_no_batch_is_split() {
    let (calls, report) = calls_with(Effect::Cloudflare { json: true }, Kind::LastRaw);
    assert_eq!(calls, 2, "{report}");
    assert!(report.failures[0].cause.contains("Cloudflare"), "{report}");
}

#[test]
fn c13_a_batch_that_the_relay_refuses_does_not_stop_other_tests() {
    let host = host("v1", Settings::default());
    host.relay.set(RelayMode::Refuses("PingPacketLoss", 400));
    let report = host.run(None).unwrap();
    let ping = ids(TestType::Ping);
    assert_eq!(
        (report.outcome, report.tests.collected),
        (Outcome::Partial, 2),
        "{report}"
    );
    assert_eq!(report.failures[0].tests, ping);
    // It comes last, and its time counts as missing until it is taken.
    assert_eq!(next(&host).tests.collected, 2);
    host.relay.set(RelayMode::Takes);
    assert_eq!(next(&host).outcome, Outcome::Ok);
    assert_eq!(
        host.missing("2026-03-01T12:00:00Z", "2026-03-01T12:30:00Z"),
        []
    );
}

#[test]
fn an_answer_that_is_too_large_is_asked_for_in_halves_and_what_fits_is_remembered() {
    let host = host("v1", Settings::default());
    let ping = ids(TestType::Ping);
    let large = Rule::new(answers(200, &" ".repeat(65 << 20))).on(Kind::LastRaw);
    host.sandbox.set_faults(vec![large.test(ping[0]).times(1)]);
    let report = host.run(None).unwrap();
    assert_eq!(
        (report.outcome, report.tests.collected),
        (Outcome::Ok, 5),
        "{report}"
    );
    // One test and two, then each batch of one type.
    assert_eq!(report.calls["lastraw 200"], 4, "{report}");
    assert_eq!(report.limits.len(), 1, "{report}");
    // For a day only one test is asked for at a time.
    assert_eq!(next(&host).calls["lastraw 200"], 5);
    host.clock.advance(Duration::from_secs(86_400));
    assert_eq!(host.run(None).unwrap().calls["lastraw 200"], 2);
}

#[test]
fn a_test_whose_answer_is_too_large_alone_is_asked_for_in_shorter_ranges() {
    let host = host("v1", Settings::default());
    let ping = ids(TestType::Ping);
    host.set_config(&yaml("v1", &format!("test_ids: {{ ping: [{}] }}", ping[0])));
    let large = Rule::new(answers(200, &" ".repeat(65 << 20))).on(Kind::LastRaw);
    host.sandbox.set_faults(vec![large]);
    let report = host.run(None).unwrap();
    assert_eq!(
        (report.outcome, report.calls["ranged 200"]),
        (Outcome::Ok, 2),
        "{report}"
    );
    host.sandbox.set_faults(Vec::new());
    let report = next(&host);
    assert_eq!(
        (report.outcome, report.gaps.open < 10),
        (Outcome::Ok, true),
        "{report}"
    );
}

/// Above the page limit first the tests are halved, then the range. What cannot be asked for in
/// parts is a failure that names the test.
#[test]
fn c05_an_answer_above_the_page_limit_is_halved_or_named() {
    let ping = ids(TestType::Ping);
    let large = |kind| Rule::new(answers(200, &" ".repeat(65 << 20))).on(kind);
    let v2 = host("v2", Settings::default());
    let rule = large(Kind::V2).test(ping[0]).times(2);
    v2.sandbox.set_faults(vec![rule]);
    let report = v2.run(None).unwrap();
    assert_eq!((report.outcome, report.tests.collected), (Outcome::Ok, 5));
    // All of the type and the first alone, which are too large; two halves of its range, the two other
    // tests, and the other type.
    assert_eq!(report.calls["explorer 200"], 6, "{report}");
    let v1 = host("v1", Settings::default());
    v1.set_config(&yaml("v1", &format!("test_ids: {{ ping: [{}] }}", ping[0])));
    let refused = Rule::new(answers(400, "no ranges")).on(Kind::Ranged);
    v1.sandbox.set_faults(vec![large(Kind::LastRaw), refused]);
    let report = v1.run(None).unwrap();
    let [failure] = report.failures.as_slice() else {
        panic!("{report}")
    };
    assert_eq!(
        (failure.tests.as_slice(), report.outcome),
        (&ping[..1], Outcome::Failed)
    );
    assert!(failure.cause.contains("no ranges"), "{report}");
}

#[test]
fn c05_a_test_whose_answer_is_too_large_costs_the_others_no_calls() {
    let host = host("v1", Settings::default());
    let ping = ids(TestType::Ping);
    let huge = Effect::Answer {
        code: 200,
        headers: [].into(),
        body: " ".repeat((64 << 20) + 1),
    };
    host.sandbox.set_faults(vec![Rule::new(huge).test(ping[0])]);
    let report = host.run(None).unwrap();
    assert_eq!(report.tests.collected, 4, "{report}");
    host.clock.advance(Duration::from_secs(900));
    let report = host.run(None).unwrap();
    assert_eq!(report.tests.collected, 4, "{report}");
    // It alone, the other two of its type, and the other type.
    assert_eq!(report.calls["lastraw 200"], 3, "{report}");
}
