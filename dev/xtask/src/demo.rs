//! Catchpoint's results on their way into a real Graphite, counted at both ends.
//!
//! Everything is real but Catchpoint itself, which the sandbox stands in for: the wasm component,
//! the host, the relay, carbon, graphite-web. At the end every datapoint that Graphite shows is
//! compared with what the sandbox's tests have measured.
//!
//! # Layout
//! - this file: the story
//! - [`services`]: starting and stopping the programs
//! - [`truth`]: what was measured, from the sandbox
//! - [`compare`]: what was measured against what Graphite shows
//! - [`table`]: the summary
//! - [`plots`]: pictures, rendered by graphite-web

mod compare;
mod plots;
mod services;
mod table;
mod truth;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use catchpoint_testbed::{environment::remove_folder, target_dir};
use clap::Args;

use crate::{
    build,
    progress::{seconds, step},
    setup,
};

use services::Services;
use truth::Truth;

/// How long the series may take to show in Graphite: its tag index takes some hundred new ones a
/// second on a quiet machine.
const ARRIVAL: Duration = Duration::from_secs(300);

/// How often a demo that is kept looks whether all its programs run.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What can be chosen about the demo.
#[derive(Debug, Args)]
pub struct Flags {
    /// Leave everything running, collecting on the schedule of spin.toml, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Tests of each of the 16 test types
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10))]
    tests_per_type: u32,
    /// Nodes that run each test
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=20))]
    nodes: u32,
}

/// Runs the demo; the exit code says whether every datapoint has arrived.
pub fn run(flags: &Flags) -> Result<ExitCode> {
    let start = Instant::now();
    let venv = setup::for_running()?;
    build::for_running()?;
    eprintln!();

    let folder = fresh_folder()?;
    let mut services = Services::start(&venv, &folder, flags.tests_per_type, flags.nodes)?;
    let run = step("collecting: Catchpoint → component → relay", |_| {
        services.collect()
    })?;
    let truth = step("asking the sandbox what its tests have measured", |_| {
        Truth::ask(&services.sandbox_url(), &run)
    })?;
    let found = step(
        "reading every datapoint back through graphite-web",
        |step| compare::wait(&services, &truth, ARRIVAL, step),
    )?;
    let pictures = step("drawing pictures with graphite-web", |_| {
        plots::draw(&services, &truth, &folder)
    })?;

    println!();
    let summary = table::Summary::of(&truth, &found, &run.report);
    println!("{summary}");
    println!("Pictures, rendered by graphite-web:");
    for picture in &pictures {
        println!("  {}", build::shown(picture).display());
    }
    println!("Logs and data: {}", build::shown(&folder).display());
    println!("Took {}", seconds(start.elapsed()));

    if flags.keep {
        keep_running(&mut services)?;
    }
    services.stop()?;
    Ok(ExitCode::from(u8::from(!summary.is_complete())))
}

/// An empty folder for everything that the demo leaves behind.
fn fresh_folder() -> Result<PathBuf> {
    let folder = target_dir().join("demo");
    remove_folder(&folder)?;
    fs::create_dir_all(folder.join("log"))
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Collects on the schedule until Ctrl-C or SIGTERM; fails when one of the programs ends before.
fn keep_running(services: &mut Services) -> Result<()> {
    let (sender, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Fails when we are stopping already.
        let _ = sender.send(());
    })
    .context("cannot handle Ctrl-C")?;
    let mut host = services.start_schedule()?;
    println!("\nStill running, and collecting on the schedule of spin.toml; Ctrl-C stops all:");
    println!("  graphite-web   {}", services.graphite().web_url());
    println!("  carbon         {}", services.graphite().carbon_addr());
    println!("  relay          {}/metrics", services.relay_url());
    println!("  sandbox        {}/sandbox/calls", services.sandbox_url());
    println!("  schedule       {}", build::shown(host.log()).display());
    while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        host.require_running()?;
        services.require_running()?;
    }
    println!("\nStopping");
    host.stop(services::GRACE)?;
    Ok(())
}
