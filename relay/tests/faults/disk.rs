//! A spool that is full, a disk that is, and one that turns read-only: the last two on a small file
//! system of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catchpoint_graphite_relay::spool::disk::Disk;
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
    process.wait_line("the relay accepts lines", SOON).unwrap();
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

/// The disk takes 12 s for each write.
pub fn hung() -> Result<Tally, Needs> {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let disk = TestDisk::new(Conditions::default());
    let mut settings = settings(dir.path(), carbon.addr());
    settings.drain_timeout = Duration::ZERO;
    let relay = Inner::start_on(settings.clone(), Arc::clone(&disk) as Arc<dyn Disk>);
    let sender = Sender::default();
    assert!(sender.post(relay.addr, 100));
    relay.wait_delivered();
    disk.change(Conditions {
        write_time: Duration::from_secs(12),
        ..Conditions::default()
    });
    let addr = relay.addr;
    std::thread::scope(|scope| {
        // It gets no answer before the relay stops.
        scope.spawn(move || {
            send(
                addr,
                &request("POST", "/v1/lines", &[], b"a 1 1700000000\n"),
            )
        });
        let start = Instant::now();
        until("not ready", || {
            (get(addr, "/readyz").status == 503).then_some(())
        });
        let noticed = start.elapsed();
        assert!(noticed < Duration::from_secs(10), "{noticed:?}");
        let start = Instant::now();
        relay.stop();
        let stopped = start.elapsed();
        assert!(stopped < Duration::from_secs(8), "{stopped:?}");
        let _relay = Inner::start(settings);
        let note = format!(
            "not ready after {:.0} s, stopped in {:.0} s",
            noticed.as_secs_f64(),
            stopped.as_secs_f64()
        );
        Ok(sender.tally(&carbon).noting(note))
    })
}

/// One file is not read for a while, as on a disk that is dying; the others are delivered.
pub fn one_file_hung() -> Result<Tally, Needs> {
    let dir = tempfile::tempdir().unwrap();
    let carbon_addr = port::free().unwrap();
    let disk = TestDisk::new(Conditions::default());
    let settings = settings(dir.path(), carbon_addr);
    let relay = Inner::start_on(settings, Arc::clone(&disk) as Arc<dyn Disk>);
    let sender = Sender::default();
    assert!(sender.post(relay.addr, 100));
    let batches = std::fs::read_dir(dir.path().join("spool/batches")).unwrap();
    disk.change(Conditions {
        hangs_on: batches.map(|entry| entry.unwrap().path()).next(),
        ..Conditions::default()
    });
    for _ in 0..20 {
        assert!(sender.post(relay.addr, 100));
    }
    let carbon = carbon_at(carbon_addr);
    let start = Instant::now();
    let content = relay.wait("the others", |content| content.confirmed.lines == 2000);
    let took = start.elapsed().as_secs();
    assert_eq!((content.unreadable, content.waiting.lines), (1, 100));
    disk.change(Conditions::default());
    let note = format!("the others delivered after {took} s");
    Ok(sender.tally(&carbon).noting(note))
}

/// The spool's file system is moved away, and comes back.
pub fn away() -> Result<Tally, Needs> {
    let root = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (root.path().join("small"), root.path().join("elsewhere"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::create_dir(&elsewhere).unwrap();
    let carbon_addr = port::free().unwrap();
    let mut relay = on_small_disk(&dir, carbon_addr)?;
    let sender = Sender::default();
    for _ in 0..10 {
        assert!(sender.post(relay.addr, 100));
    }
    let target = relay.process.id().to_string();
    let mount = |from: &Path, to: &Path| {
        let done = Command::new("nsenter")
            .args(["--target", &target, "--mount", "mount", "--move"])
            .args([from, to])
            .output();
        assert!(done.is_ok_and(|output| output.status.success()));
    };
    mount(&dir, &elsewhere);
    assert_eq!(post(relay.addr, body(&lines(1_000_000, 1))).status, 503);
    let carbon = carbon_at(carbon_addr);
    relay
        .process
        .wait_line("the spool cannot be read", SOON)
        .unwrap();
    assert_eq!(metric(relay.addr, "lines_lost_total"), 0.0);
    let is_ours = |line: &String| !line.starts_with("carbon.relays.");
    assert!(!carbon.lines().iter().any(is_ours));
    mount(&elsewhere, &dir);
    until("room on the disk", || {
        sender.post(relay.addr, 100).then_some(())
    });
    Ok(sender.tally(&carbon).noting("503 until it was back"))
}
