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
use insta::assert_snapshot;
use support::SimHost;
use support::small::{good_tests, host, ids, logged, yaml};

/// The logs of a run after 45 minutes without one, and of one after 26 hours.
fn with_gaps(version: &str) -> String {
    let host = host(version, Settings::default());
    host.run(None);
    host.clock.advance(Duration::from_secs(3 * 900));
    let first = logged(&host);
    host.clock.advance(Duration::from_secs(26 * 3600));
    format!("{first}\n{}", logged(&host))
}

#[test]
fn a_gap_is_filled_or_given_up_in_words() {
    assert_snapshot!(with_gaps("v1"), @"
    INFO run=beeb8da1658eec67 outcome=ok started=2026-03-01T12:45:01Z seconds=2.8 from=2026-03-01T11:59:00Z to=2026-03-01T12:45:02Z tests=5/5 calls=lastraw_200:2,ranged_200:5,token_200:1 samples=401 nulls=8 accepted=401 rejected=0 gap_seconds=found:9007,filled:9007,open:0,aged_out:0
    ERROR run=f893a2eefb32555e outcome=failed started=2026-03-02T14:45:04Z seconds=2.8 from=2026-03-01T14:45:04Z to=2026-03-02T14:45:04Z tests=5/5 calls=lastraw_200:2,ranged_200:5,token_200:1 samples=9382 nulls=221 accepted=9382 rejected=0 gap_seconds=found:427500,filled:427500,open:0,aged_out:36013 | gap of tests 142600,142601,142602,142603,142604: 36013 s of results, summed over the tests, are older than max_backfill_hours and lost; fetch them with `backfill` if Catchpoint still has them; raise max_backfill_hours for longer outages
    ");
    assert_snapshot!(with_gaps("v2"), @"
    INFO run=beeb8da1658eec67 outcome=ok started=2026-03-01T12:45:00Z seconds=0.9 from=2026-03-01T11:55:00Z to=2026-03-01T12:45:00Z tests=5/5 calls=explorer_200:2 samples=323 nulls=7 accepted=323 rejected=0 gap_seconds=found:9000,filled:9000,open:0,aged_out:0
    ERROR run=f893a2eefb32555e outcome=failed started=2026-03-02T14:45:01Z seconds=0.9 from=2026-03-01T14:45:01Z to=2026-03-01T20:45:01Z tests=5/5 calls=explorer_200:2 samples=2322 nulls=54 accepted=2322 rejected=0 gap_seconds=found:108000,filled:108000,open:319500,aged_out:36005 gap_tests=5 | gap of tests 142600,142601,142602,142603,142604: 36005 s of results, summed over the tests, are older than max_backfill_hours and lost; fetch them with `backfill` if Catchpoint still has them; raise max_backfill_hours for longer outages
    ");
}

#[test]
fn a_gap_that_is_still_open_is_a_warning() {
    let host = host("v2", Settings::default());
    logged(&host);
    // v2 catches up six hours at a time.
    host.clock.advance(Duration::from_secs(8 * 3600));
    let catching_up = logged(&host);
    assert!(catching_up.starts_with("WARN run="), "{catching_up}");
    assert!(catching_up.contains(" outcome=ok "), "{catching_up}");
    assert!(catching_up.contains(" gap_tests=5"), "{catching_up}");
    let whole = logged(&host);
    assert!(whole.starts_with("INFO run="), "{whole}");
    assert!(!whole.contains("gap_tests"), "{whole}");
}

#[test]
fn a_test_that_is_answered_again_after_days_has_no_more_than_max_backfill_hours_filled() {
    let host = host("v1", Settings::default());
    host.run(None);
    let refused = Effect::Error {
        message: "You do not have access to this test".to_owned(),
    };
    let ping = ids(TestType::Ping);
    host.sandbox
        .set_faults(vec![Rule::new(refused).test(ping[0])]);
    host.clock.advance(Duration::from_secs(900));
    host.run(None);
    host.sandbox.set_faults(Vec::new());
    host.clock.advance(Duration::from_secs(10 * 86_400));
    let report = host.run(None).unwrap();
    let of_ping = report
        .failures
        .iter()
        .filter(|failure| failure.what == "gap");
    assert!(
        of_ping
            .into_iter()
            .any(|failure| failure.tests == [ping[0]]),
        "{report}"
    );
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
    let slow = Effect::Delay { millis: 90_000 };
    host.sandbox
        .set_faults(vec![Rule::new(slow).on(Kind::LastRaw).test(ping[0])]);
    host.clock.advance(Duration::from_secs(900));
    assert_eq!(asked(&host)[0], ping);
    // It has waited for longer, and would take the time of the others again.
    host.clock.advance(Duration::from_secs(900));
    assert_eq!(asked(&host)[0], dns);
    host.sandbox.set_faults(Vec::new());
    host.clock.advance(Duration::from_secs(900));
    assert_eq!(asked(&host), [dns.clone(), ping.clone()]);
    host.clock.advance(Duration::from_secs(900));
    assert_eq!(asked(&host), [dns, ping]);
}
