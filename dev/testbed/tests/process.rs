//! Child processes: what they print is kept, and nothing of them stays behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::{path::Path, process::Command, time::Duration};

use catchpoint_testbed::{Error, Process, Signal, wait};

const SOON: Duration = Duration::from_secs(20);

fn shell(script: &str, folder: &Path) -> Process {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    Process::spawn("script", command, &folder.join("log/script.log")).unwrap()
}

/// Whether a process with this id runs; a zombie does not.
fn runs(id: &str) -> bool {
    let state = Command::new("ps")
        .args(["-o", "stat=", "-p", id])
        .output()
        .unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.starts_with('Z')
}

fn wait_gone(id: &str) {
    wait::until("the end of the grandchild", SOON, || {
        Ok((!runs(id)).then_some(()))
    })
    .unwrap();
}

/// A script whose child ignores SIGTERM and would live for long.
const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo child $!; wait; sleep 1000";

fn grandchild(process: &mut Process) -> String {
    let line = process.wait_line("child ", SOON).unwrap();
    let id = line.trim_start_matches("child ").to_owned();
    assert!(runs(&id));
    id
}

#[test]
fn prints_go_to_the_log_and_the_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("echo one; echo two >&2; exit 3", folder.path());
    assert_eq!(process.wait_end(SOON).unwrap().code(), Some(3));
    assert_eq!(process.printed(), "one\ntwo\n");

    let mut second = shell("echo three", folder.path());
    second.wait_end(SOON).unwrap();
    assert_eq!(second.printed(), "three\n");
    assert_eq!(
        std::fs::read_to_string(second.log()).unwrap(),
        "one\ntwo\nthree\n"
    );
}

#[test]
fn an_early_end_is_an_error_that_quotes_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("echo no such luck; exit 1", folder.path());
    let error = process.wait_line("ready", SOON).unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error}");
    assert!(error.to_string().contains("no such luck"), "{error}");
}

#[test]
fn one_that_must_run_and_does_not_is_an_error_that_quotes_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("echo still here; sleep 1000", folder.path());
    process.wait_line("still here", SOON).unwrap();
    process.require_running().unwrap();
    process.signal(Signal::KILL).unwrap();
    process.wait_end(SOON).unwrap();
    let error = process.require_running().unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error}");
    assert!(error.to_string().contains("still here"), "{error}");
}

#[test]
fn a_deadline_is_an_error_that_quotes_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("echo hello; sleep 1000", folder.path());
    process.wait_line("hello", SOON).unwrap();
    let error = process
        .wait_line("ready", Duration::from_millis(50))
        .unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(error.to_string().contains("hello"), "{error}");
}

#[test]
fn drop_stops_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell(STUBBORN, folder.path());
    let id = grandchild(&mut process);
    drop(process);
    wait_gone(&id);
}

#[test]
fn stop_kills_what_does_not_listen() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell(STUBBORN, folder.path());
    let id = grandchild(&mut process);
    let status = process.stop(Duration::from_millis(100)).unwrap();
    assert_eq!(status.code(), None);
    wait_gone(&id);
}

#[test]
fn stop_is_gentle_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell(
        "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done",
        folder.path(),
    );
    process.wait_line("ready", SOON).unwrap();
    let log = process.log().to_owned();
    assert_eq!(process.stop(SOON).unwrap().code(), Some(7));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "ready\nbye\n");
}

#[test]
fn one_that_has_ended_gets_no_signal() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("exit 0", folder.path());
    process.wait_end(SOON).unwrap();
    assert!(process.signal(Signal::TERM).is_err());
}
