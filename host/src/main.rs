//! `catchpoint-graphite`: runs the Spin application of this repository without Spin.
//!
//! # Layout
//! - `cli`: commands and flags
//! - `up`: the schedule and the routes, until stopped
//! - `once`: one request to the component: `run` and `check`
//! - `backfill`: one request after the other until a span is filled; `bar`: how far it is
//! - `report`: a run report for people

mod backfill;
mod bar;
mod cli;
mod once;
mod report;
mod up;

use catchpoint_graphite_host::app::StartError;
use catchpoint_graphite_host::component::CompileError;
use catchpoint_graphite_host::manifest::ManifestError;
use clap::Parser;
use cli::{Cli, Command};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Bad usage or configuration, as in `sysexits.h`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too.
            let code = if error.use_stderr() { USAGE } else { 0 };
            // When the terminal is gone there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    log(&cli);
    run(&cli).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        exit_code(&error)
    })
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let app = cli.app()?;
    match &cli.command {
        Command::Up(up) => runtime.block_on(up::up(app, up)),
        Command::Run { json } => runtime.block_on(once::run(&app, *json)),
        Command::Backfill(flags) => runtime.block_on(backfill::backfill(&app, flags)),
        Command::Check => runtime.block_on(once::check(&app)),
    }
}

/// What the user has to mend is 64, what went wrong by itself is 1.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let own_fault = match error.downcast_ref::<StartError>() {
        Some(StartError::Store(_) | StartError::Compile(CompileError::Engine(_))) => true,
        Some(_) => false,
        None => !error.is::<ManifestError>(),
    };
    ExitCode::from(if own_fault { 1 } else { USAGE })
}

fn log(cli: &Cli) {
    let default = if matches!(cli.command, Command::Up(_)) {
        "info"
    } else {
        "warn"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
