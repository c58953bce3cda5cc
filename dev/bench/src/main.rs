//! Side-by-side benchmarks: ours against the plain way, and against another checkout of this
//! repository, in the same run, so that their ratio means something on a noisy machine.
//! `cargo xtask bench` builds all that is needed and runs this.
//!
//! # Layout
//! - [`mapping`]: answers to lines, against a tree of values and against Python
//! - [`relay`]: lines through the relay, against socat and carbon-c-relay
//! - [`backlog`]: the relay with much in its spool
//! - [`component`]: a large answer through component, host and relay: samples a second, memory
//! - [`world`], [`sink`]: what the sandbox answers with, and what takes lines
//! - [`table`]: medians, ratios, the files under `target/bench`

mod backlog;
mod component;
mod mapping;
mod relay;
mod sink;
mod table;
mod world;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use catchpoint_testbed::{target_dir, workspace};
use clap::{Parser, ValueEnum};

/// Side-by-side benchmarks
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    /// Only this one
    only: Option<Only>,
    /// Another checkout of this repository, with target/release built, to compare with
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Answers to lines
    Mapping,
    /// Lines through the relay
    Relay,
    /// The relay with 10 GiB and with 200,000 batches in its spool
    Backlog,
    /// A large answer through component, host and relay
    Component,
}

/// What is measured: ours, or the one of a checkout.
struct Edition {
    /// For the rows.
    name: &'static str,
    root: PathBuf,
    target: PathBuf,
}

impl Edition {
    fn program(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let code = if error.use_stderr() { 64 } else { 0 };
        // Fails when the terminal is gone, and then nobody can be told.
        let _ = error.print();
        std::process::exit(code)
    });
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let mut editions = vec![Edition {
        name: "ours",
        root: workspace().to_owned(),
        target: target_dir(),
    }];
    if let Some(root) = &cli.baseline {
        let root = root.canonicalize()?;
        let target = root.join("target");
        let name = "baseline";
        editions.push(Edition { name, root, target });
    }
    for edition in &editions {
        for program in ["catchpoint-graphite", "catchpoint-graphite-relay"] {
            let file = edition.program(program);
            ensure!(file.exists(), "{} is not built", file.display());
        }
    }
    let wanted = |name| cli.only.is_none_or(|only| only == name);
    println!("Medians of interleaved runs. Other load moves the figures; the ratios hold.");
    if wanted(Only::Mapping) {
        table::finish("mapping", &mapping::run(baseline(&editions))?)?;
    }
    if wanted(Only::Relay) {
        table::finish("relay", &relay::run(&editions)?)?;
    }
    // Not with the others: it takes minutes, and room on the disk.
    if cli.only == Some(Only::Backlog) {
        let rows: Result<Vec<_>> = editions.iter().map(backlog::run).collect();
        table::finish("backlog", &rows?.concat())?;
    }
    if wanted(Only::Component) {
        table::finish("component", &component::run(&editions)?)?;
        let ours = editions.first().context("no edition")?;
        table::finish("largest", &component::largest(ours)?)?;
    }
    Ok(())
}

/// The root of the checkout that is compared with.
fn baseline(editions: &[Edition]) -> Option<&Path> {
    editions.get(1).map(|edition| edition.root.as_path())
}
