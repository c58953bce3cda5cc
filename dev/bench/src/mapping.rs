//! Answers to lines on one thread: the component's core against Python's way and against the least
//! that reading JSON costs.

use std::{env, fs, hint::black_box, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use catchpoint_graphite::catchpoint::Page;
use catchpoint_graphite::config::catchpoint::ApiVersion;
use catchpoint_graphite::config::graphite::GraphiteSettings;
use clap::ValueEnum;
use serde::de::IgnoredAny;

use crate::{
    ROUNDS,
    catchpoint::{Catchpoint, sandbox},
    measure,
    python::Python,
    report::{Report, Row, Unit},
};

/// So many bytes of lines are one batch.
const BATCH: usize = 1 << 20;

/// What is done to an answer.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Work {
    /// Lines are made of it.
    Lines,
    /// It is read as JSON, and nothing kept.
    Json,
    /// Nothing.
    Nothing,
}

impl Work {
    /// Does it; returns the samples, if it finds them.
    pub fn done(self, text: String) -> Result<u64> {
        match self {
            Self::Nothing => {}
            Self::Json => drop(black_box(serde_json::from_str::<IgnoredAny>(&text)?)),
            Self::Lines => {
                let page = Page::read(ApiVersion::V1, text).map_err(|error| anyhow!("{error}"))?;
                let names = GraphiteSettings::default();
                let (mut lines, mut batch) = (page.lines(&names, "web"), Vec::new());
                while lines.fill(&mut batch, BATCH) {
                    black_box(&batch);
                    batch.clear();
                }
                return Ok(lines.counts().samples);
            }
        }
        Ok(0)
    }

    fn timed(self, text: &str) -> Result<(u64, f64)> {
        let text = text.to_owned();
        let begun = Instant::now();
        let samples = self.done(text)?;
        Ok((samples, begun.elapsed().as_secs_f64()))
    }
}

/// Does everything to the same answer.
pub fn run(report: &Report, python: Option<&Python>) -> Result<()> {
    let text = Catchpoint::start(sandbox(10, 10, 5))?.last_raw()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("answer.json");
    fs::write(&file, &text)?;
    let (mut ours, mut json, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let mut samples = 0;
    for _ in 0..ROUNDS {
        let (found, seconds) = Work::Lines.timed(&text)?;
        samples = found;
        ours.push(seconds);
        json.push(Work::Json.timed(&text)?.1);
        if let Some(python) = python {
            let (found, seconds) = python.map(&file)?;
            ensure!(
                found == samples,
                "Python finds {found} samples, we {samples}"
            );
            peer.push(seconds);
        }
    }
    let unit = Unit::Rate(samples as f64, "samples");
    let what = "LastRaw to lines, native, one core";
    let size = format!("{} MB of JSON, {samples} samples", text.len() / 1_000_000);
    if python.is_some() {
        report.add(
            Row::new(what, "CPython, json.loads", unit, &ours, &peer)
                .wanted(14.0)
                .note(&size),
        )?;
    }
    let floor = "serde_json, IgnoredAny";
    report.add(
        Row::new(what, floor, unit, &ours, &json)
            .wanted(0.25)
            .note(size),
    )?;
    if Command::new("valgrind").arg("--version").output().is_err() {
        return report.say("Instructions are not counted: valgrind is not installed.");
    }
    let nothing = instructions(Work::Nothing, &file)?;
    let [ours, json] =
        [Work::Lines, Work::Json].map(|work| Some(instructions(work, &file).ok()? - nothing));
    let (ours, json) = ours.zip(json).context("callgrind fails")?;
    let note = format!("{:.0} instructions a sample", ours / samples as f64);
    report.add(
        Row::new(
            "the same, counted by callgrind",
            floor,
            Unit::Instructions,
            &[ours],
            &[json],
        )
        .wanted(0.25)
        .note(note),
    )
}

/// Processor instructions of this program when it does some work.
fn instructions(work: Work, file: &Path) -> Result<f64> {
    let name = work.to_possible_value().context("a work without a name")?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--log-fd=1",
        ])
        .arg(env::current_exe()?)
        .args(["--work", name.get_name(), "--file"])
        .arg(file);
    let (said, _) = measure::run(&mut valgrind)?;
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, count) = count.with_context(|| format!("callgrind says {said}"))?;
    Ok(count.trim().parse()?)
}
