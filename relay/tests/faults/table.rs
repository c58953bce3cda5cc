//! The faults as tests of their own, and the table of what each has cost.

use std::collections::BTreeMap;
use std::iter::Sum;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A fault: its name, where lines are counted, and the test.
pub struct Fault(pub &'static str, pub &'static str, pub fn() -> Outcome);

/// What a fault has cost, or what this machine lacks for its test.
pub type Outcome = Result<Tally, Needs>;

/// What a fault has cost.
#[derive(Default)]
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

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, one| Self {
            answered: sum.answered + one.answered,
            lost: sum.lost + one.lost,
            note: sum.note,
        })
    }
}

impl From<Tally> for Outcome {
    fn from(tally: Tally) -> Self {
        Ok(tally)
    }
}

/// The environment variable that allows to leave out faults for which this machine lacks something.
const MAY_LACK: &str = "FAULTS_MAY_LACK";

/// What this machine lacks for a test.
#[derive(Debug)]
pub struct Needs(pub &'static str);

/// By the place in the list of faults; only those that were run. None while one is running, and if it
/// has failed before it could count.
static ROWS: Mutex<BTreeMap<usize, Option<Outcome>>> = Mutex::new(BTreeMap::new());

fn rows() -> MutexGuard<'static, BTreeMap<usize, Option<Outcome>>> {
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
        rows().insert(place, None);
        let outcome = test();
        let verdict = check(&outcome);
        rows().insert(place, Some(outcome));
        verdict
    };
    Trial::ignorable_test(*name, run).with_kind(*carbon)
}

fn check(outcome: &Outcome) -> Result<Completion, Failed> {
    match outcome {
        Ok(Tally { answered: 0, .. }) => Err("no line was answered 202".into()),
        Ok(Tally { lost: 0, .. }) => Ok(Completion::Completed),
        Ok(Tally { answered, lost, .. }) => {
            Err(format!("{lost} of {answered} lines are lost").into())
        }
        Err(Needs(what)) if std::env::var_os(MAY_LACK).is_some() => {
            Ok(Completion::ignored_with(*what))
        }
        Err(Needs(what)) => Err(format!("{what}; {MAY_LACK}=1 leaves it out").into()),
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
        match row {
            None => line(name, carbon, "?", "?", "FAILED before it could count"),
            Some(Err(Needs(what))) => line(name, carbon, "-", "-", &format!("not run: {what}")),
            Some(Ok(tally)) => {
                let (answered, lost) = (tally.answered.to_string(), tally.lost.to_string());
                line(name, carbon, &answered, &lost, &tally.note);
            }
        }
    }
    println!();
}
