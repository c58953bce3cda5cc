//! Child processes: what they print is kept, and nothing of them stays behind.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{path::Path, process::Command, time::Duration};

use catchpoint_testbed::{Process, Signal, wait};

const SOON: Duration = Duration::from_secs(20);

fn shell(script: &str, folder: &Path) -> Process {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    Process::spawn("script", command, &folder.join("log/script.log")).unwrap()
}

/// Waits until no process with this id runs; a zombie does not.
fn wait_gone(id: &str) {
    wait::until("the end of the grandchild", SOON, || {
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        Ok((state.is_empty() || state.contains(") Z ")).then_some(()))
    })
    .unwrap();
}

#[test]
fn the_end_is_an_error_that_quotes_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("echo no such luck; exit 1", folder.path());
    let error = process.wait_line("ready", SOON).unwrap_err();
    assert!(format!("{error:?}").contains("no such luck"), "{error:?}");
    assert!(process.signal(Signal::TERM).is_err());
}

#[test]
fn nothing_stays_behind_whether_dropped_or_stopped() {
    let folder = tempfile::tempdir().unwrap();
    for stop in [false, true] {
        // A script that ignores SIGTERM, with a child that would live for long.
        let script = "trap '' TERM; sleep 1000 & echo child $!; wait; sleep 1000";
        let mut process = shell(script, folder.path());
        let line = process.wait_line("child ", SOON).unwrap();
        let id = line.trim_start_matches("child ").to_owned();
        if stop {
            let status = process.stop(Duration::from_millis(100)).unwrap();
            assert_eq!(status.code(), None);
        } else {
            drop(process);
        }
        wait_gone(&id);
    }
}
