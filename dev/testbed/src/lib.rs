//! What tests and the demo stand on: a real Graphite, stand-ins for carbon, and child processes
//! that never outlive the program that started them.
//!
//! All of it is blocking code on the standard library: a test reads top to bottom, and an async
//! test wraps a call in `spawn_blocking`.
//!
//! # Layout
//! - [`graphite`]: carbon-cache and graphite-web under one folder, and reading data back from them
//! - [`python`]: the Python environment they run in, made once per target directory
//! - [`pipeline`]: the sandbox, the relay, and our host with the component
//! - [`truth`]: what was measured against what arrived
//! - [`demo`]: all of it together, from Catchpoint to Graphite
//! - [`carbon`]: a recording stand-in for carbon that misbehaves on demand
//! - [`process`]: a child process with a captured log, in a process group of its own
//! - [`local`]: HTTP to servers on this machine
//! - [`port`]: free loopback ports
//! - [`wait`]: polling with a deadline

pub mod carbon;
pub mod demo;
pub mod graphite;
pub mod local;
pub mod pipeline;
pub mod port;
pub mod process;
pub mod python;
pub mod truth;
pub mod wait;

use std::{
    env,
    path::{Path, PathBuf},
};

/// Nobody tells errors apart here: each says what went wrong, and a log's end where that helps.
pub use anyhow::Error;
pub use carbon::{Conduct, StandIn};
pub use graphite::{Graphite, Options};
pub use pipeline::Pipeline;
pub use process::{Process, Signal};
pub use python::Venv;

/// The root of the workspace this crate was built in.
#[must_use]
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, else `target` in the workspace.
#[must_use]
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => workspace().join(dir),
        _ => workspace().join("target"),
    }
}
