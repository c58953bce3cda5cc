//! Names that do not resolve, and peers that close idle connections.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use catchpoint_testbed::port;

use crate::common::*;

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
