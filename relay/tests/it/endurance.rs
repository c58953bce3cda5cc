//! A day of a batch every 15 minutes, in compressed time: nothing grows.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use catchpoint_testbed::{Conduct, StandIn};

use crate::common::*;

/// 24 hours of one tick every 15 minutes.
const TICKS: usize = 96;
const POSTS_PER_TICK: usize = 5;
/// Every four hours the replay windows are left to run out, as they do between two ticks when time
/// is not compressed, and everything is counted.
const TICKS_PER_LOOK: usize = 16;
/// What an allocator may keep for itself, more or less, and a runtime's threads with it.
const SLACK_KB: u64 = 4096;
const SLACK_OPEN: usize = 2;

/// What the relay uses, counted when it has nothing to do.
struct Usage {
    memory_kb: u64,
    open_files: usize,
    spool_files: usize,
}

impl Usage {
    fn of(relay: &Program, spool: &Path) -> Self {
        let process = Path::new("/proc").join(relay.process.id().to_string());
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"))
            .unwrap();
        Self {
            memory_kb: resident.trim().parse().unwrap(),
            open_files: std::fs::read_dir(process.join("fd")).unwrap().count(),
            spool_files: files(spool),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            memory_kb,
            open_files,
            spool_files,
        } = self;
        write!(
            f,
            "{memory_kb} kB, {open_files} files open, {spool_files} in the spool"
        )
    }
}

/// How many files there are in a folder and those below it.
fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
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
    let spool = dir.path().join("spool");
    let mut expected = HashSet::new();
    let mut looks = Vec::new();
    for tick in 0..TICKS {
        for part in 0..POSTS_PER_TICK {
            let lines = lines(tick * POSTS_PER_TICK + part, 1000);
            let key = format!("tick-{tick}-{part}");
            let text = format!("{}one bad line\n", body(&lines));
            let answer = post_with(relay.addr, &[("idempotency-key", &key)], text);
            assert_eq!(answer.status, 202);
            expected.extend(lines);
        }
        // The gap between two ticks is as long as it takes to confirm.
        until("the confirmation", || {
            (metric(relay.addr, "spool_batches") == 0.0).then_some(())
        });
        if (tick + 1) % TICKS_PER_LOOK == 0 {
            until("the end of the replay windows", || {
                (files(&spool.join("batches")) == 0).then_some(())
            });
            looks.push(Usage::of(&relay, &spool));
        }
    }
    wait_all(&carbon, &expected);
    for (look, usage) in looks.iter().enumerate() {
        println!("after {:>2} h: {usage}", (look + 1) * 4);
    }
    let (first, later) = looks.split_first().unwrap();
    assert_eq!(later.len(), 5);
    for usage in later {
        assert_eq!(usage.spool_files, first.spool_files, "{first} → {usage}");
        assert!(
            usage.memory_kb < first.memory_kb + SLACK_KB,
            "{first} → {usage}"
        );
        assert!(
            usage.open_files <= first.open_files + SLACK_OPEN,
            "{first} → {usage}"
        );
    }
}
