//! Carbon restarts, and gets again what it had read since.

use std::collections::HashSet;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use catchpoint_testbed::{Conduct, StandIn, port};

use crate::common::*;

#[test]
fn a_restart_while_nothing_is_sent_is_noticed_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let addr = carbon.addr();
    let relay = Inner::start(settings(dir.path(), addr));
    let lines: HashSet<_> = lines(1, 100).into_iter().collect();
    post(relay.addr, body(&lines.iter().cloned().collect::<Vec<_>>()));
    relay.wait("the confirmation", |content| content.confirmed.batches == 1);
    drop(carbon.stop());
    let carbon = carbon_at(addr);
    wait_all(&carbon, &lines);
    relay.wait_delivered();
    let metrics = relay.relay().metrics();
    // Uncertain, if the new one was there before the relay looked for it.
    let times = metrics.carbon_restarts.get() + metrics.replays_in_doubt.get();
    assert_eq!(times, 1);
}

#[test]
fn what_a_relay_had_confirmed_is_sent_again_after_its_own_restart() {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let addr = carbon.addr();
    let expected = lines(1, 100);
    let relay = Inner::start(settings(dir.path(), addr));
    post(relay.addr, body(&expected));
    relay.wait("the confirmation", |content| content.confirmed.batches == 1);
    let left = relay.stop();
    assert_eq!((left.waiting.batches, left.confirmed.batches), (0, 1));
    drop(carbon.stop());
    let carbon = carbon_at(addr);
    let relay = Inner::start(settings(dir.path(), addr));
    wait_all(&carbon, &expected.into_iter().collect());
    relay.wait_delivered();
}

#[test]
fn nothing_is_replayed_after_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let addr = carbon.addr();
    let mut settings = settings(dir.path(), addr);
    settings.limits.replay_window = Duration::from_millis(300);
    let relay = Inner::start(settings);
    post(relay.addr, body(&lines(1, 100)));
    relay.wait("the end of the window", |content| {
        content.confirmed.batches == 0 && content.is_sent()
    });
    let entries = std::fs::read_dir(dir.path().join("spool/batches"))
        .unwrap()
        .count();
    assert_eq!(entries, 0);
    drop(carbon.stop());
    let carbon = carbon_at(addr);
    let later = lines(2, 10);
    post(relay.addr, body(&later));
    wait_all(&carbon, &later.into_iter().collect());
}

/// A peer that closes each connection on which nothing has come for so long.
fn close_idle(after: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(after)).unwrap();
                // To the end of the stream, or of the time.
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    addr
}

#[test]
fn a_delivery_may_take_longer_than_the_peer_keeps_an_idle_connection() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), close_idle(Duration::from_secs(1)));
    // Three seconds' worth.
    settings.max_lines_per_second = 10;
    settings.timing.stall_timeout = SOON;
    let relay = Inner::start(settings);
    post(relay.addr, body(&lines(1, 30)));
    until("the confirmation", || {
        (relay.relay().metrics().batches_confirmed.get() > 0).then_some(())
    });
}

#[test]
fn a_name_that_does_not_resolve_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), port::free().unwrap());
    // A label of more than 63 characters: no resolver has to be asked, which may take long.
    settings.carbon_host = format!("{}.invalid", "c".repeat(64));
    let relay = Inner::start(settings);
    assert_eq!(post(relay.addr, body(&lines(1, 1))).status, 202);
    until("two attempts", || {
        (relay.relay().metrics().deliveries_failed.sum() >= 2).then_some(())
    });
    let ready = get(relay.addr, "/readyz");
    assert_eq!(
        (ready.status, ready.json()["carbon"].as_str()),
        (200, Some("down"))
    );
}
