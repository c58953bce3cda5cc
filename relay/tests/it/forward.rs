//! What the forwarder does with peers that behave oddly.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::common::*;

#[test]
fn what_a_carbon_had_read_that_was_back_before_the_probe_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(dir.path(), listener.local_addr().unwrap());
    settings.timing.stall_timeout = SOON;
    let relay = Inner::start(settings);
    let expected = lines(1, 10);
    post(relay.addr, body(&expected));
    let (liveness, _) = listener.accept().unwrap();
    let (mut delivery, _) = listener.accept().unwrap();
    // It has read all of it, and dies.
    delivery.read_to_end(&mut Vec::new()).unwrap();
    drop(liveness);
    drop(delivery);
    // It is back before the relay looks.
    let mut again = String::new();
    while !again.contains(&body(&expected)) {
        let (mut stream, _) = listener.accept().unwrap();
        again.clear();
        stream.set_read_timeout(Some(SOON / 60)).unwrap();
        // The liveness connection says nothing.
        let _ = stream.read_to_string(&mut again);
    }
}

#[test]
fn a_peer_that_serves_one_connection_at_a_time_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    // As `nc -lk`, which serves the relay's idle connection for ever.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut relay = Program::start(dir.path(), listener.local_addr().unwrap(), &[]);
    post(relay.addr, body(&lines(1, 10)));
    let said = relay.process.wait_line("nc -lk", SOON).unwrap();
    assert!(said.contains("serves one connection at a time"), "{said}");
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
