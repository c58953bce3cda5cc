//! The command build under the wasmtime command, as `docs/wasi.md` says.

use std::fs;
use std::iter;
use std::process::Command;

use catchpoint_testbed::pipeline::{Report, Run, SOON, epoch_seconds, wasm};
use catchpoint_testbed::truth::{Truth, total};

use crate::tools::{Rig, python_tool, read};

/// The first command of the page, from `wasmtime run` to the end of its block, as words.
fn documented() -> Vec<String> {
    let page = read("docs/wasi.md");
    let (_, behind) = page.split_once("\nwasmtime run ").unwrap();
    let (arguments, _) = behind.split_once("```").unwrap();
    let arguments = arguments.replace("\\\n", " ");
    let words = arguments.split_whitespace().map(str::to_owned);
    iter::once("run".to_owned()).chain(words).collect()
}

/// Runs what the page says but for a word and its flag, in a folder where `config` and `state` are.
fn collect(rig: &Rig, but_for: &str) -> (Option<i32>, String, String) {
    fs::create_dir_all(rig.folder.path().join("state")).unwrap();
    let mut words = documented();
    if let Some(place) = words.iter().position(|word| word == but_for) {
        words.drain(place - 1..=place);
    }
    let (component, flags) = words.split_last().unwrap();
    let output = Command::new(python_tool("wasmtime"))
        .args(flags)
        .arg(wasm(component).unwrap())
        .current_dir(rig.folder.path())
        .env("RELAY_URL", rig.relay_url())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_plain_wasi_host_brings_everything_and_keeps_the_token() {
    let rig = Rig::start();
    let mut lines = 0;
    for run in 1..=2 {
        let started = epoch_seconds();
        let (code, printed, log) = collect(&rig, "");
        let ended = epoch_seconds() + 1;
        assert_eq!(code, Some(0), "run {run}: {log}");
        let report: Report = serde_json::from_str(&printed).unwrap();
        assert_eq!(report.outcome, "ok", "{:?}", report.failures);
        lines += report.lines_accepted;
        // The collector's own figures are among the lines.
        let is_result = |line: &&String| line.starts_with("system.cp.testdata.");
        let arrived = rig.carbon.wait("the results", SOON, |record| {
            record.lines.iter().filter(is_result).count() >= lines
        });
        let arrived = arrived.unwrap().lines;
        let run = Run {
            started,
            ended,
            report,
        };
        let truth = Truth::ask(&rig.sandbox_url(), &run, 1).unwrap();
        assert_eq!(total(&truth.compare_lines(&arrived)).missing, 0);
    }
    let calls = rig.calls().unwrap();
    let count = |kind: &str| calls.iter().filter(|call| call.kind == kind).count();
    assert_eq!(count("token"), 1);
    // Sixteen test types, in each of the two runs.
    assert_eq!(count("lastraw"), 32);
}

#[test]
fn without_a_folder_for_the_state_one_warning_says_so() {
    let rig = Rig::start();
    let (code, _, log) = collect(&rig, "state::/state");
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains("mount a folder there"), "{log}");
}

#[test]
fn a_wrong_configuration_is_told_before_any_call() {
    let rig = Rig::start();
    let file = rig.config().join("config_catchpoint.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("batch_size", "batchsize")).unwrap();
    let (code, printed, log) = collect(&rig, "");
    // Not 64: `wasi:cli` 0.2 knows success and failure only.
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    assert!(log.contains("batchsize"), "{log}");
    assert!(rig.calls().unwrap().is_empty());
}
