//! The release artefacts: wasm, static programs, Debian package and checksums, from a clean tree.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{python::remove_folder, target_dir, workspace};

use crate::{
    build::{COMMAND, COMPONENT, PROGRAMS, component, copy, short, wasi_command, wasm_dir},
    run::{Steps, cargo, quiet},
    setup,
};

/// Programs for this target need no library of the machine they run on.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// Makes all artefacts in `target/dist`.
pub fn run() -> Result<()> {
    let changes = quiet(git().args(["status", "--porcelain"]))?;
    if !changes.is_empty() {
        bail!("a release is made of what is committed; these files are not:\n{changes}");
    }
    let steps = Steps::new();
    setup::all()?;
    setup::rust_target(&steps, STATIC)?;
    // Compiles the C of ring.
    setup::programs(&steps, &[("/usr/bin/musl-gcc", "musl-tools")])?;
    let folder = target_dir().join("dist");
    remove_folder(&folder)?;
    steps.step("building the component", component)?;
    steps.step("building the command for WASI hosts", wasi_command)?;
    for name in [COMPONENT, COMMAND] {
        copy(&wasm_dir().join(name), &folder.join(name))?;
    }
    steps.step("building static programs", |step| {
        let mut build = cargo([
            "build",
            "--release",
            "--locked",
            "--bins",
            "--target",
            STATIC,
        ]);
        for package in ["catchpoint-graphite-host", "catchpoint-graphite-relay"] {
            build.args(["--package", package]);
        }
        step.compile(&mut build)
    })?;
    for name in PROGRAMS {
        let built = target_dir().join(STATIC).join("release").join(name);
        copy(&built, &folder.join(format!("{name}-{STATIC}")))?;
        // Static programs run on every Debian, too.
        copy(&built, &target_dir().join("release").join(name))?;
    }
    steps.step("making the Debian package", |_| deb(&folder))?;
    let names = names(&folder)?;
    let sums = quiet(Command::new("sha256sum").args(&names).current_dir(&folder))?;
    fs::write(folder.join("SHA256SUMS"), &sums)?;
    println!();
    for name in names {
        let bytes = folder.join(&name).metadata()?.len();
        println!(
            "{:>6} KiB  {}",
            bytes.div_ceil(1024),
            short(&folder.join(name)).display()
        );
    }
    Ok(())
}

/// The package of the programs that are built already, by the command of `deploy/README.md`.
fn deb(folder: &Path) -> Result<()> {
    let mut deb = cargo([
        "deb",
        "--package",
        "catchpoint-graphite-relay",
        "--no-build",
        "--locked",
    ]);
    quiet(setup::with_tools(deb.arg("--output").arg(folder))).map(drop)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(workspace());
    git
}
