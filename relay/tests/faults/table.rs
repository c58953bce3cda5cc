//! The faults as tests of their own, and the table of what each has cost.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A fault: its name, at what kind of carbon lines are counted, and the test.
pub struct Fault(
    pub &'static str,
    pub Carbon,
    pub fn() -> Result<Tally, Needs>,
);

/// Where lines are counted.
#[derive(Clone, Copy)]
pub enum Carbon {
    /// On the disk of a real one, read by graphite-web.
    Real,
    /// As they come to a recording stand-in.
    StandIn,
}

impl Carbon {
    const fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::StandIn => "stand-in",
        }
    }
}

/// What a fault has cost.
pub struct Tally {
    /// Lines that were answered 202.
    pub answered: usize,
    /// Those of them that have not arrived.
    pub lost: usize,
    /// What else was counted.
    pub note: String,
}

impl Tally {
    pub fn noting(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }
}

/// The environment variable that allows to leave out faults for which this machine lacks something.
const MAY_LACK: &str = "FAULTS_MAY_LACK";

/// What this machine lacks for a test.
#[derive(Debug)]
pub struct Needs(pub &'static str);

enum Row {
    /// Still running, or failed before it could count.
    Unfinished,
    Counted(Tally),
    NotHere(Needs),
}

/// By the place in the list of faults; only those that were run.
static ROWS: Mutex<BTreeMap<usize, Row>> = Mutex::new(BTreeMap::new());

fn rows() -> MutexGuard<'static, BTreeMap<usize, Row>> {
    ROWS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the faults that the command line asks for, and prints the table.
pub fn run(faults: &'static [Fault]) -> ExitCode {
    let trials = faults.iter().enumerate().map(trial).collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    print(faults);
    conclusion.exit_code()
}

fn trial((place, Fault(name, carbon, test)): (usize, &'static Fault)) -> Trial {
    let run = move || {
        rows().insert(place, Row::Unfinished);
        let result = test();
        let (row, result) = match result {
            Ok(tally) => {
                let result = check(&tally);
                (Row::Counted(tally), result)
            }
            Err(needs) => {
                let result = if std::env::var_os(MAY_LACK).is_some() {
                    Ok(Completion::ignored_with(needs.0))
                } else {
                    Err(format!("{}; {MAY_LACK}=1 leaves it out", needs.0).into())
                };
                (Row::NotHere(needs), result)
            }
        };
        rows().insert(place, row);
        result
    };
    Trial::ignorable_test(*name, run).with_kind(carbon.name())
}

fn check(tally: &Tally) -> Result<Completion, Failed> {
    match tally {
        Tally { answered: 0, .. } => Err("no line was answered 202".into()),
        Tally { lost: 0, .. } => Ok(Completion::Completed),
        Tally { answered, lost, .. } => Err(format!("{lost} of {answered} lines are lost").into()),
    }
}

fn print(faults: &[Fault]) {
    let rows = rows();
    if rows.is_empty() {
        return;
    }
    let line = |fault: &str, carbon: &str, answered: &str, lost: &str, note: &str| {
        println!("| {fault:<50} | {carbon:<8} | {answered:>12} | {lost:>10} | {note}");
    };
    line(
        "fault",
        "carbon",
        "answered 202",
        "lines lost",
        "also counted",
    );
    line(
        &"-".repeat(50),
        &"-".repeat(8),
        &"-".repeat(12),
        &"-".repeat(10),
        "---",
    );
    for (place, row) in &*rows {
        let Fault(name, carbon, _) = &faults[*place];
        let carbon = carbon.name();
        match row {
            Row::Unfinished => line(name, carbon, "?", "?", "FAILED before it could count"),
            Row::Counted(tally) => line(
                name,
                carbon,
                &tally.answered.to_string(),
                &tally.lost.to_string(),
                &tally.note,
            ),
            Row::NotHere(needs) => line(name, carbon, "-", "-", &format!("not run: {}", needs.0)),
        }
    }
    println!();
}
