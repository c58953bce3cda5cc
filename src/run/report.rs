//! What a run did, for people, scripts and Graphite.

mod text;

use std::collections::BTreeMap;
use std::fmt::Display;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use crate::host::{Host, Level};
use crate::relay::Pushed;
use crate::state::{Key, Store};
use crate::time_range::TimeRange;

/// How a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was due is in the relay.
    #[default]
    Ok,
    /// Results of some tests are in the relay, and something failed; `failures` says what.
    Partial,
    /// Nothing was delivered; `failures` says why.
    Failed,
    /// Another run was under way; this one did nothing.
    Skipped,
}

impl Outcome {
    /// The word in the log and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// The exit code of a program that made the run: 0 all good, 2 some tests failed, 1 nothing was
    /// delivered. A run that another one made unnecessary is good.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok | Self::Skipped => 0,
            Self::Partial => 2,
            Self::Failed => 1,
        }
    }
}

/// Everything that is to be said of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The run's id, as in the batches' idempotency keys.
    pub run: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// First second fetched, and first after the last one.
    pub window: Option<Window>,
    /// How many tests.
    pub tests: Tests,
    /// Calls to Catchpoint by kind and status: `lastraw 200`.
    pub calls: BTreeMap<String, u64>,
    /// Values fetched.
    pub samples: u64,
    /// Values that were not measured.
    pub nulls: u64,
    /// Values that cannot be lines, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Rows without the name that a label is to hold: their series lack that label.
    #[serde(default)]
    pub unlabelled: u64,
    /// Lines that the relay has on its disk. More than `samples` if an answer broke off and was
    /// fetched again: Graphite keeps one of the two.
    pub lines_accepted: u64,
    /// Lines that the relay did not take.
    pub lines_rejected: u64,
    /// Why, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// How much was pushed, and how late; none while the webhook is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushFigures>,
    /// Gaps in the data of tests, in seconds of a test.
    pub gaps: Gaps,
    /// The same figures by test type.
    pub types: BTreeMap<String, TypeFigures>,
    /// Limits that were learned from Catchpoint's answers and are in force.
    #[serde(default)]
    pub limits: Vec<String>,
    /// The backfills that are requested, and how far they are.
    #[serde(default)]
    pub backfills: Vec<Progress>,
    /// What else is to be said: tests that are new, or not collected any more; another run that is
    /// under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What went wrong.
    pub failures: Vec<Failure>,
}

/// What a run needs of the report of the last one. It reads no more of it, because the code that
/// reads a whole report is a fortieth of the component.
#[derive(Debug, Deserialize)]
pub(super) struct LastRun {
    pub(super) started: DateTime<Utc>,
    pub(super) tests: Collected,
    #[serde(default)]
    pub(super) limits: Vec<String>,
    #[serde(default)]
    pub(super) push: Option<PushFigures>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Collected {
    pub(super) collected: u64,
}

impl LastRun {
    /// None if there was no run yet, or its report cannot be read.
    pub(super) fn find(store: &Store<'_>) -> Option<Self> {
        store.find(Key::Report).unwrap_or_default()
    }
}

/// How much was pushed, and how late each way brings a result. Polling fetches all of it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushFigures {
    /// Lines that were pushed since the run before.
    pub lines: u64,
    /// Seconds from a pushed result to its arrival at the relay: the mean.
    pub late_seconds: u64,
    /// The same of the results that this run fetched.
    pub polled_late_seconds: u64,
    /// Everything pushed since the relay started, as the relay counts it.
    pub relay: Pushed,
}

impl PushFigures {
    /// From what the relay counts now, and counted at the run before.
    pub fn new(relay: Pushed, before: Pushed, polled_late_seconds: u64) -> Self {
        // A relay that was started since counts from 0 again.
        let before = match before.results > relay.results {
            true => Pushed::default(),
            false => before,
        };
        let results = relay.results - before.results;
        let late = relay.age_seconds.saturating_sub(before.age_seconds);
        Self {
            lines: relay.lines.saturating_sub(before.lines),
            late_seconds: late / results.max(1),
            polled_late_seconds,
            relay,
        }
    }
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First second.
    pub from: DateTime<Utc>,
    /// First second after it.
    pub to: DateTime<Utc>,
}

/// How many tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tests {
    /// In the configuration.
    pub configured: u64,
    /// With an answer that is in the relay as a whole.
    pub collected: u64,
    /// Skipped, because Catchpoint refused them in an earlier run.
    #[serde(default)]
    pub excluded: u64,
}

/// Seconds that were missing, summed over the tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps {
    /// Newly found.
    pub found: i64,
    /// Filled.
    pub filled: i64,
    /// Still open, to be filled by later runs.
    pub open: i64,
    /// Lost: older than max_backfill_hours, or more gaps than are kept.
    pub aged_out: i64,
    /// How many tests have a gap that is longer than the seconds between two windows.
    #[serde(default)]
    pub tests: u64,
}

/// What one test type brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeFigures {
    /// Tests with an answer.
    #[serde(default)]
    pub tests: u64,
    /// Values fetched.
    pub samples: u64,
    /// Values that were not measured.
    pub nulls: u64,
    /// Lines that the relay has on its disk.
    pub lines_accepted: u64,
}

/// How far a backfill is, in seconds of a test: an hour of three tests is 10800.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// First second that is asked for.
    pub from: DateTime<Utc>,
    /// First second after the range that is asked for.
    pub to: DateTime<Utc>,
    /// All tests are filled before this; none while they are not.
    pub done_until: Option<DateTime<Utc>>,
    /// How much is asked for.
    pub total: i64,
    /// How much of it is answered, refused or cancelled.
    pub done: i64,
    /// Nothing is left.
    pub finished: bool,
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done.
    pub what: String,
    /// The tests it was for.
    pub tests: Vec<u64>,
    /// Why it failed.
    pub cause: String,
    /// What to do about it.
    #[serde(alias = "mend")]
    pub hint: String,
    /// Nothing works until somebody acts on it.
    #[serde(default)]
    pub lasting: bool,
}

impl Report {
    /// The report of a run that begins now.
    pub fn begun(host: &dyn Host) -> Self {
        let now = host.now().trunc_subsecs(3);
        Self {
            run: format!("{:016x}", host.random()),
            started: now,
            ended: now,
            ..Self::default()
        }
    }

    /// The run has ended.
    pub fn end(&mut self, at: DateTime<Utc>) {
        self.ended = at.trunc_subsecs(3);
        if self.outcome == Outcome::Ok && !self.failures.is_empty() {
            self.outcome = if self.tests.collected > 0 {
                Outcome::Partial
            } else {
                Outcome::Failed
            };
        }
    }

    /// How bad it is, by data. ERROR: lines that the relay rejected, results that are too old to be
    /// fetched, and values that cannot be a line are lost, and so is everything from now on while the
    /// credentials are refused. WARN: whatever else failed, and gaps, are fetched later. A value that
    /// is not a number was never one for Graphite.
    pub fn level(&self) -> Level {
        let no_number = |reason: &str| matches!(reason, "not_a_number" | "not_finite");
        let skipped = self.skipped.keys().any(|reason| !no_number(reason));
        let lasting = self.failures.iter().any(|failure| failure.lasting);
        let lost = skipped || self.lines_rejected > 0 || self.gaps.aged_out > 0;
        match self.outcome {
            _ if lost || lasting => Level::Error,
            Outcome::Failed | Outcome::Partial => Level::Warn,
            _ if self.gaps.tests > 0 => Level::Warn,
            Outcome::Ok | Outcome::Skipped => Level::Info,
        }
    }

    /// Widens the window to hold a range.
    pub fn extend_window(&mut self, range: TimeRange) {
        let (from, to) = (time(range.from), time(range.to));
        let window = self.window.get_or_insert(Window { from, to });
        window.from = window.from.min(from);
        window.to = window.to.max(to);
    }

    /// Notes a failure that later runs may make up for.
    pub fn fail(&mut self, what: &str, tests: &[u64], cause: &str, hint: impl Display) {
        self.note(Failure {
            what: what.to_owned(),
            tests: tests.to_vec(),
            cause: cause.to_owned(),
            hint: hint.to_string(),
            lasting: false,
        });
    }

    /// Notes that so many seconds of a test are lost.
    pub fn lose(&mut self, test: u64, seconds: i64, cause: &str) {
        if seconds > 0 {
            self.gaps.aged_out += seconds;
            let hint = "fetch them with `backfill` if Catchpoint still has them; raise max_backfill_hours for longer outages";
            self.fail("gap", &[test], cause, hint);
        }
    }

    /// Notes a failure; the same one for other tests is one failure.
    pub fn note(&mut self, failure: Failure) {
        let same =
            |known: &&mut Failure| known.what == failure.what && known.cause == failure.cause;
        match self.failures.iter_mut().find(same) {
            Some(known) => {
                let mut new = failure.tests;
                new.retain(|test| !known.tests.contains(test));
                known.tests.extend(new);
            }
            None => self.failures.push(failure),
        }
    }
}

/// The time of an epoch second.
pub fn time(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_line_is_lost_unless_it_is_no_number() {
        for (reason, level) in [
            ("not_a_number", Level::Info),
            ("not_finite", Level::Info),
            ("row_without_test_node_or_time", Level::Error),
            ("value_without_metric", Level::Error),
            ("no_metric_name", Level::Error),
        ] {
            let mut report = Report::default();
            report.skipped.insert(reason.to_owned(), 2);
            assert_eq!(report.level(), level, "{reason}");
            let said = format!(" skipped_{reason}=2");
            assert!(report.to_string().contains(&said), "{report}");
        }
    }
}
