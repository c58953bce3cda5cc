//! What is built, and where it ends up.

use std::path::PathBuf;

use catchpoint_testbed::{target_dir, workspace};

use crate::command::WASM;

/// The Spin component's file.
const COMPONENT: &str = "catchpoint_graphite.wasm";
/// The `wasi:cli` command's file.
const COMMAND: &str = "catchpoint-graphite-command.wasm";

/// The Spin component.
pub fn component() -> PathBuf {
    wasm_dir().join(COMPONENT)
}

/// The component where `spin.toml` looks for it, whatever `CARGO_TARGET_DIR` says.
pub fn component_of_manifest() -> PathBuf {
    workspace()
        .join("target")
        .join(WASM)
        .join("release")
        .join(COMPONENT)
}

/// The `wasi:cli` command for plain WASI hosts.
pub fn command() -> PathBuf {
    wasm_dir().join(COMMAND)
}

/// A target directory of its own for the command: on wasm, the component and the command are two
/// builds of one library with other features, and both write the same files.
pub fn command_target_dir() -> PathBuf {
    target_dir().join("command")
}

/// The command as cargo leaves it.
pub fn command_as_built() -> PathBuf {
    command_target_dir()
        .join(WASM)
        .join("release")
        .join(COMMAND)
}

/// The native programs.
pub const PROGRAMS: [&str; 3] = [
    "catchpoint-graphite",
    "catchpoint-graphite-relay",
    "catchpoint-sandbox",
];

/// One of the native programs as it is released.
pub fn released(program: &str) -> PathBuf {
    target_dir().join("release").join(program)
}

/// One of the native programs as tests and the demo run it: built in half the time, and again in
/// seconds.
pub fn program(name: &str) -> PathBuf {
    target_dir().join("debug").join(name)
}

fn wasm_dir() -> PathBuf {
    target_dir().join(WASM).join("release")
}
