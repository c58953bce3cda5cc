//! Calls that fail because of some of their tests, and calls that fail whatever the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use catchpoint_graphite::run::report::Outcome::{self, Failed, Ok, Partial};
use catchpoint_graphite::run::report::Report;
use catchpoint_sandbox::{Effect, Kind, Rule, Settings, TestType};
use chrono::{DateTime, Utc};
use support::RelayMode;
use support::small::{
    START, always, always_with, answers, assert_run, assert_whole, good_tests, host, ids, next,
    says, status, yaml,
};

const QUARTER: u64 = 900;
const HOUR: u64 = 3600;

#[test]
fn the_results_of_a_test_that_was_refused_for_a_while_are_fetched_later() {
    for version in ["v1", "v2"] {
        let host = host(version, Settings::default());
        let ping = ids(TestType::Ping);
        let at = |time: &str| {
            let time = format!("2026-03-01T{time}:00Z");
            let time = time.parse::<DateTime<Utc>>().unwrap();
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
        assert_run(&at("18:45"), Ok, 5);
        assert_whole(&host, START, "2026-03-01T18:15:00Z");
    }
}

#[test]
fn a_refused_ranged_call_costs_no_more_than_the_gap_filling_and_is_tried_again() {
    let host = host("v1", Settings::default());
    host.run(None);
    let refused = Rule::new(status(404)).on(Kind::Ranged);
    let lists = Rule::new(says("no lists")).on(Kind::Ranged);
    let rules = vec![refused.test(ids(TestType::Ping)[0]), lists.times(0)];
    host.sandbox.set_faults(rules);
    let report = next(&host, 2 * QUARTER);
    assert_eq!(
        (report.tests.collected, report.gaps.tests),
        (5, 1),
        "{report}"
    );
    let report = next(&host, QUARTER);
    assert_run(&report, Partial, 5);
    assert_eq!(report.failures.len(), 1, "{report}");
    assert_eq!(report.failures[0].what, "gap filling");
    // Six hours later it is tried again.
    host.sandbox.set_faults(Vec::new());
    next(&host, 6 * HOUR);
    assert_whole(&host, START, "2026-03-01T18:30:00Z");
}

#[test]
fn a_test_under_the_wrong_type_is_asked_for_alone() {
    let (mut ping, dns) = (ids(TestType::Ping), ids(TestType::Dns));
    ping.insert(0, dns[0]);
    let host = host("v1", Settings::default());
    let tests = format!("test_ids: {{ ping: {ping:?}, dns: [{}] }}", dns[1]);
    host.set_config(&yaml("v1", &tests));
    let first = host.run(None).unwrap();
    assert_run(&first, Ok, 5);
    assert_eq!(first.calls["lastraw 200"], 6);
    // Three batches, and one of each test that was answered alone.
    let again = next(&host, QUARTER);
    assert_run(&again, Ok, 5);
    assert!(again.calls["lastraw 200"] < 6, "{again}");
}

#[test]
fn a_catchpoint_that_refuses_everything_excludes_no_test() {
    let host = host("v1", Settings::default());
    always(&host, Kind::LastRaw, says("Internal error"));
    assert_run(&host.run(None).unwrap(), Failed, 0);
    host.sandbox.set_faults(Vec::new());
    assert_run(&next(&host, QUARTER), Ok, 5);
}

/// One test has answers that cannot be used; the others of its batch are collected all the same, in
/// the same run, and in the next ones no call is spent on it.
#[test]
fn c05_what_comes_with_one_test_is_split_until_it_stands_alone() {
    for effect in [
        answers(200, r#"{"start":"2026-03-01T11:45:00Z","end":NaN}"#),
        Effect::WrongShape,
        status(500),
    ] {
        let host = host("v1", Settings::default());
        let culprit = ids(TestType::Ping)[1];
        always_with(&host, Kind::LastRaw, effect, culprit);
        let report = host.run(None).unwrap();
        assert_run(&report, Partial, 4);
        let failures = report.failures.iter();
        let failed: Vec<&[u64]> = failures.map(|failure| &failure.tests[..]).collect();
        assert_eq!(failed, [[culprit]], "{report}");
        let calls = host.sandbox.calls().len();
        let report = next(&host, QUARTER);
        assert_eq!(
            (report.tests.collected, report.tests.excluded),
            (4, 1),
            "{report}"
        );
        // Two LastRaw and a token.
        assert_eq!(host.sandbox.calls().len() - calls, 3, "{report}");
        host.sandbox.set_faults(Vec::new());
        assert_run(&next(&host, 6 * HOUR), Ok, 5);
    }
}

#[test]
fn c05_a_server_error_of_the_only_batch_is_split_in_the_next_run() {
    let host = host("v1", Settings::default());
    let ping = ids(TestType::Ping);
    host.set_config(&yaml("v1", &format!("test_ids: {{ ping: {ping:?} }}")));
    always_with(&host, Kind::LastRaw, status(500), ping[0]);
    assert_run(&host.run(None).unwrap(), Failed, 0);
    assert_run(&next(&host, QUARTER), Partial, 2);
}

#[test]
fn c05_an_answer_that_breaks_off_twice_is_asked_for_in_parts() {
    let host = host("v1", Settings::default());
    let ping = ids(TestType::Ping);
    let cut = Rule::new(Effect::Truncate { after: Some(900) }).on(Kind::LastRaw);
    // As long as more than one test is asked for.
    let rules = [ping[0], ping[1]].map(|test| cut.clone().test(test).times(2));
    host.sandbox.set_faults(rules.into());
    assert_run(&host.run(None).unwrap(), Ok, 5);
}

/// What a run makes of this fault, with calls for one test each; how many calls it takes.
#[track_caller]
fn check_stops(effect: Effect, kind: Kind, calls: usize) -> Report {
    let host = host("v1", Settings::default());
    host.set_config(&yaml("v1", &format!("{}\nbatch_size: 1", good_tests())));
    always(&host, kind, effect);
    let report = host.run(None).unwrap();
    assert_run(&report, Failed, 0);
    assert_eq!(host.sandbox.calls().len(), calls, "{report}");
    host.sandbox.set_faults(Vec::new());
    assert_run(&next(&host, QUARTER), Ok, 5);
    report
}

#[test]
fn c06_a_token_call_that_is_not_found_ends_the_run_and_excludes_no_test() {
    let report = check_stops(status(404), Kind::Token, 1);
    assert!(
        report.failures[0].hint.contains("token_endpoint"),
        "{report}"
    );
}

#[test]
fn c07_a_wrong_path_costs_one_call_and_excludes_no_test() {
    let page = answers(404, "<html>no such page</html>");
    let report = check_stops(page, Kind::LastRaw, 2);
    assert!(
        report.failures[0].hint.contains("rawdata_endpoint"),
        "{report}"
    );
}

#[test]
fn c09_cloudflare_is_named_and_no_batch_is_split() {
    let report = check_stops(Effect::Cloudflare { json: true }, Kind::LastRaw, 2);
    assert!(report.failures[0].cause.contains("Cloudflare"), "{report}");
}

#[test]
fn c13_a_batch_that_the_relay_refuses_does_not_stop_other_tests() {
    let host = host("v1", Settings::default());
    host.relay.set(RelayMode::Refuses("PingPacketLoss", 400));
    let report = host.run(None).unwrap();
    assert_run(&report, Partial, 2);
    assert_eq!(report.failures[0].tests, ids(TestType::Ping));
    // It comes last, and its time counts as missing until it is taken.
    assert_run(&next(&host, QUARTER), Partial, 2);
    host.relay.set(RelayMode::Takes);
    assert_run(&next(&host, QUARTER), Ok, 5);
    assert_whole(&host, START, "2026-03-01T12:30:00Z");
}

/// Larger than a page may be.
fn huge() -> Effect {
    answers(200, &" ".repeat((64 << 20) + 1))
}

#[test]
fn an_answer_that_is_too_large_is_asked_for_in_halves_and_what_fits_is_remembered() {
    let host = host("v1", Settings::default());
    let large = Rule::new(huge()).on(Kind::LastRaw);
    let once = large.test(ids(TestType::Ping)[0]).times(1);
    host.sandbox.set_faults(vec![once]);
    let report = host.run(None).unwrap();
    assert_run(&report, Ok, 5);
    // One test and two, then each batch of one type.
    assert_eq!(report.calls["lastraw 200"], 4, "{report}");
    assert_eq!(report.limits.len(), 1, "{report}");
    // For a day only one test is asked for at a time.
    assert_eq!(next(&host, QUARTER).calls["lastraw 200"], 5);
    assert_eq!(next(&host, 24 * HOUR).calls["lastraw 200"], 2);
}

#[test]
fn a_test_whose_answer_is_too_large_alone_is_asked_for_in_shorter_ranges() {
    let host = host("v1", Settings::default());
    let ping = ids(TestType::Ping);
    host.set_config(&yaml("v1", &format!("test_ids: {{ ping: [{}] }}", ping[0])));
    always(&host, Kind::LastRaw, huge());
    let report = host.run(None).unwrap();
    assert_run(&report, Ok, 1);
    assert_eq!(report.calls["ranged 200"], 2, "{report}");
    host.sandbox.set_faults(Vec::new());
    let report = next(&host, QUARTER);
    assert_run(&report, Ok, 1);
    assert!(report.gaps.open < 10, "{report}");
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
    let rule = Rule::new(huge()).test(ids(TestType::Ping)[0]);
    host.sandbox.set_faults(vec![rule]);
    assert_eq!(host.run(None).unwrap().tests.collected, 4);
    let report = next(&host, QUARTER);
    assert_eq!(report.tests.collected, 4, "{report}");
    // It alone, the other two of its type, and the other type.
    assert_eq!(report.calls["lastraw 200"], 3, "{report}");
}
