//! The rows of the report, as a table and as a file.

use std::{cell::RefCell, fs};

use anyhow::{Context as _, Result};
use catchpoint_testbed::target_dir;
use serde::Serialize;

/// One thing measured in turns: ours, and what it is compared with.
#[derive(Debug, Serialize)]
pub struct Row {
    what: String,
    against: String,
    /// Ours and theirs, as they are shown.
    shown: [String; 2],
    /// How many times better we are, in the middle and at the ends of the rounds; one in each round.
    ratio: Spread,
    /// The least ratio that is wanted; none for a row that only informs.
    target: Option<f64>,
    /// What each round cost us and them: less is better.
    costs: [Vec<f64>; 2],
    note: String,
}

/// The middle of some figures, and their ends.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// Of some figures.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self {
            median: at(sorted.len() / 2),
            least: at(0),
            most: at(sorted.len().saturating_sub(1)),
        }
    }
}

/// How a cost is shown.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Seconds for so many of something, as a rate.
    Rate(f64, &'static str),
    /// Seconds.
    Seconds,
    /// Megabytes.
    Megabytes,
    /// Processor instructions.
    Instructions,
    /// Calls.
    Calls,
}

impl Unit {
    fn show(self, costs: &[f64]) -> String {
        let cost = Spread::of(costs.iter().copied()).median;
        match self {
            Self::Rate(amount, what) => format!("{} {what}/s", short(amount / cost.max(1e-9))),
            Self::Seconds if cost < 1.0 => format!("{:.1} ms", cost * 1e3),
            Self::Seconds => format!("{cost:.2} s"),
            Self::Megabytes => format!("{cost:.0} MB"),
            Self::Instructions => format!("{} instructions", short(cost)),
            Self::Calls => format!("{cost} calls"),
        }
    }
}

impl Row {
    /// A row whose rounds cost us `ours` and them `theirs`.
    pub fn new(what: &str, against: &str, unit: Unit, ours: &[f64], theirs: &[f64]) -> Self {
        let ratio = ours.iter().zip(theirs);
        Self {
            what: what.to_owned(),
            against: against.to_owned(),
            shown: [unit.show(ours), unit.show(theirs)],
            ratio: Spread::of(ratio.map(|(ours, theirs)| theirs / ours.max(1e-9))),
            target: None,
            costs: [ours.to_vec(), theirs.to_vec()],
            note: String::new(),
        }
    }

    /// The same, which is met when we are so many times better.
    pub fn wanted(mut self, ratio: f64) -> Self {
        self.target = Some(ratio);
        self
    }

    /// The same with a note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn line(&self) -> String {
        let Spread {
            median,
            least,
            most,
        } = self.ratio;
        let (target, is_met) = match self.target {
            Some(target) if median >= target => (format!("≥ {target}×"), "yes"),
            Some(target) => (format!("≥ {target}×"), "**no**"),
            None => ("–".to_owned(), "–"),
        };
        let [ours, theirs] = &self.shown;
        format!(
            "| {} | {ours} | {}: {theirs} | {median:.2}× ({least:.2}–{most:.2}) | {target} | {is_met} | {} |\n",
            self.what, self.against, self.note
        )
    }
}

/// All rows so far, and what no row can say.
#[derive(Default, Serialize)]
pub struct Report {
    rows: RefCell<Vec<Row>>,
    remarks: RefCell<Vec<String>>,
}

impl Report {
    /// Prints a row, and writes all of them to `target/bench/report.{md,json}`.
    pub fn add(&self, row: Row) -> Result<()> {
        print!("{}", row.line());
        self.rows.borrow_mut().push(row);
        self.write()
    }

    /// Says something beside the rows, such as why one is missing.
    pub fn say(&self, remark: &str) -> Result<()> {
        println!("{remark}");
        self.remarks.borrow_mut().push(remark.to_owned());
        self.write()
    }

    fn write(&self) -> Result<()> {
        let mut text = "| what | ours | against | ratio (rounds) | target | met | note |\n|---|---|---|---|---|---|---|\n".to_owned();
        for row in &*self.rows.borrow() {
            text += &row.line();
        }
        for remark in &*self.remarks.borrow() {
            text += &format!("\n{remark}\n");
        }
        let folder = target_dir().join("bench");
        let json = serde_json::to_vec_pretty(self)?;
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("report.md"), text))
            .and_then(|()| fs::write(folder.join("report.json"), json))
            .with_context(|| format!("cannot write to {}", folder.display()))
    }
}

fn short(number: f64) -> String {
    match number {
        number if number >= 1e9 => format!("{:.2} G", number / 1e9),
        number if number >= 1e6 => format!("{:.2} M", number / 1e6),
        number if number >= 1e3 => format!("{:.1} k", number / 1e3),
        number => format!("{number:.1}"),
    }
}
