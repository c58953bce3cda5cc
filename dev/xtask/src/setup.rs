//! What this machine must have before anything else works. All of it is done once; when all is
//! there, it takes a fraction of a second.

mod tools;

use std::{env, path::Path, process::Command};

use anyhow::{Result, bail};
use catchpoint_testbed::{Venv, python::Python, target_dir, workspace};

use crate::{
    command::{WASM, quiet},
    progress::{Step, step},
};

/// Where Debian and Ubuntu have it.
const APT_GET: &str = "/usr/bin/apt-get";

/// Gets all that is missing: the wasm target, Graphite, the programs that tests call.
pub fn run() -> Result<()> {
    for_running()?;
    tools::run(&Python::find()?)
}

/// Gets what the demo needs: the wasm target, system packages, a Python with Graphite.
pub fn for_running() -> Result<Venv> {
    wasm_target()?;
    graphite()
}

/// Adds the wasm target to the pinned toolchain.
pub fn wasm_target() -> Result<()> {
    let sysroot = quiet(rustc().args(["--print", "sysroot"]))?;
    let installed = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(WASM)
        .join("lib");
    if installed.exists() {
        return Ok(());
    }
    step("adding the Rust target for WebAssembly", |_| {
        let mut rustup = Command::new("rustup");
        rustup
            .args(["target", "add", WASM])
            .current_dir(workspace());
        match quiet(&mut rustup) {
            Ok(_) => Ok(()),
            Err(error) => bail!(
                "the Rust target {WASM} is missing and could not be added; \
                 install it for the toolchain of rust-toolchain.toml: {error:#}"
            ),
        }
    })
}

/// Makes the Python environment with carbon and graphite-web, and installs the system packages it
/// needs if that is possible.
pub fn graphite() -> Result<Venv> {
    step("Python environment with Graphite", |step| {
        let say = |what: &str| step.say(what);
        let python = match Python::find() {
            Ok(python) => python,
            Err(_) if can_install() => {
                install(&["python3".to_owned(), "python3-venv".to_owned()], step)?;
                Python::find()?
            }
            Err(error) => return Err(error.into()),
        };
        if !python.missing.is_empty() && can_install() {
            install(&python.missing, step)?;
        } else {
            python.require_packages()?;
        }
        Ok(Venv::ensure(&target_dir(), &say)?)
    })
}

/// Gets a C++ compiler, which libFuzzer is built with.
pub fn cpp() -> Result<()> {
    if quiet(Command::new("c++").arg("--version")).is_ok() {
        return Ok(());
    }
    if !can_install() {
        bail!(
            "a C++ compiler, `c++`, is missing: install one (`apt-get install g++`), and try again"
        );
    }
    step("a C++ compiler for libFuzzer", |step| {
        install(&["g++".to_owned()], step)
    })
}

/// Whether system packages can be installed without asking anybody: Debian's way, and as root.
fn can_install() -> bool {
    let root = quiet(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    root && has_apt_get()
}

fn has_apt_get() -> bool {
    Path::new(APT_GET).exists()
}

fn install(packages: &[String], step: &Step) -> Result<()> {
    step.say(&format!("apt-get install {}", packages.join(" ")));
    if quiet(apt_get("install").args(packages)).is_ok() {
        return Ok(());
    }
    // The lists of packages are old, or not there at all.
    step.say("apt-get update");
    quiet(&mut apt_get("update"))?;
    step.say(&format!("apt-get install {}", packages.join(" ")));
    quiet(apt_get("install").args(packages)).map(drop)
}

fn apt_get(what: &str) -> Command {
    let mut command = Command::new(APT_GET);
    command
        .args([what, "--yes", "--quiet"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    if what == "install" {
        command.arg("--no-install-recommends");
    }
    command
}

/// The compiler of the pinned toolchain: `cargo xtask` sets `RUSTC` only when it is not the usual
/// one, and rustup picks the pinned one by the folder.
pub fn rustc() -> Command {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(workspace());
    command
}
