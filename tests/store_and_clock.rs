//! A state store that fails or is damaged, a clock that was ahead, and what a run makes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use catchpoint_sandbox::Settings;
use chrono::{DateTime, Utc};

use support::small::{START, good_tests, host, logged, yaml};
use support::{RelayMode, SimHost};

const VERSIONS: [&str; 2] = ["v1", "v2"];

/// Goes on to a time of the day and runs.
fn run_at(host: &SimHost, time: &str) -> String {
    let time: DateTime<Utc> = format!("2026-03-01T{time}:00Z").parse().unwrap();
    host.clock.set(time.max(host.clock.now()));
    logged(host)
}

#[track_caller]
fn check_whole(host: &SimHost, to: &str) {
    let missing = host.missing(START, &format!("2026-03-01T{to}:00Z"));
    assert!(missing.is_empty(), "{} are missing", missing.len());
}

#[test]
fn cursors_that_cannot_be_read_are_not_written_over() {
    for version in VERSIONS {
        let host = host(version, Settings::default());
        logged(&host);
        // A gap, which only the cursors know of.
        host.relay.set(RelayMode::Answers(401));
        run_at(&host, "12:15");
        run_at(&host, "12:30");
        host.relay.set(RelayMode::Takes);
        host.unreadable.set(Some("coverage"));
        let log = run_at(&host, "12:45");
        assert!(log.contains("WARN state store: `coverage` cannot be read, counts as empty and is left as it is: the store is busy"), "{log}");
        assert!(log.contains("tests=5/5"), "{log}");
        host.unreadable.set(None);
        run_at(&host, "13:00");
        check_whole(&host, "12:45");
    }
}

#[test]
fn damaged_cursors_have_everything_fetched_again() {
    for version in VERSIONS {
        let host = host(version, Settings::default());
        logged(&host);
        run_at(&host, "13:30");
        host.taken.borrow_mut().clear();
        let damaged = br#"{"142600":{"until":"noon"}}"#.to_vec();
        host.state
            .borrow_mut()
            .insert("coverage".to_owned(), damaged);
        let log = run_at(&host, "13:45");
        assert!(log.contains("ERROR state store: `coverage` is damaged: invalid type: string \"noon\", expected i64 at line 1 column 25; everything back to max_backfill_hours is fetched again"), "{log}");
        assert!(log.contains("aged_out:0"), "{log}");
        // v2 catches up six hours at a time.
        for quarter in 1..5 {
            run_at(&host, &format!("14:{:02}", quarter * 10));
        }
        check_whole(&host, "13:45");
    }
}

#[test]
fn another_configuration_in_between_costs_no_cursor() {
    for version in VERSIONS {
        let host = host(version, Settings::default());
        logged(&host);
        host.set_config(&yaml(version, "test_ids: { ping: [142600] }"));
        run_at(&host, "13:00");
        host.set_config(&yaml(version, &good_tests()));
        run_at(&host, "14:00");
        check_whole(&host, "13:45");
    }
}

#[test]
fn what_a_new_installation_cannot_hand_over_is_a_gap() {
    for version in VERSIONS {
        let host = host(version, Settings::default());
        host.relay.set(RelayMode::Down);
        logged(&host);
        run_at(&host, "12:15");
        host.relay.set(RelayMode::Takes);
        run_at(&host, "17:00");
        check_whole(&host, "16:45");
    }
}

#[test]
fn cursors_of_a_clock_that_was_ahead_are_set_back() {
    for version in VERSIONS {
        let host = host(version, Settings::default());
        logged(&host);
        let ahead = br#"{"142600":{"until":1803902400,"settled":1803902400,"gaps":[]}}"#.to_vec();
        host.state.borrow_mut().insert("coverage".to_owned(), ahead);
        let log = run_at(&host, "12:15");
        assert!(log.contains(" | cursor of test 142600: it was ahead of the clock, which must have been wrong; nothing is lost: everything back to max_backfill_hours is fetched again; have the clock set by NTP"), "{log}");
        assert!(log.contains("tests=5/5"), "{log}");
        for quarter in 1..5 {
            run_at(&host, &format!("13:{:02}", quarter * 10));
        }
        check_whole(&host, "13:15");
    }
}
