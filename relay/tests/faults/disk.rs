//! A spool that is full, a disk that is, and one that turns read-only: the last two on a small file
//! system of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use catchpoint_testbed::{Conduct, Process, StandIn, port};

use crate::common::*;
use crate::sender::Sender;
use crate::table::{Needs, Tally};

const NAMESPACE: Needs =
    Needs("needs root or user namespaces, to mount a small file system (unshare --mount)");

/// A relay in a mount namespace where `dir` is a file system of 2 MB.
fn on_small_disk(dir: &Path, carbon: SocketAddr) -> Result<Program, Needs> {
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
    let flags = namespaces.iter().find(works).ok_or(NAMESPACE)?;
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
    Ok(Program { process, addr })
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

pub fn spool_full() -> Result<Tally, Needs> {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let mut settings = settings(dir.path(), addr);
    settings.limits.max_bytes = 1 << 20;
    let relay = Inner::start(settings);
    let sender = Sender::default();
    while sender.post(relay.addr, 1000) {}
    let refused = post(relay.addr, body(&lines(1_000_000, 1000)));
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("30"))
    );
    assert_eq!(
        relay.content().waiting.lines,
        sender.count() as u64,
        "nothing half-stored"
    );
    let full_at = sender.count();
    let carbon = carbon_at(addr);
    relay.wait_delivered();
    assert!(sender.post(relay.addr, 1000), "it has room again");
    Ok(sender
        .tally(&carbon)
        .noting(format!("503 from {full_at} lines on, until carbon came")))
}

pub fn full() -> Result<Tally, Needs> {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("small");
    std::fs::create_dir(&dir).unwrap();
    let carbon_addr = port::free().unwrap();
    let mut relay = on_small_disk(&dir, carbon_addr)?;
    let sender = Sender::default();
    while sender.post(relay.addr, 2000) {}
    let full_at = sender.count();
    assert!(full_at > 10_000);
    let refused = post(relay.addr, body(&lines(1_000_000, 2000)));
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("30"))
    );
    assert!(
        refused.body.contains("cannot be written to"),
        "{}",
        refused.body
    );
    let line = relay
        .process
        .wait_line("the spool cannot be written to", SOON)
        .unwrap();
    assert!(line.contains("WARN"), "nothing is lost: {line}");
    let carbon = carbon_at(carbon_addr);
    until("room on the disk", || {
        sender.post(relay.addr, 2000).then_some(())
    });
    Ok(sender
        .tally(&carbon)
        .noting(format!("503 from {full_at} lines on, until carbon came")))
}

pub fn read_only() -> Result<Tally, Needs> {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("small");
    std::fs::create_dir(&dir).unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let relay = on_small_disk(&dir, carbon.addr())?;
    let sender = Sender::default();
    assert!(sender.post(relay.addr, 100));
    remount(&relay, &dir, "ro");
    assert_eq!(post(relay.addr, body(&lines(1_000_000, 1))).status, 503);
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
    assert!(sender.post(relay.addr, 100));
    Ok(sender
        .tally(&carbon)
        .noting("503 until it was writable again"))
}
