//! `deploy/docker`, read by a linter: it knows the syntax of Dockerfiles and of the shell in them.

use std::fs;
use std::process::Command;

use catchpoint_testbed::{Process, port, workspace};

use crate::pipeline::SOON;
use crate::tools::{deploy, program, python_tool, run};

fn lint(text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Dockerfile");
    fs::write(&file, text).unwrap();
    let mut hadolint = Command::new(python_tool("hadolint"));
    run(hadolint.arg("--no-color").arg(file))
}

#[test]
fn the_linter_has_nothing_to_say() {
    let text = fs::read_to_string(deploy("docker/Dockerfile")).unwrap();
    assert_eq!(lint(&text), (Some(0), String::new()));
    // And it would say something.
    for (from, to, complaint) in [
        ("WORKDIR /build", "WORKDIR build", "DL3000"),
        ("rust:1.95.0-alpine", "rust", "DL3006"),
        ("EXPOSE 2080", "EXPOSE 208000", "DL3011"),
    ] {
        assert!(text.contains(from), "{from}");
        let (code, said) = lint(&text.replace(from, to));
        assert!(
            code == Some(1) && said.contains(complaint),
            "{from}: {said}"
        );
    }
}

#[test]
fn the_image_is_built_by_the_compiler_of_the_repository() {
    let toolchain = fs::read_to_string(workspace().join("rust-toolchain.toml")).unwrap();
    let (_, version) = toolchain.split_once("channel = \"").unwrap();
    let (version, _) = version.split_once('"').unwrap();
    let text = fs::read_to_string(deploy("docker/Dockerfile")).unwrap();
    for line in [
        format!("FROM docker.io/library/rust:{version}-alpine AS build"),
        // Without it, rustup would get the wasm target, too.
        format!("ENV RUSTUP_TOOLCHAIN={version}"),
    ] {
        assert!(text.lines().any(|other| other == line), "no `{line}`");
    }
}

/// The command of an instruction in its list form, word by word but for the port.
fn command(text: &str, instruction: &str, port: u16) -> Command {
    let (_, list) = text.split_once(instruction).unwrap();
    let list = list.lines().next().unwrap();
    let words: Vec<String> = serde_json::from_str(list).unwrap();
    let (relay, flags) = words.split_first().unwrap();
    let mut command = Command::new(program(relay.trim_start_matches('/')));
    command.args(
        flags
            .iter()
            .map(|word| word.replace(":2080", &format!(":{port}"))),
    );
    command
}

#[test]
fn the_health_check_asks_the_relay_of_the_image() {
    let text = fs::read_to_string(deploy("docker/Dockerfile")).unwrap();
    // What the user adds: a door that something else guards, or another one, by IPv4 alone.
    for added in ["--insecure", "--listen=127.0.0.1:2080"] {
        let folder = tempfile::tempdir().unwrap();
        let port = port::free().unwrap().port();
        let mut health_check = command(&text, "    CMD ", port);
        assert_eq!(run(&mut health_check).0, Some(1), "nobody is there yet");
        let mut relay = command(&text, "\nENTRYPOINT ", port);
        relay
            .arg(added.replace(":2080", &format!(":{port}")))
            .arg("--spool")
            .arg(folder.path().join("spool"));
        let mut relay = Process::spawn("relay", relay, &folder.path().join("log")).unwrap();
        relay.wait_line("the relay takes lines", SOON).unwrap();
        assert_eq!(
            run(&mut health_check),
            (Some(0), String::new()),
            "with {added}"
        );
    }
}
