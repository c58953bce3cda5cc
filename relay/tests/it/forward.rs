//! What the forwarder does when deliveries fail.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catchpoint_testbed::port;
use socket2::SockRef;

use crate::common::*;

/// A peer that reads everything, but resets the connection as soon as this line comes. Gives the
/// lines that have come.
fn reset_at(addr: SocketAddr, bad: &'static str) -> Arc<Mutex<HashSet<String>>> {
    reset_on(until("a listener", || TcpListener::bind(addr).ok()), bad)
}

fn reset_on(listener: TcpListener, bad: &'static str) -> Arc<Mutex<HashSet<String>>> {
    let came = Arc::new(Mutex::new(HashSet::new()));
    let record = Arc::clone(&came);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let record = Arc::clone(&record);
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                    if line == bad {
                        // An orderly end would tell that it has read what came with the line, too.
                        SockRef::from(&stream)
                            .set_linger(Some(Duration::ZERO))
                            .unwrap();
                        return;
                    }
                    record.lock().unwrap().insert(line);
                }
            });
        }
    });
    came
}

#[test]
fn a_bad_batch_is_found_and_lets_the_others_go_first() {
    let bad = "bad 1 1700000000";
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let mut settings = settings(dir.path(), addr);
    settings.drain_timeout = Duration::ZERO;
    let relay = Inner::start(settings.clone());
    let mut expected = HashSet::new();
    for part in 0..200 {
        let lines = lines(part, 1);
        post(relay.addr, body(&lines));
        expected.extend(lines);
        if part == 0 {
            post(relay.addr, format!("{bad}\n"));
        }
    }
    assert_eq!(relay.stop().waiting.lines, 201);
    let came = reset_at(addr, bad);
    // Each failure costs a while: the time that the test has, if the bad batch failed once for
    // each of the others.
    settings.timing.min_backoff = Duration::from_secs(1);
    settings.timing.max_backoff = Duration::from_secs(600);
    // A pause of this machine is no failure.
    settings.timing.stall_timeout = SOON;
    let relay = Inner::start(settings);
    until("all but the bad one", || {
        expected.is_subset(&came.lock().unwrap()).then_some(())
    });
    relay.wait("their confirmation", |content| content.waiting.lines == 1);
}

#[test]
fn what_a_carbon_had_read_that_was_back_before_the_probe_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(dir.path(), listener.local_addr().unwrap());
    settings.timing.stall_timeout = SOON;
    let relay = Inner::start(settings);
    let expected = lines(1, 10);
    post(relay.addr, body(&expected));
    let (mut delivery, _) = listener.accept().unwrap();
    let (watch, _) = listener.accept().unwrap();
    // It has read all of it, and dies.
    delivery.read_to_end(&mut Vec::new()).unwrap();
    drop(watch);
    drop(delivery);
    let came = reset_on(listener, "");
    until("all of it once more", || {
        let came = came.lock().unwrap();
        expected
            .iter()
            .all(|line| came.contains(line))
            .then_some(())
    });
}

#[test]
fn a_stop_does_not_wait_for_the_next_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let slow = |own_lines_interval| {
        let mut settings = settings(dir.path(), addr);
        settings.timing.min_backoff = Duration::from_secs(3600);
        settings.timing.max_backoff = Duration::from_secs(3600);
        settings.timing.stall_timeout = SOON;
        settings.drain_timeout = 2 * SOON;
        settings.own_lines_interval = own_lines_interval;
        Inner::start(settings)
    };
    let failed = |relay: &Inner| {
        until("a failed delivery", || {
            (relay.relay().metrics().deliveries_failed.sum() > 0).then_some(())
        });
    };
    // Carbon is down, and only the relay's own figures wait for it.
    let relay = slow(Duration::from_millis(10));
    failed(&relay);
    let start = Instant::now();
    relay.stop();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    // Carbon was down, and is back.
    let relay = slow(2 * SOON);
    let expected = lines(1, 10);
    post(relay.addr, body(&expected));
    failed(&relay);
    let carbon = carbon_at(addr);
    assert_eq!(relay.stop().waiting.lines, 0);
    wait_all(&carbon, &expected.into_iter().collect());
}
