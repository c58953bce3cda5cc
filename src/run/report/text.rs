//! A report as the one line of the log, and as lines of Graphite.

use std::fmt::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Failure, Gaps, Outcome, Progress, Report};

impl Report {
    /// The run's figures as lines of untagged series.
    pub fn lines(&self, prefix: &str) -> String {
        let time = self.ended.timestamp();
        let mut lines = String::new();
        let mut line = |name: &str, value: u64| {
            // Writing into a String does not fail.
            let _ = writeln!(lines, "{prefix}.{name} {value} {time}");
        };
        let positive = |seconds: i64| u64::try_from(seconds).unwrap_or(0);
        line(
            "run.milliseconds",
            positive((self.ended - self.started).num_milliseconds()),
        );
        line("run.failures", self.failures.len() as u64);
        line("run.partial", u64::from(self.outcome == Outcome::Partial));
        line("tests.configured", self.tests.configured);
        line("tests.collected", self.tests.collected);
        line("tests.excluded", self.tests.excluded);
        line("samples", self.samples);
        line("nulls", self.nulls);
        line("lines.accepted", self.lines_accepted);
        line("lines.rejected", self.lines_rejected);
        line("gaps.found_seconds", positive(self.gaps.found));
        line("gaps.filled_seconds", positive(self.gaps.filled));
        line("gaps.open_seconds", positive(self.gaps.open));
        line("gaps.open_tests", self.gaps.tests);
        line("gaps.aged_out_seconds", positive(self.gaps.aged_out));
        for (reason, count) in &self.skipped {
            line(&format!("skipped.{reason}"), *count);
        }
        for (call, count) in &self.calls {
            line(&format!("calls.{}", call.replace(' ', ".")), *count);
        }
        lines
    }
}

/// The report as the one line of the log.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(
            f,
            "run={} outcome={} started={}",
            self.run,
            self.outcome.word(),
            time(self.started)
        )?;
        if self.outcome != Outcome::Skipped {
            let seconds = (self.ended - self.started).as_seconds_f64();
            write!(f, " seconds={seconds:.1}")?;
            if let Some(window) = self.window {
                write!(f, " from={} to={}", time(window.from), time(window.to))?;
            }
            let calls: Vec<String> = self
                .calls
                .iter()
                .map(|(call, count)| format!("{}:{count}", call.replace(' ', "_")))
                .collect();
            write!(
                f,
                " tests={}/{} calls={} samples={} nulls={} accepted={} rejected={}",
                self.tests.collected,
                self.tests.configured,
                calls.join(","),
                self.samples,
                self.nulls,
                self.lines_accepted,
                self.lines_rejected
            )?;
            if self.tests.excluded > 0 {
                write!(f, " excluded={}", self.tests.excluded)?;
            }
            for (reason, count) in &self.skipped {
                write!(f, " skipped_{reason}={count}")?;
            }
            if self.unlabelled > 0 {
                write!(f, " unlabelled={}", self.unlabelled)?;
            }
            for (reason, count) in &self.rejected {
                write!(f, " rejected_{reason}={count}")?;
            }
            let Gaps {
                found,
                filled,
                open,
                aged_out,
                tests,
            } = self.gaps;
            if self.gaps != Gaps::default() {
                write!(
                    f,
                    " gap_seconds=found:{found},filled:{filled},open:{open},aged_out:{aged_out}"
                )?;
            }
            if tests > 0 {
                write!(f, " gap_tests={tests}")?;
            }
            for backfill in &self.backfills {
                write!(f, " | {backfill}")?;
            }
            for limit in &self.limits {
                write!(f, " | {limit}")?;
            }
        }
        for failure in &self.failures {
            write!(f, " | {failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if !self.tests.is_empty() {
            let ids: Vec<String> = self.tests.iter().map(u64::to_string).collect();
            let word = if ids.len() == 1 { "test" } else { "tests" };
            write!(f, " of {word} {}", ids.join(","))?;
        }
        write!(f, ": {}; {}", self.cause, self.hint)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let hours = |seconds: i64| seconds as f64 / 3600.0;
        write!(
            f,
            "backfill from {} to {}: {:.1} of {:.1} hours of tests done",
            time(self.from),
            time(self.to),
            hours(self.done),
            hours(self.total)
        )
    }
}
