//! The command build under the wasmtime command, as `docs/wasi.md` says.

use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::process::Command;

use catchpoint_testbed::workspace;

use crate::pipeline::{Pipeline, Report, SOON};
use crate::tools::{python_tool, wasm};

/// The first command of the page, from `wasmtime run` to the end of its block, as words.
fn documented() -> Vec<String> {
    let page = fs::read_to_string(workspace().join("docs/wasi.md")).unwrap();
    let (_, behind) = page.split_once("\nwasmtime run ").unwrap();
    let (arguments, _) = behind.split_once("```").unwrap();
    let arguments = arguments.replace("\\\n", " ");
    let words = arguments.split_whitespace().map(str::to_owned);
    iter::once("run".to_owned()).chain(words).collect()
}

/// Runs what the page says, in a folder where `config` and `state` are.
fn collect(pipeline: &Pipeline) -> (Option<i32>, String, String) {
    fs::create_dir_all(pipeline.folder.path().join("state")).unwrap();
    let words = documented();
    let (component, flags) = words.split_last().unwrap();
    let output = Command::new(python_tool("wasmtime"))
        .args(flags)
        .arg(wasm(component))
        .current_dir(pipeline.folder.path())
        .env("RELAY_URL", pipeline.relay_url())
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn report(text: &str) -> Report {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// When a line was measured, in epoch seconds.
fn time(line: &str) -> u64 {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_plain_wasi_host_gives_the_lines_of_the_component() {
    let command = Pipeline::start();
    let (code, printed, log) = collect(&command);
    assert_eq!(code, Some(0), "{log}");
    let first = report(&printed);
    assert_eq!(first.outcome, "ok", "{:?}", first.failures);
    let by_command = command
        .carbon
        .wait_lines(first.lines_accepted, SOON)
        .unwrap();

    let component = Pipeline::start();
    let output = component
        .host(&["run", "--json"], "spin.toml")
        .output()
        .unwrap();
    let second = report(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(second.outcome, "ok", "{:?}", second.failures);
    let by_component = component
        .carbon
        .wait_lines(second.lines_accepted, SOON)
        .unwrap();

    // Each call asks for the fifteen minutes before it, so they differ at the edges by the time
    // between them, for which a minute is plenty; what both can have seen must be the same.
    let newest = |lines: &[String]| lines.iter().map(|line| time(line)).max().unwrap();
    let oldest = |lines: &[String]| lines.iter().map(|line| time(line)).min().unwrap();
    let from = oldest(&by_command).max(oldest(&by_component)) + 60;
    let to = newest(&by_command).min(newest(&by_component)) - 60;
    let common = |lines: &[String]| -> BTreeSet<String> {
        let seen = |line: &&String| (from..=to).contains(&time(line));
        lines.iter().filter(seen).cloned().collect()
    };
    let common_lines = common(&by_command);
    assert!(common_lines.len() > by_command.len() / 2, "{from} to {to}");
    assert_eq!(common_lines, common(&by_component));
}

#[test]
fn the_state_folder_keeps_the_token_between_runs() {
    let pipeline = Pipeline::start();
    for run in 1..=2 {
        let (code, printed, log) = collect(&pipeline);
        assert_eq!(code, Some(0), "run {run}: {log}");
        assert_eq!(report(&printed).outcome, "ok", "run {run}");
    }
    let calls = pipeline.calls();
    let tokens = calls.iter().filter(|call| call.kind == "token").count();
    let data = calls.iter().filter(|call| call.kind == "lastraw").count();
    // Sixteen test types, in each of the two runs.
    assert_eq!((tokens, data), (1, 32), "{calls:?}");
}

#[test]
fn a_wrong_configuration_is_told_before_any_call() {
    let pipeline = Pipeline::start();
    let file = pipeline.config().join("config_catchpoint.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("batch_size", "batchsize")).unwrap();
    let (code, printed, log) = collect(&pipeline);
    // Not 64: `wasi:cli` 0.2 knows success and failure only.
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    assert!(log.contains("batchsize"), "{log}");
    assert!(pipeline.calls().is_empty());
}
