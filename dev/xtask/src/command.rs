//! Running programs, and cargo above all.

use std::{env, ffi::OsStr, fs::File, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::workspace;

/// The target that the component is built for.
pub const WASM: &str = "wasm32-wasip2";

/// The cargo that runs this program, with arguments, in the root of the workspace.
pub fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments)
        .current_dir(workspace())
        // Messages that tests compare must not depend on the user's language.
        .env("LC_ALL", "C.UTF-8")
        // Set by `cargo xtask` for this program alone; build scripts must not see them change.
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_PKG_NAME");
    command
}

/// Prints a command and runs it; what it prints is shown as it comes.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("\n$ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command to its end and gives what it printed on standard output; standard error goes to
/// a file that is named when it fails. The exit status is for the caller to judge.
pub fn capture(command: &mut Command, log: &Path) -> Result<(Option<i32>, String)> {
    let line = line(command);
    let file = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
    let output = command
        .stderr(file)
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    let printed = String::from_utf8(output.stdout)
        .with_context(|| format!("`{line}` printed something that is not UTF-8"))?;
    Ok((output.status.code(), printed))
}

/// Runs a command silently; its output is shown when it fails.
pub fn quiet(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!(
            "`{line}` failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it: the program by its name, variables that were set before it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let shown = ["RUSTDOCFLAGS", "CARGO_TARGET_DIR"];
    command
        .get_envs()
        .filter_map(|(name, value)| {
            let name = name.to_str().filter(|name| shown.contains(name))?;
            Some(format!("{name}=\"{}\"", value?.to_string_lossy()))
        })
        .chain([program
            .file_name()
            .unwrap_or(command.get_program())
            .to_string_lossy()
            .into_owned()])
        .chain(
            command
                .get_args()
                .map(OsStr::to_string_lossy)
                .map(String::from),
        )
        .collect::<Vec<_>>()
        .join(" ")
}
