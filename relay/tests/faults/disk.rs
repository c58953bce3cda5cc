//! A spool that is full, a disk that is, and one that turns read-only: the last two on a small file
//! system of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catchpoint_graphite_relay::spool::disk::Disk;
use catchpoint_testbed::{Conduct, Process, StandIn, port};

use crate::common::*;
use crate::sender::{Sender, World};
use crate::table::{Needs, Outcome, Tally};

const NAMESPACE: Needs =
    Needs("needs root or user namespaces, to mount a small file system (unshare --mount)");

/// A relay in a mount namespace with a file system of 2 MB, and where that is.
fn on_small_disk(root: &Path, carbon: SocketAddr) -> Result<(PathBuf, Program), Needs> {
    let dir = root.join("small");
    std::fs::create_dir(&dir).unwrap();
    let namespaces = [&["--user", "--map-root-user", "--mount"][..], &["--mount"]];
    let mount = "mount -t tmpfs -o size=2m none \"$0\"";
    let works = |flags: &&&[&str]| {
        let tried = Command::new("unshare")
            .args(**flags)
            .args(["sh", "-c", mount])
            .arg(&dir)
            .output();
        tried.is_ok_and(|output| output.status.success())
    };
    let flags = namespaces.iter().find(works).ok_or(NAMESPACE)?;
    let config = root.join("config_graphite.yaml");
    std::fs::write(&config, "relay: { replay_window_seconds: 0 }").unwrap();
    let addr = port::free().unwrap();
    let mut command = Command::new("unshare");
    command
        .args(*flags)
        .args(["sh", "-c", &format!("{mount} && exec \"$@\"")])
        .arg(&dir)
        .arg(env!("CARGO_BIN_EXE_catchpoint-graphite-relay"))
        .args(["--listen", &addr.to_string()])
        .args(["--carbon", &carbon.to_string()])
        .arg("--config")
        .arg(config)
        .arg("--spool")
        .arg(dir.join("spool"));
    let mut process = Process::spawn("relay", command, &dir.with_extension("log")).unwrap();
    process.wait_line("the relay accepts lines", SOON).unwrap();
    Ok((dir, Program { process, addr }))
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

pub fn spool_full() -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let mut settings = settings(dir.path(), addr);
    settings.limits.max_bytes = 1 << 20;
    let relay = Inner::start(settings);
    let sender = Sender::default();
    let (_, full_at) = sender.fill(relay.addr, 1000);
    let stored = relay.content().waiting.lines;
    assert_eq!(stored, full_at as u64, "nothing half-stored");
    let carbon = carbon_at(addr);
    relay.wait_delivered();
    assert!(sender.post(relay.addr, 1000), "it has room again");
    let note = format!("503 from {full_at} lines on, until carbon came");
    sender.tally(&carbon).noting(note)
}

pub fn full() -> Outcome {
    let root = tempfile::tempdir().unwrap();
    let carbon_addr = port::free().unwrap();
    let (_, mut relay) = on_small_disk(root.path(), carbon_addr)?;
    let sender = Sender::default();
    let (refused, full_at) = sender.fill(relay.addr, 2000);
    assert!(full_at > 10_000);
    let why = "the spool cannot be written to";
    assert!(refused.body.contains(why), "{}", refused.body);
    let line = relay.process.wait_line(why, SOON).unwrap();
    assert!(line.contains("WARN"), "nothing is lost: {line}");
    let carbon = carbon_at(carbon_addr);
    until("room on the disk", || {
        sender.post(relay.addr, 2000).then_some(())
    });
    let note = format!("503 from {full_at} lines on, until carbon came");
    Ok(sender.tally(&carbon).noting(note))
}

pub fn read_only() -> Outcome {
    let root = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let (dir, relay) = on_small_disk(root.path(), carbon.addr())?;
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
pub fn hung() -> Tally {
    let disk = TestDisk::new(Conditions::default());
    let shared: Arc<dyn Disk> = Arc::<TestDisk>::clone(&disk);
    let world = World::new_on(Conduct::Read, shared, |settings, _| {
        settings.drain_timeout = Duration::ZERO;
    });
    world.post(100);
    world.relay.wait_delivered();
    disk.change(Conditions {
        write_time: Duration::from_secs(12),
        ..Conditions::default()
    });
    let World {
        carbon,
        relay,
        sender,
        dir,
    } = world;
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
        let _relay = Inner::start(settings(dir.path(), carbon.addr()));
        let note = format!(
            "not ready after {:.0} s, stopped in {:.0} s",
            noticed.as_secs_f64(),
            stopped.as_secs_f64()
        );
        sender.tally(&carbon).noting(note)
    })
}

/// One file is not read for a while, as on a disk that is dying; the others are delivered.
pub fn one_file_hung() -> Tally {
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
    sender.tally(&carbon).noting(note)
}

/// The spool's file system is moved away, and comes back.
pub fn away() -> Outcome {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = root.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let carbon_addr = port::free().unwrap();
    let (dir, mut relay) = on_small_disk(root.path(), carbon_addr)?;
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
