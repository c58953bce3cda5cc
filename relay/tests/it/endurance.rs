//! A day of a batch every 15 minutes, in compressed time: nothing grows.

use std::collections::HashSet;
use std::path::Path;

use crate::common::*;

/// 24 hours of one tick every 15 minutes.
const TICKS: usize = 96;
const POSTS_PER_TICK: usize = 5;
/// Every four hours the replay windows are left to run out, as they do between two ticks when time
/// is not compressed, and everything is counted.
const TICKS_PER_LOOK: usize = 16;
/// What an allocator may keep for itself, more or less, and a runtime's threads with it.
const SLACK_KB: usize = 4096;
const SLACK_OPEN: usize = 2;

/// What the relay uses when it has nothing to do: memory in kB, open files, files in its spool.
fn usage(relay: &Program, spool: &Path) -> [usize; 3] {
    let page = get(relay.addr, "/metrics").body;
    let figure = |name: &str| -> usize {
        let value = page.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().trim().parse().unwrap()
    };
    let memory = figure("process_resident_memory_bytes ") / 1024;
    [memory, figure("process_open_fds "), files(spool)]
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
    let config = tempfile::tempdir().unwrap();
    let keys = "relay: { replay_window_seconds: 1 }";
    let config = file(config.path(), "graphite.yaml", keys);
    let (relay, carbon, dir) = start_program(&["--config", &config]);
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
            looks.push(usage(&relay, &spool));
        }
    }
    wait_all(&carbon, &expected);
    println!("kB, files open, files in the spool, every 4 hours: {looks:?}");
    let ([memory, open, files], later) = looks.split_first().unwrap();
    assert_eq!(later.len(), 5);
    for look in later {
        assert!(look[0] < memory + SLACK_KB && look[1] <= open + SLACK_OPEN);
        assert_eq!(look[2], *files);
    }
}
