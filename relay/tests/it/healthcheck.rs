//! `--probe`, as an image's health check runs it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use catchpoint_testbed::{Conduct, StandIn, port};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::common::*;

/// The exit code, and what it says.
fn probe(addr: SocketAddr) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_catchpoint-graphite-relay"))
        .args(["--probe", "--listen", &addr.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

fn relay(dir: &Path, more: &[&str]) -> (StandIn, Program) {
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let relay = Program::start(dir, carbon.addr(), more);
    (carbon, relay)
}

#[test]
fn a_relay_is_well_with_tls_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let (_carbon, plain) = relay(dir.path(), &[]);
    assert_eq!(probe(plain.addr), (Some(0), String::new()));

    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let CertifiedKey {
        cert: of_relay,
        signing_key,
    } = generate_simple_self_signed(["relay.example.com".to_owned()]).unwrap();
    std::fs::write(&cert, of_relay.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let flags = [
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let (_carbon, secure) = relay(dir.path(), &flags);
    assert_eq!(probe(secure.addr), (Some(0), String::new()));
}

#[test]
fn what_does_not_answer_as_a_relay_is_not_well() {
    let nobody = probe(port::free().unwrap());
    assert_eq!(nobody.0, Some(1), "{}", nobody.1);
    assert!(nobody.1.contains("Connection refused"), "{}", nobody.1);
    // It takes connections, as the system does for a program that hangs, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = probe(silent.local_addr().unwrap());
    assert_eq!(silent.0, Some(1), "{}", silent.1);
    assert!(
        silent.1.contains("error: no relay answers at"),
        "{}",
        silent.1
    );
}
