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
    /// How many times as fast as the row that it is compared with; that one has 1.
    pub ratio: Option<f64>,
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
            ratio: None,
            note: String::new(),
        }
    }

    /// The same, compared with another one.
    pub fn against(mut self, other: f64) -> Self {
        self.ratio = Some(self.rate / other);
        self
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

/// Prints a table, whose ratios are to `base`, and writes it and the figures under
/// `target/bench`.
pub fn finish(title: &str, base: Option<&str>, rows: &[Row]) -> Result<()> {
    let to_base = base.map_or(String::new(), |base| format!(" to {base}"));
    let mut text = format!("\n| {title} | a second | ratio{to_base} | |\n|---|---:|---:|---|\n");
    for row in rows {
        let ratio = row
            .ratio
            .map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let rate = format!("{} {}", short(row.rate), row.unit);
        text += &format!("| {} | {rate} | {ratio} | {} |\n", row.name, row.note);
    }
    print!("{text}");
    let folder = target_dir().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let write = |name: String, content: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    write(format!("{title}.json"), &serde_json::to_vec_pretty(rows)?)?;
    write(format!("{title}.md"), text.trim_start().as_bytes())
}

fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.1}"),
    }
}
