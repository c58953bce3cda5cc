//! Every chore of the repository, as `cargo xtask <chore>`.
//!
//! # Layout
//! - [`setup`]: the wasm target, system packages and the Python environment that the rest needs
//! - [`build`]: the release artefacts
//! - [`mod@bench`]: side-by-side benchmarks
//! - [`check`]: `lint` and `test`
//! - [`fuzz`]: the relay's fuzz targets
//! - [`demo`]: Catchpoint's results on their way into a real Graphite, counted at both ends
//! - [`artefacts`]: what is built, and where it ends up
//! - [`command`]: running programs, and cargo above all
//! - [`progress`]: saying what happens and how long it took

mod artefacts;
mod bench;
mod build;
mod check;
mod command;
mod demo;
mod fuzz;
mod progress;
mod setup;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Every chore of this repository
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Get what this machine lacks: the wasm target, system packages, a Python with Graphite
    Setup,
    /// Build the release artefacts: component, command, relay, host, sandbox
    Build,
    /// See Catchpoint results arrive in a real Graphite, every datapoint compared
    Demo(demo::Flags),
    /// Set up, lint, build, and run all tests
    Test {
        /// Only the tests whose name contains this; leaves the lints out
        filter: Option<String>,
    },
    /// Side-by-side benchmarks, about two minutes; the figures go to target/bench too
    Bench {
        /// Only this one
        only: Option<bench::Only>,
    },
    /// Throw random inputs at the relay's body decoder, line checks and spool; fails on any find
    Fuzz(fuzz::Flags),
    /// Formatting, clippy for the machine, for wasm and for the fuzz targets, documentation
    Lint,
}

fn main() -> ExitCode {
    // clap exits with 2 on a wrong flag; 64 is what all our programs use.
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let code = if error.use_stderr() { 64 } else { 0 };
        // Fails when the terminal is gone, and then nobody can be told.
        let _ = error.print();
        std::process::exit(code)
    });
    match run(cli.chore) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<ExitCode> {
    match chore {
        Chore::Setup => setup::run().map(|_| ExitCode::SUCCESS),
        Chore::Build => build::run().map(|()| ExitCode::SUCCESS),
        Chore::Demo(flags) => demo::run(&flags),
        Chore::Test { filter } => check::test(filter.as_deref()),
        Chore::Bench { only } => bench::run(only).map(|()| ExitCode::SUCCESS),
        Chore::Fuzz(flags) => fuzz::run(&flags).map(|()| ExitCode::SUCCESS),
        Chore::Lint => check::lint(),
    }
}
