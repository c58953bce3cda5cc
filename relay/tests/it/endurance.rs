//! A day of a batch every 15 minutes, in compressed time: nothing grows.

use std::path::Path;

use catchpoint_testbed::{Conduct, StandIn};

use crate::common::*;

/// 24 hours of one tick every 15 minutes.
const TICKS: usize = 96;
const POSTS_PER_TICK: usize = 5;

fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn a_day_leaves_memory_and_file_count_flat() {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let config = dir.path().join("config_graphite.yaml");
    std::fs::write(&config, "relay: { replay_window_seconds: 1 }").unwrap();
    let relay = Program::start(
        dir.path(),
        carbon.addr(),
        &["--config", config.to_str().unwrap()],
    );
    let batches = dir.path().join("spool/batches");
    let files_open = format!("/proc/{}/fd", relay.process.id());
    let mut expected = std::collections::HashSet::new();
    let mut early = None;
    let mut most_files = 0;
    for tick in 0..TICKS {
        for part in 0..POSTS_PER_TICK {
            let lines = lines(tick * POSTS_PER_TICK + part, 1000);
            let key = format!("tick-{tick}-{part}");
            let answer = post_with(relay.addr, &[("idempotency-key", &key)], body(&lines));
            assert_eq!(answer.status, 202);
            expected.extend(lines);
        }
        // The gap between two ticks is as long as it takes to confirm.
        until("the confirmation", || {
            (metric(relay.addr, "spool_batches") == 0.0).then_some(())
        });
        most_files = most_files.max(count(&batches));
        if tick == TICKS / 4 {
            early = Some((resident_kb(relay.process.id()), count(files_open.as_ref())));
        }
    }
    wait_all(&carbon, &expected);
    until("an empty spool", || (count(&batches) == 0).then_some(()));
    let (memory_before, open_before) = early.unwrap();
    let (memory, open) = (resident_kb(relay.process.id()), count(files_open.as_ref()));
    println!(
        "| 24 h: {} lines | memory {memory_before} → {memory} kB | files open {open_before} → {open} | at most {most_files} spool files |",
        expected.len()
    );
    assert!(
        memory < memory_before + 4096,
        "{memory_before} → {memory} kB"
    );
    assert!(open <= open_before + 2, "{open_before} → {open}");
}
