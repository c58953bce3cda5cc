//! The fault matrix: whatever happens to carbon, the relay or the disk, every line that was
//! answered 202 arrives. Each test prints its row of the table (`--nocapture` shows them).
//!
//! Where carbon restarts, all lines must be at the last one: what a carbon has read it loses from
//! its memory when it stops, and all of it is still within the replay window.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use catchpoint_testbed::{Conduct, Signal, StandIn, port};

use crate::common::*;

/// Senders' side of a fault: what was answered with 202.
#[derive(Default)]
struct Sender {
    answered: HashSet<String>,
    parts: usize,
}

impl Sender {
    /// Posts a batch of new lines; true if it was answered with 202.
    fn post(&mut self, addr: SocketAddr, count: usize) -> bool {
        self.parts += 1;
        let lines = lines(self.parts, count);
        let request = request("POST", "/v1/lines", &[], body(&lines).as_bytes());
        let accepted = send(addr, &request).is_ok_and(|answer| answer.status == 202);
        if accepted {
            self.answered.extend(lines);
        }
        accepted
    }

    /// Waits until all that was answered is at this carbon, and prints the row.
    fn expect_all(&self, fault: &str, carbon: &StandIn) {
        assert!(!self.answered.is_empty());
        until(&format!("{fault}: all lines at carbon"), || {
            (missing(carbon, &self.answered) == 0).then_some(())
        });
        println!(
            "| {fault:<45} | {:>6} lines | 0 lost |",
            self.answered.len()
        );
    }
}

/// Posts while carbon behaves so, then lets it behave well.
fn misbehaving(fault: &str, conduct: Conduct, doubts: u64) {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(conduct).unwrap();
    let relay = Inner::start(settings(dir.path(), carbon.addr()));
    let mut sender = Sender::default();
    for _ in 0..20 {
        assert!(sender.post(relay.addr, 100));
    }
    until("failed deliveries", || {
        (relay.relay().metrics().deliveries_failed.sum() >= doubts).then_some(())
    });
    assert_eq!(
        relay.content().confirmed.batches,
        0,
        "nothing may be taken as confirmed"
    );
    carbon.conduct(Conduct::Read);
    assert!(sender.post(relay.addr, 100));
    sender.expect_all(fault, &carbon);
    relay.wait_delivered();
}

#[test]
fn carbon_down_at_start_and_for_the_whole_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let relay = Inner::start(settings(dir.path(), addr));
    let mut sender = Sender::default();
    for _ in 0..300 {
        assert!(sender.post(relay.addr, 20));
    }
    assert_eq!(relay.content().waiting.lines, 6000);
    let carbon = StandIn::start_at(addr, Conduct::Read).unwrap();
    sender.expect_all("carbon down at start, for the whole backlog", &carbon);
    relay.wait_delivered();
}

#[test]
fn carbon_killed_in_the_middle_of_a_batch() {
    misbehaving(
        "carbon killed in the middle of a batch",
        Conduct::ResetAfter { lines: 50 },
        3,
    );
}

#[test]
fn carbon_accepts_and_never_reads() {
    misbehaving("carbon accepts and never reads", Conduct::NeverRead, 2);
}

#[test]
fn carbon_closes_at_once() {
    misbehaving("carbon closes at once", Conduct::Close, 5);
}

#[test]
fn carbon_resets() {
    misbehaving("carbon resets", Conduct::Reset, 5);
}

#[test]
fn carbon_stopped_then_killed() {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::NeverRead).unwrap();
    let addr = carbon.addr();
    let mut settings = settings(dir.path(), addr);
    settings.timing.patience = SOON;
    let relay = Inner::start(settings);
    let mut sender = Sender::default();
    assert!(sender.post(relay.addr, 1000));
    // The delivery and its watch are there: the lines are in the kernel, and nobody reads them.
    carbon
        .wait("two connections", SOON, |record| record.connections >= 2)
        .unwrap();
    assert_eq!(carbon.stop().lines.len(), 0);
    let carbon = StandIn::start_at(addr, Conduct::Read).unwrap();
    sender.expect_all("carbon stopped, then killed", &carbon);
}

#[test]
fn carbon_slow_at_1_kilobyte_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Conduct::ReadSlowly {
        bytes_per_second: 1024,
    };
    let carbon = StandIn::start(slow).unwrap();
    let relay = Inner::start(settings(dir.path(), carbon.addr()));
    let mut sender = Sender::default();
    // About 3.5 KB, far more than the relay's patience of half a second is good for.
    assert!(sender.post(relay.addr, 50));
    sender.expect_all("carbon slow at 1 KB/s", &carbon);
    relay.wait_delivered();
    assert!(
        relay.relay().metrics().deliveries_failed.sum() > 0,
        "it did lose patience"
    );
}

#[test]
fn carbon_restarted_50_times_during_load() {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let relay = Inner::start(settings(dir.path(), addr));
    let mut sender = Sender::default();
    for _ in 0..50 {
        let carbon = StandIn::start_at(addr, Conduct::Read).unwrap();
        assert!(sender.post(relay.addr, 50));
        // Whatever it is reading now, it is cut.
        carbon
            .wait("some lines", SOON, |record| !record.lines.is_empty())
            .unwrap();
        assert!(sender.post(relay.addr, 50));
        drop(carbon.stop());
    }
    let carbon = StandIn::start_at(addr, Conduct::Read).unwrap();
    sender.expect_all("carbon restarted 50 times during load", &carbon);
}

/// Kills the relay at random points of a load, each time with carbon or without.
fn kill_relay(fault: &str, times: usize, carbon_too: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (addr, carbon_addr) = (port::free().unwrap(), port::free().unwrap());
    let mut carbon = StandIn::start_at(carbon_addr, Conduct::Read).unwrap();
    let mut sender = Sender::default();
    for _ in 0..times {
        let mut relay = Program::start_at(addr, dir.path(), carbon_addr, &[]);
        let pid = relay.process.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(fastrand::u64(0..40_000)));
            let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        });
        // Until the relay is gone.
        while sender.post(addr, 20) {}
        killer.join().unwrap();
        relay.process.wait_end(SOON).unwrap();
        if carbon_too {
            drop(carbon.stop());
            carbon = StandIn::start_at(carbon_addr, Conduct::Read).unwrap();
        }
    }
    let _relay = Program::start_at(addr, dir.path(), carbon_addr, &[]);
    sender.expect_all(fault, &carbon);
}

#[test]
fn relay_killed_100_times_under_load() {
    kill_relay("relay kill -9, 100 times under load", 100, false);
}

#[test]
fn relay_and_carbon_killed_together() {
    kill_relay("relay and carbon killed together, 20 times", 20, true);
}

#[test]
fn spool_full() {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let mut settings = settings(dir.path(), addr);
    settings.limits.max_bytes = 1 << 20;
    let relay = Inner::start(settings);
    let mut sender = Sender::default();
    while sender.post(relay.addr, 1000) {}
    let refused = post(relay.addr, body(&lines(0, 1000)));
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("30"))
    );
    assert_eq!(
        relay.content().waiting.lines,
        sender.answered.len() as u64,
        "nothing half-stored"
    );
    let carbon = StandIn::start_at(addr, Conduct::Read).unwrap();
    sender.expect_all("spool full", &carbon);
    relay.wait_delivered();
    assert!(sender.post(relay.addr, 1000));
    sender.expect_all("spool full, then drained", &carbon);
}

#[test]
fn spool_files_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let mut relay = Program::start(dir.path(), addr, &[]);
    let mut sender = Sender::default();
    assert!(sender.post(relay.addr, 100));
    relay.process.signal(Signal::KILL).unwrap();
    relay.process.wait_end(SOON).unwrap();
    let batches = dir.path().join("spool/batches");
    let name = |sequence: u64| batches.join(format!("{sequence:016}-1-15-00000000.lines"));
    std::fs::write(name(1), "").unwrap();
    std::fs::write(name(2), "a 1 17").unwrap();
    std::fs::write(name(3), "a 1 1700000000\n").unwrap();
    std::fs::write(batches.join("core.1234"), "not ours").unwrap();
    let carbon = StandIn::start_at(addr, Conduct::Read).unwrap();
    let relay = Program::start(dir.path(), addr, &[]);
    sender.expect_all("spool files truncated, flipped, empty, foreign", &carbon);
    until("the damage counted", || {
        (metric(relay.addr, "batches_damaged_total") == 3.0).then_some(())
    });
    assert_eq!(entries(&dir.path().join("spool/damaged")), 4);
    assert_eq!(carbon.lines().len(), 100, "nothing of the damaged files");
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}
