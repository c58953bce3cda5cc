//! The files of `deploy/`, read by the programs that they are for, or by their linters. Each check is
//! shown to find something, too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::tools::{deploy, python_tool, read, run, system_tool};

const UNITS: [&str; 4] = [
    "catchpoint-graphite-relay.service",
    "catchpoint-graphite.service",
    "catchpoint-graphite-wasi.service",
    "catchpoint-graphite-wasi.timer",
];

/// The programs that the units start. `systemd-analyze` looks whether they are there.
const PROGRAMS: [&str; 3] = [
    "usr/bin/catchpoint-graphite-relay",
    "usr/bin/catchpoint-graphite",
    "usr/bin/wasmtime",
];

/// The file system of a machine where units are installed, as far as systemd looks at it.
pub struct Machine {
    pub root: TempDir,
}

impl Machine {
    /// With our units, changed on the way, and their drop-ins.
    fn new(change: impl Fn(String) -> String) -> Self {
        let machine = Self::empty();
        let units = machine.root.path().join("etc/systemd/system");
        copy(&deploy("systemd"), &units, &change);
        for program in PROGRAMS {
            fake_program(&machine.root.path().join(program));
        }
        machine
    }

    /// With the targets that every unit wants, and the program that reloads.
    pub fn empty() -> Self {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("lib/systemd/system");
        fs::create_dir_all(&own).unwrap();
        for entry in fs::read_dir("/lib/systemd/system").unwrap().flatten() {
            if entry.path().extension().is_some_and(|it| it == "target") {
                fs::copy(entry.path(), own.join(entry.file_name())).unwrap();
            }
        }
        fake_program(&root.path().join("bin/kill"));
        Self { root }
    }

    fn analyze(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut analyze = Command::new(system_tool("systemd-analyze"));
        analyze
            .args(arguments)
            .arg("--no-pager")
            .arg(format!("--root={}", self.root.path().display()))
            .env("LC_ALL", "C.UTF-8");
        run(&mut analyze)
    }

    /// What systemd has to say against a unit. A key that it does not know is no reason for it to
    /// fail.
    pub fn complaints(&self, unit: &str) -> String {
        self.analyze(&["verify", "--man=no", unit]).1
    }

    /// Whether the exposure by systemd's own measure, from 0 to 100, is low: what may reach the
    /// network cannot come much below 10.
    fn is_hardened(&self, unit: &str) -> bool {
        let (code, text) = self.analyze(&["security", "--offline=true", "--threshold=12", unit]);
        assert!(text.contains("Overall exposure level"), "{unit}: {text}");
        code == Some(0)
    }
}

fn fake_program(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn copy(from: &Path, to: &Path, change: &impl Fn(String) -> String) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_file() {
            fs::write(to, change(fs::read_to_string(entry.path()).unwrap())).unwrap();
        } else {
            copy(&entry.path(), &to, change);
        }
    }
}

#[test]
fn units_are_valid_and_hardened() {
    let machine = Machine::new(|text| text);
    for unit in UNITS {
        assert_eq!(machine.complaints(unit), "", "{unit}");
        assert!(
            unit.ends_with("timer") || machine.is_hardened(unit),
            "{unit}"
        );
    }
    for (from, to, complaint) in [
        ("ProtectHome=", "ProtectHoome=", "Unknown key"),
        (
            "/usr/bin/catchpoint",
            "/usr/bin/katchpoint",
            "is not executable",
        ),
        ("@system-service", "@sistem-service", "Unknown system call"),
    ] {
        let complaints = Machine::new(|text| text.replace(from, to)).complaints(UNITS[0]);
        assert!(complaints.contains(complaint), "{from}: {complaints}");
    }
    let lax = Machine::new(|text| text.replace("CapabilityBoundingSet=\n", ""));
    assert!(!lax.is_hardened(UNITS[0]));
}

/// Documentation that systemd shows is on the machine; Grafana has port 3000; a start with 200,000 batches
/// in the spool takes 22 s.
#[test]
fn units_and_manifests_say_what_they_must() {
    for unit in UNITS {
        let text = read(&format!("deploy/systemd/{unit}"));
        let installed = "\nDocumentation=file:/usr/share/doc/catchpoint-graphite/docs/";
        assert!(text.contains(installed), "{unit}");
    }
    for (file, text) in [
        (
            "deploy/systemd/catchpoint-graphite.service",
            " --listen 127.0.0.1:2081\n",
        ),
        ("docs/operations.md", "| 2081 |"),
        (
            "deploy/systemd/catchpoint-graphite-relay.service",
            "\nTimeoutStartSec=300\n",
        ),
        ("deploy/kubernetes/relay.yaml", "startupProbe:"),
        (
            "deploy/kubernetes/relay.yaml",
            "fsGroupChangePolicy: OnRootMismatch",
        ),
    ] {
        assert!(read(file).contains(text), "{file} has no {text}");
    }
}

/// A file without the objects of operators, which the schemas of Kubernetes do not have.
fn manifest(name: &str) -> String {
    let text = read(&format!("deploy/{name}"));
    let objects = text.split("\n---\n");
    let foreign = ["\nkind: SpinApp\n", "\nkind: ServiceMonitor\n"];
    let known = objects.filter(|object| !foreign.iter().any(|kind| object.contains(kind)));
    known.collect::<Vec<_>>().join("\n---\n")
}

fn validate(text: &str, version: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yaml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(python_tool("kubernetes-validate"));
    command.args(["--strict", "--kubernetes-version", version]);
    run(command.arg(file))
}

/// The operator's own kind was checked once by hand; that it selects the relay's port is checked here.
#[test]
fn the_service_monitor_selects_the_relay() {
    let objects = |file: &str| -> Vec<Value> {
        let text = read(file);
        text.split("\n---\n")
            .map(|it| yaml_serde::from_str(it).unwrap())
            .collect()
    };
    let monitor = &objects("deploy/prometheus/servicemonitor.yaml")[0];
    let relay = objects("deploy/kubernetes/relay.yaml");
    let service = relay.iter().find(|it| it["kind"] == "Service").unwrap();
    assert_eq!(
        monitor["spec"]["selector"]["matchLabels"],
        service["metadata"]["labels"]
    );
    let port = &monitor["spec"]["endpoints"][0]["port"];
    assert_eq!(port, &service["spec"]["ports"][0]["name"]);
}

#[test]
fn kubernetes_manifests_are_valid() {
    for name in [
        "kubernetes/relay.yaml",
        "kubernetes/component.yaml",
        "kubernetes/spinapp.yaml",
        "prometheus/servicemonitor.yaml",
    ] {
        // An older one that clusters still run, and the newest that the validator knows.
        for version in ["1.30", "1.37"] {
            let (code, said) = validate(&manifest(name), version);
            assert_eq!(code, Some(0), "{name}, Kubernetes {version}: {said}");
        }
    }
    for (from, to) in [
        ("readOnlyRootFilesystem:", "readOnlyRootFileSystem:"),
        ("replicas: 1", "replicas: one"),
        ("startupProbe:", "startUpProbe:"),
    ] {
        let text = manifest("kubernetes/relay.yaml");
        assert!(text.contains(from), "{from}");
        assert_ne!(validate(&text.replace(from, to), "1.37").0, Some(0), "{to}");
    }
}

#[test]
fn the_manifest_of_the_package_is_that_of_the_repository_with_its_own_folders() {
    let own = read("spin.toml");
    let (_, own) = own.split_once("spin_manifest_version").unwrap();
    // What Spin builds is built already.
    let (own, _) = own
        .split_once("\n[component.catchpoint-graphite.build]")
        .unwrap();
    let built = "source = \"target/wasm32-wasip2/release/";
    let expected = own
        .replace(built, "source = \"/usr/share/catchpoint-graphite/")
        .replace(
            "{ source = \"config\"",
            "{ source = \"/etc/catchpoint-graphite\"",
        );
    let given = read("deploy/debian/spin.toml");
    let (_, given) = given.split_once("spin_manifest_version").unwrap();
    assert_eq!(given.trim_end(), expected.trim_end());
}

#[test]
fn the_manifest_for_fermyon_is_that_of_the_repository_without_cron() {
    let own = read("spin.toml");
    let (before, cron) = own.split_once("[[trigger.cron]]").unwrap();
    let (_, after) = cron.split_once("[[trigger.http]]").unwrap();
    let (_, before) = before.split_once("spin_manifest_version").unwrap();
    let expected = format!("{before}[[trigger.http]]{after}")
        .replace("source = \"target/", "source = \"../../target/")
        .replace("command = \"", "workdir = \"../..\"\ncommand = \"");
    let given = read("deploy/fermyon/spin.toml");
    let (_, given) = given.split_once("spin_manifest_version").unwrap();
    assert_eq!(given, expected);
}

#[test]
fn a_run_on_fermyon_ends_before_the_platform_ends_it() {
    let page = read("docs/fermyon.md");
    let (_, settings) = page.split_once("```yaml\n").unwrap();
    let seconds = |key: &str| -> u64 {
        let line = settings.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // The last call's connection, first byte and further ones, and the relay's answer.
    let waits = 3 + 1;
    let longest = seconds("run_deadline_seconds:") + waits * seconds("request_timeout_seconds:");
    assert!(longest <= 30, "{longest} s");
}
