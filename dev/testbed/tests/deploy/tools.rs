//! The programs that the tests call.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use catchpoint_testbed::{target_dir, workspace};

/// A folder or file of `deploy/`.
pub fn deploy(path: &str) -> PathBuf {
    workspace().join("deploy").join(path)
}

/// One of our programs, of the same profile as this test.
pub fn program(name: &str) -> PathBuf {
    // target/<profile>/deps/<this test>
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    existing(profile.join(name), "cargo build --workspace --bins")
}

/// One of the two wasm files.
pub fn wasm(name: &str) -> PathBuf {
    let folder = target_dir().join("wasm32-wasip2/release");
    existing(folder.join(name), "cargo xtask build")
}

/// A program that `cargo xtask setup` gets from PyPI.
pub fn python_tool(name: &str) -> PathBuf {
    let folder = target_dir().join("tools-venv/bin");
    existing(folder.join(name), "cargo xtask setup")
}

/// A program that `cargo xtask setup` compiles, or unpacks from a Debian package: the same one on
/// every machine.
pub fn own_tool(path: &str) -> PathBuf {
    existing(target_dir().join("tools").join(path), "cargo xtask setup")
}

/// A program that `cargo xtask setup` installs with the system's packages.
pub fn system_tool(name: &str) -> PathBuf {
    existing(Path::new("/usr/bin").join(name), "cargo xtask setup")
}

fn existing(path: PathBuf, mend: &str) -> PathBuf {
    assert!(path.exists(), "no {}; run `{mend}`", path.display());
    path
}

/// Runs a command to its end; its exit code and all that it printed.
pub fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    (status.code(), text.into_owned())
}
