//! The benchmarks. They link the host and the sandbox, so they are a program of their own.

use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    artefacts, build,
    command::{self, cargo},
    setup,
};

/// One of the benchmarks.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Only {
    /// Answers to lines, against a tree of values and against Python
    Mapping,
    /// Lines through the relay, against socat and carbon-c-relay
    Relay,
    /// An answer of more than 200 MB through the component: memory and speed
    Component,
}

/// Builds what is measured, as it is released, and measures it.
pub fn run(only: Option<Only>) -> Result<()> {
    setup::run()?;
    build::component()?;
    command::run(
        cargo(["build", "--release", "--locked", "--bins"])
            .args(["--package", "catchpoint-graphite-relay"])
            .args(["--package", "catchpoint-bench"]),
    )?;
    let mut bench = Command::new(artefacts::released("catchpoint-bench"));
    bench.args(only.and_then(|only| Some(only.to_possible_value()?.get_name().to_owned())));
    command::run(&mut bench)
}
