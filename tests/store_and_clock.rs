//! A state store that fails or is damaged, a clock that was ahead, and what a run makes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::io::Read;
use std::time::Duration;

use catchpoint_sandbox::Settings;
use chrono::{DateTime, Utc};

use catchpoint_graphite::config;
use catchpoint_graphite::host::Host;
use catchpoint_graphite::host::body::DeadlineReader;
use catchpoint_graphite::run::collector::Collector;
use catchpoint_graphite::run::plan;
use catchpoint_graphite::run::report::Report;
use catchpoint_graphite::state::Lease;
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
        assert_eq!(host.run(Some(10)), None);
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

/// Longest run.
const DEADLINE: Duration = Duration::from_secs(600);

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[test]
fn a_lease_that_lapsed_is_not_taken_back() {
    let host = host("v1", Settings::default());
    let first = Lease::take(&host, "first", DEADLINE).unwrap();
    assert!(first.renew());
    host.clock.advance(minutes(5));
    let second = Lease::take(&host, "second", DEADLINE).unwrap();
    assert!(!first.renew());
    // The release of the first is not the second's.
    first.release();
    assert!(Lease::take(&host, "third", DEADLINE).is_err());
    second.release();
    assert!(Lease::take(&host, "third", DEADLINE).is_ok());
}

#[test]
fn a_lease_of_a_clock_that_was_ahead_is_not_believed() {
    let host = host("v1", Settings::default());
    let start = host.clock.now();
    host.clock.advance(minutes(60 * 24));
    Lease::take(&host, "ahead", DEADLINE).unwrap();
    host.clock.set(start);
    assert!(Lease::take(&host, "now", DEADLINE).is_ok());
}

/// Nothing comes, for long.
struct Slow<'h>(&'h SimHost);

impl Read for Slow<'_> {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.0.clock.advance(Duration::from_secs(50));
        Ok(1)
    }
}

#[test]
fn a_slow_answer_keeps_the_lease() {
    let host = host("v1", Settings::default());
    let lease = Lease::take(&host, "slow", DEADLINE).unwrap();
    let deadline = host.now() + minutes(10);
    let tick = || lease.keep();
    let mut body = DeadlineReader::new(Slow(&host), &host, deadline, &tick);
    let mut reads = 0;
    while body.read(&mut [0]).is_ok() {
        reads += 1;
        assert!(Lease::take(&host, "other", DEADLINE).is_err());
    }
    assert_eq!(reads, 12);
}

#[test]
fn a_run_that_stood_still_for_too_long_leaves_the_rest_to_the_next() {
    let host = host("v1", Settings::default());
    let settings = config::Settings::load(&host).unwrap();
    let mut report = Report::begun(&host);
    let deadline = host.now() + DEADLINE;
    let mut run = Collector::begin(&host, &settings, &mut report, deadline).unwrap();
    let now = host.now().timestamp();
    let mut calls = plan::regular(&settings.catchpoint, &run.coverages, &run.verdicts, now);
    host.clock.advance(minutes(5));
    let other = Lease::take(&host, "other", DEADLINE).unwrap();
    run.fetch(calls.remove(0), &mut |_, _, _| {
        panic!("it is not ours to fetch")
    });
    assert!(run.over);
    run.release();
    assert!(other.renew());
    assert_eq!(
        report.failures[0].cause,
        "another run has taken over meanwhile"
    );
    assert!(host.sandbox.calls().is_empty());
}
