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

use catchpoint_graphite::host::Host;
use catchpoint_graphite::host::body::DeadlineReader;
use catchpoint_graphite::run::report::Outcome;
use catchpoint_graphite::state::{Key, Lease, Priority};
use catchpoint_sandbox::Settings;
use chrono::{DateTime, Utc};
use support::small::{START, assert_whole, good_tests, host, logged, yaml};
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
    assert_whole(host, START, &format!("2026-03-01T{to}:00Z"));
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
        assert!(log.contains("WARN state store: `coverage` cannot be read, counts as empty and stays as it is: the store is busy"), "{log}");
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
        assert_eq!(host.run(Some(14)), None);
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
        assert!(log.contains(" | coverage of test 142600: it was ahead of the clock, so the clock was wrong; nothing is lost: everything back to max_backfill_hours is fetched again; set the clock by NTP"), "{log}");
        assert!(log.contains("tests=5/5"), "{log}");
        for quarter in 1..5 {
            run_at(&host, &format!("13:{:02}", quarter * 10));
        }
        check_whole(&host, "13:15");
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn take<'h>(host: &'h SimHost, run: &str) -> Result<Lease<'h>, DateTime<Utc>> {
    Lease::take(host, run, Priority::Run)
}

#[test]
fn a_lease_that_lapsed_is_not_taken_back() {
    let host = host("v1", Settings::default());
    let first = take(&host, "first").unwrap();
    assert!(first.renew(Duration::ZERO));
    host.clock.advance(seconds(31));
    let second = take(&host, "second").unwrap();
    assert!(!first.renew(Duration::ZERO));
    // The release of the first is not the second's.
    first.release();
    assert!(take(&host, "third").is_err());
    second.release();
    assert!(take(&host, "third").is_ok());
}

#[test]
fn a_lease_of_a_clock_that_was_ahead_is_not_believed() {
    let host = host("v1", Settings::default());
    let start = host.clock.now();
    host.clock.advance(seconds(86_400));
    take(&host, "ahead").unwrap();
    host.clock.set(start);
    assert!(take(&host, "now").is_ok());
}

/// Nothing comes, for long.
struct Slow<'h>(&'h SimHost);

impl Read for Slow<'_> {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.0.clock.advance(seconds(50));
        Ok(1)
    }
}

#[test]
fn a_slow_answer_and_a_wait_keep_the_lease() {
    let host = host("v1", Settings::default());
    let lease = take(&host, "slow").unwrap();
    assert!(lease.renew(seconds(60)));
    let deadline = host.now() + seconds(600);
    let tick = || lease.keep();
    let mut body = DeadlineReader::new(Slow(&host), &host, deadline, &tick);
    let mut reads = 0;
    while body.read(&mut [0]).is_ok() {
        reads += 1;
        assert!(take(&host, "other").is_err());
    }
    assert!(reads > 6, "{reads}");
    assert!(lease.sleep(seconds(600)));
}

#[test]
fn c17_a_run_that_was_killed_costs_the_next_one_half_a_minute_beyond_its_call() {
    let killed = host("v1", Settings::default());
    assert_eq!(killed.run(Some(18)), None);
    assert_eq!(killed.run(None).unwrap().outcome, Outcome::Skipped);
    // It was killed in a call, which may take twice the timeout.
    killed.clock.advance(seconds(151));
    assert_eq!(killed.run(None).unwrap().outcome, Outcome::Ok);
    // A run that ends leaves nothing.
    assert!(take(&killed, "next").is_ok());
}

#[test]
fn c03_a_run_that_has_lost_its_lease_writes_nothing() {
    // The other run is under way when the machine wakes, or it has ended.
    for (call, ended) in (1..=4).flat_map(|call| [(call, false), (call, true)]) {
        let host = host("v1", Settings::default());
        host.run(None);
        host.clock.advance(seconds(1800));
        // While this call is under way the machine sleeps, and another run takes over.
        *host.on_call.borrow_mut() = Some(Box::new(move |host, sent| {
            if sent == 3 + call {
                host.clock.advance(seconds(300));
                let until = (host.clock.now() + seconds(60)).to_rfc3339();
                let lease = match ended {
                    true => r#"{"run":"","until":"1970-01-01T00:00:00Z"}"#.to_owned(),
                    false => format!(r#"{{"run":"other","until":"{until}"}}"#),
                };
                let mut state = host.state.borrow_mut();
                for value in state.values_mut() {
                    *value = b"of the other run".to_vec();
                }
                state.insert("lease".to_owned(), lease.into_bytes());
            }
        }));
        let report = host.run(None).unwrap();
        assert_ne!(report.outcome, Outcome::Ok, "{call} {ended}: {report}");
        assert!(
            report.to_string().contains("another run has taken over"),
            "{call}: {report}"
        );
        let mut state = host.state.borrow().clone();
        state.remove("lease");
        let changed: Vec<_> = state
            .iter()
            .filter(|(_, value)| value.as_slice() != b"of the other run")
            .collect();
        assert!(changed.is_empty(), "{call}: {changed:?}");
    }
}

#[test]
fn c04_a_run_waits_for_the_call_of_a_backfill_and_goes_first() {
    let host = host("v1", Settings::default());
    let backfill = Lease::take(&host, "backfill", Priority::Backfill).unwrap();
    assert!(!backfill.is_awaited());
    *host.on_sleep.borrow_mut() = Some(Box::new(|host, waits| {
        // The run has been waiting for some seconds when the call ends.
        if waits == 6 {
            let free = r#"{"run":"","until":"1970-01-01T00:00:00Z"}"#;
            host.state
                .borrow_mut()
                .insert("lease".to_owned(), free.into());
        }
    }));
    let run = take(&host, "run").unwrap();
    assert!(!backfill.write(Key::Report, &"not its own"));
    run.release();
    // One backfill does not wait for another, nor for a run, nor take the lease before one that waits.
    let now = serde_json::to_vec(&host.now()).unwrap();
    host.state.borrow_mut().insert("waiting".to_owned(), now);
    assert!(Lease::take(&host, "backfill", Priority::Backfill).is_err());
    host.clock.advance(seconds(6));
    let backfill = Lease::take(&host, "backfill", Priority::Backfill).unwrap();
    assert!(Lease::take(&host, "another", Priority::Backfill).is_err());
    let now = serde_json::to_vec(&host.now()).unwrap();
    host.state.borrow_mut().insert("waiting".to_owned(), now);
    assert!(backfill.is_awaited());
}

#[test]
fn a_store_that_fails_is_logged_once() {
    let host = host("v1", Settings::default());
    host.store_fails.set(true);
    let log = logged(&host);
    assert_eq!(log.matches("WARN state store").count(), 1, "{log}");
    assert!(log.contains("tests=5/5"), "{log}");
}
