//! `deploy/systemd`, read by systemd itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use catchpoint_testbed::workspace;
use tempfile::TempDir;

use crate::tools::{deploy, run, system_tool};

const SERVICES: [&str; 3] = [
    "catchpoint-graphite-relay.service",
    "catchpoint-graphite.service",
    "catchpoint-graphite-wasi.service",
];

/// The programs that the units start. `systemd-analyze` looks whether they are there.
const PROGRAMS: [&str; 3] = [
    "usr/bin/catchpoint-graphite-relay",
    "usr/bin/catchpoint-graphite",
    "usr/bin/wasmtime",
];

/// The file system of a machine where our units are installed, as far as systemd looks at it.
pub struct Machine {
    root: TempDir,
}

impl Machine {
    /// With a unit changed on the way, and with or without its drop-ins.
    fn new(change: impl Fn(String) -> String, drop_ins: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let units = root.path().join("etc/systemd/system");
        copy(&deploy("systemd"), &units, drop_ins, &change);
        for program in PROGRAMS {
            fake_program(&root.path().join(program));
        }
        Self::at(root)
    }

    /// With units and programs that are there already.
    pub fn at(root: TempDir) -> Self {
        // Targets that our units want, and those that every unit does.
        let own = root.path().join("lib/systemd/system");
        fs::create_dir_all(&own).unwrap();
        for entry in fs::read_dir("/lib/systemd/system").unwrap().flatten() {
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "target")
            {
                fs::copy(&path, own.join(entry.file_name())).unwrap();
            }
        }
        fake_program(&root.path().join("bin/kill"));
        Self { root }
    }

    /// Its root folder.
    pub fn root(&self) -> &Path {
        self.root.path()
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

    /// What systemd has to say against a unit.
    pub fn complaints(&self, unit: &str) -> String {
        let (code, text) = self.analyze(&["verify", "--man=no", unit]);
        // A key that it does not know is no reason for it to fail.
        if text.is_empty() && code != Some(0) {
            return format!("exit code {code:?}");
        }
        text
    }
}

fn fake_program(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn copy(from: &Path, to: &Path, folders: bool, change: &impl Fn(String) -> String) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_file() {
            fs::write(to, change(fs::read_to_string(entry.path()).unwrap())).unwrap();
        } else if folders {
            copy(&entry.path(), &to, folders, change);
        }
    }
}

#[test]
fn every_unit_is_sound() {
    for drop_ins in [false, true] {
        let machine = Machine::new(|text| text, drop_ins);
        for unit in SERVICES.iter().chain(&["catchpoint-graphite-wasi.timer"]) {
            assert_eq!(machine.complaints(unit), "", "{unit}, drop-ins: {drop_ins}");
        }
    }
}

#[test]
fn an_unsound_unit_is_found() {
    for (from, to, complaint) in [
        ("ProtectHome=", "ProtectHoome=", "Unknown key"),
        (
            "/usr/bin/catchpoint",
            "/usr/bin/katchpoint",
            "is not executable",
        ),
        ("@system-service", "@sistem-service", "Unknown system call"),
    ] {
        let machine = Machine::new(|text| text.replace(from, to), true);
        let complaints = machine.complaints(SERVICES[0]);
        assert!(complaints.contains(complaint), "{from}: {complaints}");
    }
}

#[test]
fn the_component_listens_where_the_page_looks_and_grafana_does_not() {
    let unit = fs::read_to_string(deploy("systemd").join(SERVICES[1])).unwrap();
    let (_, port) = unit.split_once(" --listen 127.0.0.1:").unwrap();
    let (port, _) = port.split_once('\n').unwrap();
    assert_ne!(port, "3000");
    let page = fs::read_to_string(workspace().join("docs/operations.md")).unwrap();
    assert!(page.contains(&format!("the unit has port {port})")));
}

/// The exposure by systemd's own measure, in tenths, from 0 to 100: what may reach the network
/// cannot come much below 10.
const MOST_EXPOSED: u32 = 12;

fn is_hardened(machine: &Machine, unit: &str) -> bool {
    let threshold = format!("--threshold={MOST_EXPOSED}");
    let (code, text) = machine.analyze(&["security", "--offline=true", &threshold, unit]);
    assert!(text.contains("Overall exposure level"), "{unit}: {text}");
    code == Some(0)
}

#[test]
fn every_service_is_hardened() {
    let machine = Machine::new(|text| text, true);
    let lax = Machine::new(|text| text.replace("CapabilityBoundingSet=\n", ""), true);
    for unit in SERVICES {
        assert!(is_hardened(&machine, unit), "{unit}");
        assert!(
            !is_hardened(&lax, unit),
            "{unit} without its capabilities taken"
        );
    }
}
