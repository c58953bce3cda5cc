//! Every chore of the repository, as `cargo xtask <chore>`.
//!
//! # Layout
//! - [`setup`]: the wasm target, system packages and the Python environments that the rest needs
//! - [`build`]: the component, the command and the native programs
//! - [`demo`]: Catchpoint's results on their way into a real Graphite, with a table and [`plots`]
//! - [`check`]: `lint`, `test`, `faults`, `fuzz` and `deny`
//! - [`dist`]: the release artefacts
//! - [`run`]: running programs, quietly or with a bar

mod build;
mod check;
mod demo;
mod dist;
mod plots;
mod run;
mod setup;

use std::process::ExitCode;

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
    /// Get what this machine lacks: the wasm target, system packages, a Python with Graphite, tools
    Setup,
    /// Build what a user runs: component, command, relay, host
    Build,
    /// See Catchpoint results arrive in a real Graphite, every datapoint compared
    Demo(demo::Flags),
    /// Set up, lint, build, and run all tests
    Test {
        /// Only the tests whose name contains this; leaves the lints out
        filter: Option<String>,
    },
    /// Formatting, clippy for the machine, for wasm and for the fuzz targets, documentation
    Lint,
    /// Run the table of the relay's faults alone
    Faults,
    /// Side-by-side benchmarks, about a quarter of an hour; the report goes to target/bench too
    Bench {
        /// What the benchmark program takes: the name of one, --baseline DIR, or --help
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Throw random inputs at the relay with cargo-fuzz; fails on any find
    Fuzz {
        /// How long each target runs
        #[arg(long, value_name = "COUNT", default_value_t = 60)]
        seconds: u32,
        /// Only this one
        only: Option<String>,
    },
    /// Check licences, advisories and duplicates in Cargo.lock, by deny.toml
    Deny,
    /// Make the release artefacts from a clean tree: wasm, static programs, Debian package, checksums
    Dist,
}

fn main() -> ExitCode {
    // clap exits with 2 on a wrong flag; 64 is what all our programs use.
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let code = if error.use_stderr() { 64 } else { 0 };
        // Fails when the terminal is gone, and then nobody can be told.
        let _ = error.print();
        std::process::exit(code)
    });
    let done = match cli.chore {
        Chore::Setup => setup::all(),
        Chore::Build => build::release(),
        Chore::Demo(flags) => demo::run(&flags),
        Chore::Test { filter } => check::test(filter.as_deref()),
        Chore::Lint => check::lint(),
        Chore::Faults => check::faults(),
        Chore::Bench { arguments } => build::bench(&arguments),
        Chore::Fuzz { seconds, only } => check::fuzz(seconds, only.as_deref()),
        Chore::Deny => check::deny(),
        Chore::Dist => dist::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
