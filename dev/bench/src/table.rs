//! Medians and ratios, as a table and as a file.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use catchpoint_testbed::target_dir;
use serde::Serialize;

/// The figures of one contender.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Who.
    pub name: String,
    /// How much per second, in `unit`.
    pub rate: f64,
    /// What is counted.
    pub unit: &'static str,
    /// What else was measured.
    pub note: String,
}

impl Row {
    /// A row for the median of some runs, each of which did `amount`.
    pub fn new(name: &str, amount: f64, unit: &'static str, times: &[Duration]) -> Self {
        Self {
            name: name.to_owned(),
            rate: amount / median(times).as_secs_f64().max(1e-9),
            unit,
            note: String::new(),
        }
    }

    /// The same with a note.
    pub fn note(mut self, note: String) -> Self {
        self.note = note;
        self
    }
}

/// The middle one of some times.
pub fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Prints a table with ratios to its last row, and writes it and the figures under `target/bench`.
pub fn finish(title: &str, rows: &[Row]) -> Result<()> {
    let base = rows.last().context("no row")?;
    let mut text = format!("\n| {title} | a second | ratio | |\n|---|---:|---:|---|\n");
    for row in rows {
        let (rate, ratio) = (short(row.rate), row.rate / base.rate);
        text += &format!(
            "| {} | {rate} {} | {ratio:.2} | {} |\n",
            row.name, row.unit, row.note
        );
    }
    print!("{text}");
    let folder = target_dir().join("bench");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join(format!("{title}.md")), text.trim_start()))
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    let json = serde_json::to_vec_pretty(rows)?;
    Ok(fs::write(folder.join(format!("{title}.json")), json)?)
}

fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.1}"),
    }
}
