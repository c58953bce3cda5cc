//! `--probe`, as an image's health check runs it.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use catchpoint_testbed::port;

use crate::common::*;

/// Asks, and gives what is said if nobody is well there.
fn probe(addr: SocketAddr) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_catchpoint-graphite-relay"))
        .args(["--probe", "--listen", &addr.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!said.is_empty())));
    if said.is_empty() { Ok(()) } else { Err(said) }
}

#[test]
fn a_relay_is_well_with_tls_and_without() {
    let (plain, _carbon, _dir) = start_program(&[]);
    assert_eq!(probe(plain.addr), Ok(()));
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = certificate(dir.path());
    let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
    let (secure, _carbon, _dir) = start_program(&["--tls-cert", cert, "--tls-key", key]);
    assert_eq!(probe(secure.addr), Ok(()));
}

#[test]
fn what_does_not_answer_as_a_relay_is_not_well() {
    let nobody = probe(port::free().unwrap()).unwrap_err();
    assert!(nobody.contains("Connection refused"), "{nobody}");
    // It takes connections, as the system does for a program that hangs, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = probe(silent.local_addr().unwrap()).unwrap_err();
    assert!(silent.contains("error: no relay answers at"), "{silent}");
}
