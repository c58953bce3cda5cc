//! `catchpoint-graphite`: runs the component of this repository without Spin.
//!
//! # Layout
//! - `cli`: commands and flags; `log`: how log lines look; `terminal`: what a person sees
//! - `api`: all that is asked of the component, over its HTTP API
//! - `up`: the schedule, until stopped; `server`: HTTP; `metrics`
//! - `run`, `check` (and `tests`), `backfill`: the other commands; `report`: a run report for people
//! - `signals`: how all of them stop

mod api;
mod backfill;
mod check;
mod cli;
mod log;
mod metrics;
mod report;
mod run;
mod server;
mod signals;
mod terminal;
mod up;

use catchpoint_graphite_host::error::Error;
use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;
use terminal::{USAGE, say};

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
    log::init(&cli);
    run(&cli).unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        // What the user has to correct is 64, what went wrong by itself is 1.
        let is_usage = matches!(error.downcast_ref(), Some(Error::Usage(_)));
        ExitCode::from(if is_usage { USAGE } else { 1 })
    })
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match &cli.command {
            Command::Up(up) => up::up(cli.app()?, up, &cli.common).await,
            Command::Run { json, dry_run } => {
                run::run(cli.app()?, &cli.common, *json, *dry_run).await
            }
            Command::Backfill(flags) => backfill::backfill(cli.app()?, flags, &cli.common).await,
            Command::Check { online, json } => check::check(&cli.app()?, *online, *json).await,
            Command::Tests { json } => check::tests(&cli.app()?, *json).await,
            Command::Generate { folder } => {
                cli::generate(folder)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}
