//! `deploy/fermyon/spin.toml`: the manifest of the repository without its cron trigger.

use std::fs;
use std::process::Command;

use catchpoint_testbed::workspace;

use crate::pipeline::Pipeline;
use crate::tools::{deploy, program, run};

#[test]
fn the_manifest_is_that_of_the_repository_without_cron() {
    let own = fs::read_to_string(workspace().join("spin.toml")).unwrap();
    let (before, cron) = own.split_once("[[trigger.cron]]").unwrap();
    let (_, after) = cron.split_once("[[trigger.http]]").unwrap();
    let (_, before) = before.split_once("spin_manifest_version").unwrap();
    let expected = format!("{before}[[trigger.http]]{after}")
        .replace("source = \"target/", "source = \"../../target/")
        .replace("command = \"", "workdir = \"../..\"\ncommand = \"");
    let given = fs::read_to_string(deploy("fermyon/spin.toml")).unwrap();
    let (_, given) = given.split_once("spin_manifest_version").unwrap();
    assert_eq!(given, expected);
}

/// The part of `config_catchpoint.yaml` that the page gives.
fn settings() -> String {
    let page = fs::read_to_string(workspace().join("docs/fermyon.md")).unwrap();
    let (_, settings) = page.split_once("```yaml\n").unwrap();
    settings.split_once("```").unwrap().0.to_owned()
}

#[test]
fn a_run_ends_before_the_platform_ends_it() {
    let settings = settings();
    let seconds = |key: &str| -> u64 {
        let line = settings.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // The last call's connection, first byte and further ones, and the relay's answer.
    let waits = 3 + 1;
    let longest = seconds("run_deadline_seconds:") + waits * seconds("request_timeout_seconds:");
    assert!(longest <= 30, "{longest} s");
}

/// Our host knows the keys of Spin's manifest, and refuses any other.
#[test]
fn the_manifest_and_its_settings_are_valid() {
    let pipeline = Pipeline::start();
    let file = pipeline.config().join("config_catchpoint.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + &settings()).unwrap();
    let mut check = Command::new(program("catchpoint-graphite"));
    check
        .args(["check", "--manifest"])
        .arg(deploy("fermyon/spin.toml"))
        .arg("--config")
        .arg(pipeline.config())
        .arg("--state")
        .arg(pipeline.folder.path().join("state"));
    let (code, said) = run(&mut check);
    assert_eq!(code, Some(0), "{said}");
}

/// What Spin's schema of the manifest does not know must not get into ours: Spin refuses it only when
/// somebody deploys.
#[test]
fn a_key_that_spin_does_not_know_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spin.toml");
    let complaint = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut check = Command::new(program("catchpoint-graphite"));
        let state = folder.path().join("state");
        run(check
            .arg("check")
            .args(["--manifest"])
            .arg(&file)
            .arg("--state")
            .arg(state))
    };
    let own = fs::read_to_string(workspace().join("spin.toml")).unwrap();
    let unknown = |key: &str| format!("unknown field `{key}`");
    for (from, to, expected) in [
        (
            "[application]\n",
            "[application]\nauthor = 1\n",
            unknown("author"),
        ),
        ("secret = true", "secrets = true", unknown("secrets")),
        ("\ncron_expression", "\nschedule", unknown("schedule")),
        ("\nroute", "\npath", unknown("path")),
        (
            "\nallowed_outbound_hosts",
            "\nallowed_hosts",
            unknown("allowed_hosts"),
        ),
        (
            "destination",
            "target",
            "expected a glob pattern or".to_owned(),
        ),
        ("\nwatch", "\nwatches", unknown("watches")),
    ] {
        assert!(own.contains(from), "{from}");
        let (code, said) = complaint(&own.replacen(from, to, 1));
        assert_eq!(code, Some(64), "{to}: {said}");
        assert!(said.contains(&expected), "{to}: {said}");
    }
}
