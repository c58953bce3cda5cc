//! What the pages tell to do: every command is one that our programs take, every configuration is read
//! by its reader, and every file that is named is there.
//!
//! Not here: the exchanges of `relay-http.md`, which the relay's own tests run, and Graphite queries,
//! which `dashboards` runs.

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::process::Command;

use catchpoint_testbed::pipeline::program;
use catchpoint_testbed::workspace;
use toml::Table;

use crate::docker::lint;
use crate::pages::{blocks, git, inline, pages};
use crate::tools::{Rig, deploy, own_tool, read, run};

/// Paths that our programs and graphite-web answer, for every `curl` in a page.
const PATHS: [&str; 10] = [
    "backfill",
    "check",
    "collect",
    "dashboard/save/catchpoint",
    "healthz",
    "metrics",
    "readyz",
    "status",
    "v1/lines",
    "webhook",
];

/// The commands of a shell script, word by word; a substitution is the word `x`.
fn commands(script: &str) -> Vec<Vec<String>> {
    let mut text = script.replace("\\\n", " ");
    while let Some((before, after)) = text.split_once("$(") {
        let (_, after) = after.split_once(')').unwrap();
        text = format!("{before}x{after}");
    }
    let mut commands = Vec::new();
    let mut here_document = None;
    for line in text.lines() {
        if let Some(end) = &here_document {
            if line == end {
                here_document = None;
            }
            continue;
        }
        let line = line.split(" #").next().unwrap();
        here_document = line
            .split_once("<<")
            .map(|(_, end)| end.trim_matches('\'').to_owned());
        for command in line.split(['|', ';']).flat_map(|part| part.split("&&")) {
            let words = command.split_whitespace();
            let words = words.map(|word| word.trim_matches(['(', ')', '\'', '"']).to_owned());
            // `env` and assignments stand before the program.
            let words = words.skip_while(|word| word == "env" || word == "x" || word.contains('='));
            commands.push(words.collect());
        }
    }
    commands
}

/// Whether the real parser takes a command of ours; `--help` after it keeps it from doing anything.
fn check_command(place: &str, words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (name, mut arguments) = match words.as_slice() {
        // `bench` passes on what comes after it, `--help` too.
        ["cargo", "xtask", "bench", ..] => ("xtask", vec!["help", "bench"]),
        ["cargo", "xtask", rest @ ..] => ("xtask", [rest, &["--help"]].concat()),
        [first, rest @ ..] if ours(first) => (
            first.rsplit('/').next().unwrap(),
            [rest, &["--help"]].concat(),
        ),
        _ => return,
    };
    // A redirection is not the program's.
    arguments.retain(|word| !word.starts_with('>'));
    let (code, said) = run(Command::new(program(name).unwrap()).args(arguments));
    assert_eq!(code, Some(0), "{place}: {said}");
}

/// Whether this is one of our two programs, with or without its folder.
fn ours(word: &str) -> bool {
    matches!(
        word.rsplit('/').next(),
        Some("catchpoint-graphite" | "catchpoint-graphite-relay")
    )
}

/// Whether a file that a command names is in the repository, or one that git ignores, because it is made.
fn check_path(place: &str, word: &str) {
    let word = word.rsplit('=').next().unwrap().trim_start_matches("./");
    let top = word.split('/').next().unwrap();
    if !word.contains('/')
        || !["config", "deploy", "dev", "docs", "target", ".cargo"].contains(&top)
    {
        return;
    }
    let is_there =
        workspace().join(word).exists() || git(&["check-ignore", "-q", word]).0 == Some(0);
    assert!(is_there, "{place}: there is no {word}");
}

fn check_shell(place: &str, script: &str) {
    let (code, said) = run(Command::new("bash").args(["-n", "-c", script]));
    assert_eq!(code, Some(0), "{place}: {said}");
    for words in commands(script) {
        check_command(place, &words);
        words.iter().for_each(|word| check_path(place, word));
    }
    let manifest = read("spin.toml");
    for set in script.split("SPIN_VARIABLE_").skip(1) {
        let name = set.split('=').next().unwrap().to_lowercase();
        assert!(
            manifest.contains(&format!("\n{name} = {{")),
            "{place}: no variable {name}"
        );
    }
    for address in script.split("http://127.0.0.1:").skip(1) {
        let address = address.split_whitespace().next().unwrap();
        let (_, path) = address.split_once('/').unwrap_or_default();
        let path = path
            .split(|c: char| !c.is_alphanumeric() && c != '/')
            .next()
            .unwrap();
        assert!(
            path.is_empty() || PATHS.contains(&path),
            "{place}: no path /{path}"
        );
    }
}

/// A part of `config_catchpoint.yaml`, by `check`, or one of Prometheus' configuration, by promtool.
fn check_yaml(place: &str, text: &str, rig: &Rig) {
    if text.contains("scrape_configs:") {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, text).unwrap();
        fs::copy(
            deploy("prometheus/alerts.yaml"),
            folder.path().join("alerts.yaml"),
        )
        .unwrap();
        let mut promtool = Command::new(own_tool("usr/bin/promtool"));
        let (code, said) = run(promtool.args(["check", "config"]).arg(&file));
        return assert_eq!(code, Some(0), "{place}: {said}");
    }
    let file = rig.config().join("config_catchpoint.yaml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}\n{text}")).unwrap();
    let (code, said) = run(&mut rig.host(&["check"], "spin.toml").unwrap());
    fs::write(&file, before).unwrap();
    assert_eq!(code, Some(0), "{place}: {said}");
}

/// Values of the manifest's variables, or something of Spin's own, which is only parsed.
fn check_toml(place: &str, text: &str) {
    let table: Table = text
        .parse()
        .unwrap_or_else(|error| panic!("{place}: {error}"));
    let manifest: Table = read("spin.toml").parse().unwrap();
    for (name, _) in table.iter().filter(|(_, value)| value.is_str()) {
        assert!(
            manifest["variables"].get(name).is_some(),
            "{place}: {name} is no variable"
        );
    }
}

#[test]
fn every_command_and_configuration_of_the_pages_is_valid() {
    let rig = Rig::start();
    let mut counts = BTreeMap::<String, usize>::new();
    for (name, page) in pages() {
        for (language, text) in blocks(&page) {
            let place = format!("{name}:\n{text}");
            match language.as_str() {
                "sh" => check_shell(&place, &text),
                "yaml" => check_yaml(&place, &text, &rig),
                "toml" => check_toml(&place, &text),
                "dockerfile" => assert_eq!(lint(&text).0, Some(0), "{place}"),
                // Five fields of time before the command.
                "cron" => check_shell(&place, text.splitn(6, ' ').nth(5).unwrap()),
                "graphite" | "text" | "" => {}
                other if other.starts_with("http ") && name == "docs/relay-http.md" => {}
                other => panic!("{place}: nothing checks `{other}`"),
            }
            *counts.entry(language).or_default() += 1;
        }
        for span in inline(&page).iter().filter(|span| span.contains(' ')) {
            for words in commands(span) {
                // `catchpoint-graphite` is also what people call the project.
                if words.get(1).is_some_and(|word| {
                    word.starts_with(|c: char| c.is_ascii_lowercase() || c == '-')
                }) {
                    check_command(&format!("{name}: {span}"), &words);
                }
            }
        }
    }
    assert!(
        counts["sh"] > 15 && counts["yaml"] > 1 && counts["toml"] > 1,
        "{counts:?}"
    );
}

#[test]
fn the_page_of_the_configuration_has_every_flag_and_variable() {
    let page = read("docs/configuration.md");
    for command in ["up", "run", "check", "backfill", "tests", ""] {
        let name = match command {
            "" => "catchpoint-graphite-relay",
            _ => "catchpoint-graphite",
        };
        let words = command.split_whitespace().chain(["--help"]);
        let (_, help) = run(Command::new(program(name).unwrap()).args(words));
        let flags = help.split(|c: char| !c.is_ascii_lowercase() && c != '-');
        for flag in flags.filter(|word| word.starts_with("--")) {
            let is_common = matches!(flag, "--help" | "--version");
            assert!(is_common || page.contains(flag), "{name} {command}: {flag}");
        }
    }
    let manifest: Table = read("spin.toml").parse().unwrap();
    for (variable, _) in manifest["variables"].as_table().unwrap() {
        assert!(page.contains(&format!("`{variable}`")), "{variable}");
    }
}

#[test]
fn a_mistake_in_a_page_is_found() {
    for script in [
        "catchpoint-graphite run --dry",
        "target/release/catchpoint-graphite-relay --listens 127.0.0.1:2080",
        "cargo xtask demos",
        "kubectl apply --filename deploy/kubernetes/relays.yaml",
        "export SPIN_VARIABLE_RELAY=x",
        "curl http://127.0.0.1:2080/v1/line",
        "for it in 1; do",
    ] {
        assert!(
            catch_unwind(|| check_shell("", script)).is_err(),
            "{script}"
        );
    }
    assert!(catch_unwind(|| check_toml("", "relay_uri = 'x'")).is_err());
}
