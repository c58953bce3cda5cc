//! The release artefacts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use catchpoint_testbed::workspace;

use crate::{
    artefacts, command,
    command::{WASM, cargo},
    setup,
};

/// Builds all artefacts and prints where they are and how big.
pub fn run() -> Result<()> {
    setup::wasm_target()?;
    component()?;
    wasi_command()?;
    command::run(
        cargo(["build", "--release", "--locked", "--bins"])
            .args(["--package", "catchpoint-graphite-host"])
            .args(["--package", "catchpoint-graphite-relay"])
            .args(["--package", "catchpoint-sandbox"]),
    )?;
    println!();
    let programs = artefacts::PROGRAMS.map(artefacts::released);
    for file in [artefacts::component(), artefacts::command()]
        .iter()
        .chain(&programs)
    {
        println!("{:>9}  {}", size(file)?, shown(file).display());
    }
    Ok(())
}

/// Builds what tests and the demo run: the component as it is released, and the native programs
/// for development.
pub fn for_running() -> Result<()> {
    component()?;
    command::run(&mut cargo(["build", "--workspace", "--bins", "--locked"]))
}

/// Builds the Spin component, and puts a copy where `spin.toml` looks for it.
pub fn component() -> Result<()> {
    command::run(wasm_build().arg("--lib").args([
        "--package",
        "catchpoint-graphite",
        "--target",
        WASM,
    ]))?;
    copy(&artefacts::component(), &artefacts::component_of_manifest())
}

/// Builds the command for plain WASI hosts beside the component.
pub fn wasi_command() -> Result<()> {
    command::run(
        wasm_build()
            .args(["--package", "catchpoint-graphite"])
            .args(["--bin", "catchpoint-graphite-command"])
            .args(["--no-default-features", "--features", "command"])
            .args(["--target", WASM, "--target-dir"])
            .arg(artefacts::command_target_dir()),
    )?;
    copy(&artefacts::command_as_built(), &artefacts::command())
}

/// A build for small wasm; cargo has no profile for a target.
fn wasm_build() -> Command {
    cargo([
        "build",
        "--config",
        ".cargo/wasm.toml",
        "--release",
        "--locked",
    ])
}

/// Copies a file unless source and destination are the same.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from == to {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn size(file: &Path) -> Result<String> {
    let bytes = file
        .metadata()
        .with_context(|| format!("{} was not built", file.display()))?
        .len();
    Ok(format!("{} KiB", bytes.div_ceil(1024)))
}

/// A path as short as it can be said in the workspace.
pub fn shown(file: &Path) -> PathBuf {
    file.strip_prefix(workspace()).unwrap_or(file).to_owned()
}
