//! A disk that is full, and one that turns read-only, on a small file system of its own.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use catchpoint_testbed::{Conduct, Process, StandIn, port};

use crate::common::*;

/// A relay in a mount namespace where `dir` is a file system of 2 MB; `None` where the system
/// gives nobody a namespace, as in most containers. The same faults are tested there on a
/// simulated disk (`spool::tests`).
fn on_small_disk(dir: &Path, carbon: SocketAddr) -> Option<Program> {
    let namespaces = [&["--user", "--map-root-user", "--mount"][..], &["--mount"]];
    let mount = "mount -t tmpfs -o size=2m none \"$0\"";
    let works = |flags: &&&[&str]| {
        let tried = Command::new("unshare")
            .args(**flags)
            .args(["sh", "-c", mount])
            .arg(dir)
            .output();
        tried.is_ok_and(|output| output.status.success())
    };
    let Some(flags) = namespaces.iter().find(works) else {
        eprintln!("no mount namespace can be had here: a full and a read-only disk are not tested");
        return None;
    };
    let config = dir.parent().unwrap().join("config_graphite.yaml");
    std::fs::write(&config, "relay: { replay_window_seconds: 0 }").unwrap();
    let addr = port::free().unwrap();
    let mut command = Command::new("unshare");
    command
        .args(*flags)
        .args(["sh", "-c", &format!("{mount} && exec \"$@\"")])
        .arg(dir)
        .arg(env!("CARGO_BIN_EXE_catchpoint-graphite-relay"))
        .args([
            "--listen",
            &addr.to_string(),
            "--carbon",
            &carbon.to_string(),
        ])
        .arg("--config")
        .arg(config)
        .arg("--spool")
        .arg(dir.join("spool"));
    let mut process = Process::spawn("relay", command, &dir.with_extension("log")).unwrap();
    process.wait_line("the relay takes lines", SOON).unwrap();
    Some(Program { process, addr })
}

/// Remounts the small file system of this relay.
fn remount(relay: &Program, dir: &Path, mode: &str) {
    let namespaces = [&["--user", "--preserve-credentials"][..], &[]];
    let target = relay.process.id().to_string();
    let done = namespaces.iter().any(|flags| {
        let tried = Command::new("nsenter")
            .args(["--target", &target, "--mount"])
            .args(*flags)
            .args(["mount", "-o", &format!("remount,{mode}")])
            .arg(dir)
            .output();
        tried.is_ok_and(|output| output.status.success())
    });
    assert!(done, "remount {mode}");
}

#[test]
fn a_full_disk_is_503_and_recovers_by_itself() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("small");
    std::fs::create_dir(&dir).unwrap();
    let carbon_addr = port::free().unwrap();
    let Some(mut relay) = on_small_disk(&dir, carbon_addr) else {
        return;
    };
    let mut expected = HashSet::new();
    let refused = (0..).find_map(|part| {
        let lines = lines(part, 2000);
        let answer = post(relay.addr, body(&lines));
        if answer.status == 202 {
            expected.extend(lines);
            return None;
        }
        Some(answer)
    });
    let refused = refused.unwrap();
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("30"))
    );
    assert!(
        refused.body.contains("cannot be written to"),
        "{}",
        refused.body
    );
    assert!(expected.len() > 10_000);
    let line = relay
        .process
        .wait_line("the spool cannot be written to", SOON)
        .unwrap();
    assert!(line.contains("WARN"), "nothing is lost: {line}");
    let carbon = StandIn::start_at(carbon_addr, Conduct::Read).unwrap();
    wait_all(&carbon, &expected);
    let more = lines(1_000_000, 2000);
    until("room on the disk", || {
        (post(relay.addr, body(&more)).status == 202).then_some(())
    });
    expected.extend(more);
    wait_all(&carbon, &expected);
}

#[test]
fn a_read_only_disk_is_503_and_recovers_by_itself() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("small");
    std::fs::create_dir(&dir).unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let Some(relay) = on_small_disk(&dir, carbon.addr()) else {
        return;
    };
    let first = lines(1, 100);
    assert_eq!(post(relay.addr, body(&first)).status, 202);
    wait_all(&carbon, &first.iter().cloned().collect());
    remount(&relay, &dir, "ro");
    assert_eq!(post(relay.addr, body(&lines(2, 1))).status, 503);
    let ready = get(relay.addr, "/readyz");
    assert_eq!(
        (ready.status, &ready.json()["spool_writable"]),
        (503, &false.into())
    );
    assert_eq!(get(relay.addr, "/healthz").status, 200);
    remount(&relay, &dir, "rw");
    until("ready again", || {
        (get(relay.addr, "/readyz").status == 200).then_some(())
    });
    let second = lines(3, 100);
    assert_eq!(post(relay.addr, body(&second)).status, 202);
    wait_all(&carbon, &first.into_iter().chain(second).collect());
}
