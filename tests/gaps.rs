//! Gaps: when they are filled, given up, and said.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::time::Duration;

use catchpoint_sandbox::{Effect, Kind, Rule, Settings, TestType};
use support::SimHost;
use support::small::{
    always, answers, assert_whole, good_tests, host, ids, logged, next, says, status, yaml,
};

#[test]
fn a_gap_that_is_still_open_is_a_warning() {
    for version in ["v1", "v2"] {
        let host = host(version, Settings::default());
        logged(&host);
        let kind = if version == "v1" {
            Kind::Ranged
        } else {
            Kind::V2
        };
        let slow = Rule::new(Effect::Delay { millis: 90_000 }).on(kind);
        host.sandbox
            .set_faults(vec![slow.skip(if version == "v1" { 0 } else { 2 })]);
        host.clock.advance(Duration::from_secs(8 * 3600));
        let open = logged(&host);
        assert!(open.starts_with("WARN run="), "{open}");
        assert!(open.contains(" gap_tests=5"), "{open}");
        host.sandbox.set_faults(Vec::new());
        host.clock.advance(Duration::from_secs(900));
        let whole = logged(&host);
        assert!(whole.starts_with("INFO run="), "{whole}");
        assert!(!whole.contains("gap_tests"), "{whole}");
    }
}

#[test]
fn what_is_older_than_max_backfill_hours_is_lost_and_an_error() {
    for version in ["v1", "v2"] {
        let host = host(version, Settings::default());
        host.run(None);
        host.clock.advance(Duration::from_secs(26 * 3600));
        let log = logged(&host);
        assert!(
            log.starts_with("ERROR ") && log.contains("max_backfill_hours and lost"),
            "{log}"
        );
        assert_whole(&host, "2026-03-01T14:00:30Z", "2026-03-02T14:00:00Z");
    }
}

#[test]
fn a_test_that_is_answered_again_after_days_has_no_more_than_max_backfill_hours_filled() {
    let host = host("v1", Settings::default());
    host.run(None);
    let refused = says("You do not have access to this test");
    let ping = ids(TestType::Ping);
    host.sandbox
        .set_faults(vec![Rule::new(refused).test(ping[0])]);
    next(&host, 900);
    host.sandbox.set_faults(Vec::new());
    let report = next(&host, 10 * 86_400);
    let lost = report.failures.iter().find(|failure| failure.what == "gap");
    assert!(lost.unwrap().tests.contains(&ping[0]), "{report}");
    assert!(report.gaps.filled <= 5 * 86_400, "{report}");
    assert_eq!(report.gaps.tests, 0, "{report}");
}

#[test]
fn the_edges_between_windows_are_swept_in_time_however_short_that_is() {
    for hours in [1, 2, 24] {
        let host = host("v1", Settings::default());
        let backfill = format!("{}\nmax_backfill_hours: {hours}", good_tests());
        host.set_config(&yaml("v1", &backfill));
        let start = host.clock.now();
        for run in 0..24 {
            // Runs do not begin on the second.
            let jitter = Duration::from_millis(u64::from(run) * 7919 % 3000);
            host.clock
                .set(start + Duration::from_secs(900) * run + jitter);
            let report = host.run(None).unwrap();
            assert_eq!(report.gaps.aged_out, 0, "{hours}: {report}");
        }
    }
}

/// The tests of each LastRaw call of a run.
fn asked(host: &SimHost) -> Vec<Vec<u64>> {
    let known = host.sandbox.calls().len();
    host.run(None);
    let calls = host.sandbox.calls().into_iter().skip(known);
    let lastraw = calls.filter(|call| call.kind == Kind::LastRaw);
    lastraw.map(|call| call.tests).collect()
}

#[test]
fn a_batch_that_failed_comes_after_the_others() {
    let host = host("v1", Settings::default());
    let (ping, dns) = (ids(TestType::Ping), ids(TestType::Dns));
    assert_eq!(asked(&host), [ping.clone(), dns.clone()]);
    let page = Effect::Html { code: 200 };
    host.sandbox
        .set_faults(vec![Rule::new(page).on(Kind::LastRaw).test(ping[0])]);
    host.clock.advance(Duration::from_secs(900));
    assert_eq!(asked(&host)[0], ping);
    // It has waited for longer, and would take the time of the others again.
    host.clock.advance(Duration::from_secs(900));
    assert_eq!(asked(&host)[0], dns);
    host.sandbox.set_faults(Vec::new());
    host.clock.advance(Duration::from_secs(900));
    assert_eq!(asked(&host), [dns, ping]);
}

#[test]
fn c02_an_answer_about_another_time_fills_no_gap_and_is_not_asked_for_without_end() {
    let host = host("v1", Settings::default());
    host.run(None);
    let other = answers(
        200,
        r#"{"start":"2026-03-01T11:00:00Z","end":"2026-03-01T11:30:00Z"}"#,
    );
    always(&host, Kind::Ranged, other);
    let report = next(&host, 3600);
    // One of several tests, and then of two alone.
    assert_eq!(report.calls["ranged 200"], 3, "{report}");
    assert_eq!(report.gaps.tests, 5, "{report}");
    let report = next(&host, 900);
    assert_eq!(report.calls.get("ranged 200"), None, "{report}");
    host.sandbox.set_faults(Vec::new());
    next(&host, 6 * 3600);
    assert_whole(&host, "2026-03-01T12:00:00Z", "2026-03-01T18:00:00Z");
}

/// An answer says which time it is about, or its rows do.
#[test]
fn c02_results_of_another_time_count_as_no_others() {
    const V1: &str = r#"{"detail":{"fields":{"synthetic_metrics":[{"name":"A"}]},"items":[{"synthetic_metrics":[7],"dimension":{"name":"2026-02-01T00:00:00Z"},"breakdown_1":{"id":1},"breakdown_2":{"id":2}}]}}"#;
    const V2: &str = r#"{"data":{"responseItems":[{"metrics":[{"name":"A"}],"items":[{"dateTime":"2026-02-01T00:00:00","values":[7],"dimensions":[{"type":{"id":16},"id":1},{"type":{"id":1},"id":2}]}]}],"hasMore":false}}"#;
    const V2_SAID: &str = r#"{"data":{"responseItems":[{"startTimeUtc":"2026-02-01T00:00:00","endTimeUtc":"2026-02-01T01:00:00","metrics":[],"items":[]}],"hasMore":false}}"#;
    for (version, kind, skip, body) in [
        ("v1", Kind::Ranged, 0, V1),
        // The calls for past time, and the regular calls as well.
        ("v2", Kind::V2, 2, V2),
        ("v2", Kind::V2, 0, V2),
        ("v2", Kind::V2, 2, V2_SAID),
        ("v2", Kind::V2, 0, V2_SAID),
    ] {
        let host = host(version, Settings::default());
        host.run(None);
        let other = Rule::new(answers(200, body)).on(kind).skip(skip);
        host.sandbox.set_faults(vec![other]);
        let report = next(&host, 13 * 3600);
        assert_eq!(report.gaps.tests, 5, "{version} {skip}: {report}");
        assert!(
            report.to_string().contains("another time range"),
            "{report}"
        );
        let calls: u64 = report.calls.values().sum();
        assert!(calls < 15, "{report}");
        host.sandbox.set_faults(Vec::new());
        next(&host, 6 * 3600);
        assert_whole(&host, "2026-03-01T12:00:00Z", "2026-03-02T06:45:00Z");
    }
}

/// Catchpoint passes over the range that is asked for and answers with the last hour.
#[test]
fn c02_what_an_answer_leaves_out_is_missing() {
    let host = host("v2", Settings::default());
    host.run(None);
    let hour = r#"{"data":{"responseItems":[{"startTimeUtc":"2026-03-01T16:00:00","endTimeUtc":"2026-03-01T17:00:00","metrics":[],"items":[]}],"hasMore":false}}"#;
    let rule = Rule::new(answers(200, hour)).on(Kind::V2);
    host.sandbox.set_faults(vec![rule]);
    host.clock.set("2026-03-01T17:00:00Z".parse().unwrap());
    let report = host.run(None).unwrap();
    assert_eq!(
        (report.gaps.tests, report.gaps.open),
        (5, 5 * 4 * 3600),
        "{report}"
    );
}

/// A test whose gaps are refused keeps no other's gaps from being filled, however many there are.
#[test]
fn c05_tests_whose_gaps_are_refused_cost_the_others_none() {
    let host = host("v1", Settings::default());
    host.run(None);
    let refused = |test| Rule::new(status(404)).on(Kind::Ranged).test(test);
    let ping = ids(TestType::Ping);
    host.sandbox
        .set_faults(vec![refused(ping[0]), refused(ping[1])]);
    host.clock.advance(Duration::from_secs(3600));
    for _ in 0..3 {
        host.run(None);
        host.clock.advance(Duration::from_secs(6 * 3600 + 900));
    }
    let missing = host.missing("2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z");
    let missing = missing
        .iter()
        .filter(|point| !ping[..2].contains(&point.test_id));
    assert_eq!(missing.count(), 0);
}

#[test]
fn c02_more_gaps_than_are_kept_are_lost_and_said_to_be() {
    let host = host("v1", Settings::default());
    host.run(None);
    let test = ids(TestType::Ping)[0];
    let now = host.clock.now().timestamp();
    // 512 gaps of 10 s, 60 s apart, and one that comes with this run.
    let gaps = (0..512).map(|nth| if nth == 0 { (now - 512 * 60).to_string() } else { "50".to_owned() } + ",10");
    let gaps = gaps.collect::<Vec<_>>().join(",");
    let coverage = format!(r#"{{"{test}":{{"until":{now},"settled":{now},"gaps":[{gaps}]}}}}"#);
    host.state
        .borrow_mut()
        .insert("coverage".to_owned(), coverage.into());
    always(&host, Kind::Ranged, status(404));
    host.clock.advance(Duration::from_secs(3600));
    let log = logged(&host);
    assert!(
        log.contains("ERROR ") && log.contains("aged_out:10"),
        "{log}"
    );
    assert!(log.contains("the shortest are lost"), "{log}");
}
