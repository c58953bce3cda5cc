//! Side-by-side benchmarks: ours against the plain way, and against another checkout of this
//! repository, in turns, so that their ratio means something on a noisy machine.
//! `cargo xtask bench` builds all that is needed and runs this.
//!
//! # Layout
//! - [`mapping`]: answers to lines, against Python and against the least that JSON costs
//! - [`component`]: answers through component and runner
//! - [`relay`], [`backlog`]: lines through the relay, against socat and carbon-c-relay
//! - [`growth`]: time by amount, each a [`curve`], and their picture
//! - [`catchpoint`], [`sink`]: what answers, and what takes lines
//! - [`python`]: the same in Python; [`measure`]: what a program costs
//! - [`report`]: the files under `target/bench`

mod backlog;
mod catchpoint;
mod component;
mod curve;
mod growth;
mod mapping;
mod measure;
mod python;
mod relay;
mod report;
mod sink;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use catchpoint_testbed::{target_dir, workspace};
use clap::{Parser, ValueEnum};

use crate::{mapping::Work, python::Python, report::Report};

/// How often everything is measured, in turns.
const ROUNDS: usize = 5;

/// Side-by-side benchmarks
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    /// Only this one
    only: Option<Only>,
    /// Another checkout of this repository, with target/release built, to compare with
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
    /// Do this to a file, for who counts instructions
    #[arg(long, hide = true, requires = "file")]
    work: Option<Work>,
    #[arg(long, hide = true)]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Answers to lines
    Mapping,
    /// Answers through component and runner
    Component,
    /// Lines through the relay
    Relay,
    /// Time by samples and by spool files
    Growth,
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
    if let Some((work, file)) = cli.work.zip(cli.file.as_deref()) {
        let text = fs::read_to_string(file)?;
        return work.done(text).map(drop);
    }
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
    let report = Report::default();
    let python = Python::new();
    if let Err(error) = &python {
        report.say(&format!("Nothing is compared with Python: {error:#}"))?;
    }
    let python = python.as_ref().ok();
    let wanted = |name| cli.only.is_none_or(|only| only == name);
    println!("Medians of {ROUNDS} rounds in turns. Other load moves the figures; the ratios hold.");
    if wanted(Only::Mapping) {
        mapping::run(&report, python)?;
    }
    if wanted(Only::Component) {
        component::run(&report, &editions, python)?;
    }
    if wanted(Only::Relay) {
        relay::run(&report, &editions)?;
        backlog::run(&report, editions.first().context("no edition")?)?;
    }
    if wanted(Only::Growth) {
        growth::run(&report, editions.first().context("no edition")?, python)?;
    }
    Ok(())
}
