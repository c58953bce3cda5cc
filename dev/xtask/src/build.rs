//! What is built, and where it ends up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use catchpoint_testbed::{Venv, python::remove_folder, target_dir, workspace};

use crate::{
    run::{Step, Steps, cargo, quiet, shown},
    setup::{self, WASM},
};

/// The Spin component's file.
pub const COMPONENT: &str = "catchpoint_graphite.wasm";
/// The `wasi:cli` command's file.
pub const COMMAND: &str = "catchpoint-graphite-command.wasm";
/// The native programs that a user runs.
pub const PROGRAMS: [&str; 2] = ["catchpoint-graphite", "catchpoint-graphite-relay"];

/// Builds what a user runs, and prints where it is and how big.
pub fn release() -> Result<()> {
    let steps = Steps::new();
    setup::wasm_target(&steps)?;
    steps.step("building the component", component)?;
    steps.step("building the command for WASI hosts", wasi_command)?;
    steps.step("building the relay and the host", |step| {
        step.compile(packages(&mut cargo("build --release --locked --bins")))
    })?;
    pages(&target_dir().join("release"))?;
    let wasm = [COMPONENT, COMMAND].map(|name| wasm_dir().join(name));
    let programs = PROGRAMS.map(|name| target_dir().join("release").join(name));
    list(wasm.into_iter().chain(programs))
}

/// Prints files with their sizes.
pub fn list(files: impl IntoIterator<Item = PathBuf>) -> Result<()> {
    println!();
    for file in files {
        let file = short(&file);
        let size = workspace().join(file).metadata();
        let size = size.with_context(|| format!("{} was not built", file.display()))?;
        println!("{:>6} KiB  {}", size.len().div_ceil(1024), file.display());
    }
    Ok(())
}

/// Builds what the demo runs, all at once: the component as it is released, the native programs as
/// tests run them, and Graphite's Python environment.
pub fn for_demo(steps: &Steps) -> Result<Venv> {
    setup::wasm_target(steps)?;
    setup::python(steps)?;
    thread::scope(|scope| {
        let venv = scope.spawn(|| {
            steps.step("Graphite's Python environment", |step| {
                Venv::graphite(&|what| step.say(what))
            })
        });
        let wasm = scope.spawn(|| steps.step("building the component", component));
        let native = steps.step("building relay, host and sandbox", |step| {
            let mut build = cargo("build --locked --bins");
            step.compile(packages(&mut build).args(["--package", "catchpoint-sandbox"]))
        });
        let lost = |_| anyhow!("a thread has died");
        wasm.join().map_err(lost)??;
        let venv = venv.join().map_err(lost)??;
        native.map(|()| venv)
    })
}

/// The folder with manual pages and shell completions.
pub fn pages_dir() -> PathBuf {
    target_dir().join("pages")
}

/// Has the programs of a folder write their manual pages and shell completions.
pub fn pages(programs: &Path) -> Result<()> {
    let folder = pages_dir();
    remove_folder(&folder)?;
    fs::create_dir_all(&folder)?;
    for (program, generate) in PROGRAMS.iter().zip(["generate", "--generate"]) {
        let mut program = Command::new(programs.join(program));
        quiet(program.arg(generate).arg(&folder))?;
    }
    Ok(())
}

/// Names the packages of what a user runs.
pub fn packages(cargo: &mut Command) -> &mut Command {
    let packages = ["catchpoint-graphite-host", "catchpoint-graphite-relay"];
    cargo.args(packages.map(|package| format!("--package={package}")))
}

/// Builds the Spin component, and puts a copy where `spin.toml` looks for it, whatever
/// `CARGO_TARGET_DIR` says.
pub fn component(step: &Step) -> Result<()> {
    step.compile(&mut wasm_build("--lib"))?;
    let wanted = workspace().join("target").join(WASM).join("release");
    copy(&wasm_dir().join(COMPONENT), &wanted.join(COMPONENT))
}

/// Builds the command for plain WASI hosts beside the component. It has a target directory of its
/// own: on wasm, the component and the command are two builds of one library with other features,
/// and both write the same files.
pub fn wasi_command(step: &Step) -> Result<()> {
    let folder = target_dir().join("command");
    let mut build = wasm_build("--bin catchpoint-graphite-command --no-default-features");
    step.compile(
        build
            .args(["--features", "command", "--target-dir"])
            .arg(&folder),
    )?;
    let built = folder.join(WASM).join("release").join(COMMAND);
    copy(&built, &wasm_dir().join(COMMAND))
}

/// A build for small wasm; cargo has no profile for a target.
fn wasm_build(what: &str) -> Command {
    cargo(&format!(
        "build --config .cargo/wasm.toml --release --locked --target {WASM} \
         --package catchpoint-graphite {what}"
    ))
}

/// Where cargo leaves the component.
pub fn wasm_dir() -> PathBuf {
    target_dir().join(WASM).join("release")
}

/// Builds what is measured, as it is released, and measures it.
pub fn bench(arguments: &[String]) -> Result<()> {
    let steps = Steps::new();
    setup::wasm_target(&steps)?;
    setup::unpack(&steps, "carbon-c-relay", "carbon-c-relay")?;
    steps.step("building the component", component)?;
    steps.step("building relay and benchmarks", |step| {
        let mut build = cargo("build --release --locked --bins");
        step.compile(packages(&mut build).args(["--package", "catchpoint-bench"]))
    })?;
    shown(Command::new(target_dir().join("release/catchpoint-bench")).args(arguments))
}

/// Copies a file, unless it is the same one, and makes its folder.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if from == to {
        return Ok(());
    }
    to.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::copy(from, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// A path as short as it can be said in the workspace.
pub fn short(file: &Path) -> &Path {
    file.strip_prefix(workspace()).unwrap_or(file)
}
