//! Peers that are not carbon's plaintext listener. None of them confirms anything.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use catchpoint_testbed::{Graphite, Options, Venv};

use crate::common::*;
use crate::sender::Sender;
use crate::table::Tally;

/// Posts while this peer is in carbon's place, and then starts the relay with a carbon.
fn in_place_of_carbon(peer: SocketAddr) -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let sender = Sender::default();
    let mut settings = settings(dir.path(), peer);
    settings.drain_timeout = std::time::Duration::ZERO;
    let relay = Inner::start(settings.clone());
    for lines in [1, 40, 100] {
        assert!(sender.post(relay.addr, lines));
    }
    let failed = || relay.relay().metrics().deliveries_failed.sum();
    until("failed deliveries", || (failed() >= 3).then_some(()));
    assert_eq!(relay.relay().metrics().batches_confirmed.get(), 0);
    assert_eq!(get(relay.addr, "/readyz").json()["carbon"], "down");
    relay.stop();
    let carbon = carbon_at(catchpoint_testbed::port::free().unwrap());
    settings.carbon_port = carbon.addr().port();
    let _relay = Inner::start(settings);
    sender.tally(&carbon)
}

/// A server that says this, at once or after the first bytes, and ends.
fn server(says: &'static str, at_once: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                if at_once || stream.read(&mut [0; 100]).is_ok() {
                    // The peer may have gone.
                    let _ = stream.write_all(says.as_bytes());
                }
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    addr
}

pub fn web_server() -> Tally {
    let answer = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
    in_place_of_carbon(server(answer, false))
}

pub fn mail_server() -> Tally {
    in_place_of_carbon(server("220 mail ESMTP\r\n", true))
}

pub fn one_at_a_time() -> Tally {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // As `nc -lk`: it serves the relay's idle connection, and the system takes the others for it.
    let serve = move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    };
    std::thread::spawn(serve);
    in_place_of_carbon(addr)
}

pub fn other_ports_of_carbon() -> Tally {
    let venv = Venv::ensure_default().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("graphite");
    let graphite = Graphite::start(&venv, &folder, &Options::default()).unwrap();
    let conf = std::fs::read_to_string(folder.join("conf/carbon.conf")).unwrap();
    let port = |key: &str| {
        let value = conf.lines().find_map(|line| line.strip_prefix(key));
        SocketAddr::new(graphite.carbon_addr().ip(), value.unwrap().parse().unwrap())
    };
    let ports = ["PICKLE_RECEIVER_PORT = ", "CACHE_QUERY_PORT = "].map(port);
    ports.into_iter().map(in_place_of_carbon).sum()
}
