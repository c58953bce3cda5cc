//! The benchmarks. They link the host and the sandbox, so they are a program of their own.

use anyhow::Result;

use crate::{
    build,
    command::{self, cargo},
    setup,
};

/// Builds what is measured, as it is released, and measures it.
pub fn run() -> Result<()> {
    setup::run()?;
    build::component()?;
    command::run(
        cargo(["build", "--release", "--locked", "--bins"])
            .args(["--package", "catchpoint-graphite-relay"])
            .args(["--package", "catchpoint-bench"]),
    )?;
    command::run(&mut cargo([
        "run",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "catchpoint-bench",
    ]))
}
