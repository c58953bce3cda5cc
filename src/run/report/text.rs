//! A report as the one line of the log, and as lines of Graphite.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Failure, Gaps, Outcome, Progress, Report, Tests};

impl Report {
    /// The run's figures as lines of untagged series.
    pub fn lines(&self, prefix: &str) -> String {
        let time = self.ended.timestamp();
        let positive = |number: i64| u64::try_from(number).unwrap_or(0);
        let figures = [
            (
                "run.milliseconds",
                positive((self.ended - self.started).num_milliseconds()),
            ),
            ("run.failures", self.failures.len() as u64),
            ("run.partial", u64::from(self.outcome == Outcome::Partial)),
            ("tests.configured", self.tests.configured),
            ("tests.collected", self.tests.collected),
            ("tests.excluded", self.tests.excluded),
            ("samples", self.samples),
            ("nulls", self.nulls),
            ("lines.accepted", self.lines_accepted),
            ("lines.rejected", self.lines_rejected),
            ("gaps.found_seconds", positive(self.gaps.found)),
            ("gaps.filled_seconds", positive(self.gaps.filled)),
            ("gaps.open_seconds", positive(self.gaps.open)),
            ("gaps.open_tests", self.gaps.tests),
            ("gaps.aged_out_seconds", positive(self.gaps.aged_out)),
        ];
        let figures = figures.map(|(name, value)| (name.to_owned(), value));
        let skipped = self.skipped.iter();
        let skipped = skipped.map(|(reason, count)| (format!("skipped.{reason}"), *count));
        let calls = self.calls.iter();
        let calls =
            calls.map(|(call, count)| (format!("calls.{}", call.replace(' ', ".")), *count));
        let types = self.types.iter().flat_map(|(name, figures)| {
            let node = name
                .to_ascii_lowercase()
                .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let figures = [("tests", figures.tests), ("lines", figures.lines_accepted)];
            figures.map(|(figure, value)| (format!("types.{node}.{figure}"), value))
        });
        let push = self.push.iter().flat_map(|push| {
            let figures = [
                ("pushed.lines", push.lines),
                ("pushed.late_seconds", push.late_seconds),
                ("polled.late_seconds", push.polled_late_seconds),
            ];
            figures.map(|(name, value)| (name.to_owned(), value))
        });
        let all = figures
            .into_iter()
            .chain(push)
            .chain(types)
            .chain(skipped)
            .chain(calls);
        all.map(|(name, value)| format!("{prefix}.{name} {value} {time}\n"))
            .collect()
    }

    fn write_figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.ended - self.started).as_seconds_f64();
        write!(f, " seconds={seconds:.1}")?;
        if let Some(window) = self.window {
            write!(f, " from={} to={}", iso(window.from), iso(window.to))?;
        }
        let Tests {
            configured,
            collected,
            excluded,
        } = self.tests;
        let calls = self.calls.iter();
        let calls = calls.map(|(call, count)| format!("{}:{count}", call.replace(' ', "_")));
        let calls = calls.collect::<Vec<_>>().join(",");
        let (samples, nulls) = (self.samples, self.nulls);
        let (accepted, rejected) = (self.lines_accepted, self.lines_rejected);
        write!(
            f,
            " tests={collected}/{configured} calls={calls} samples={samples} nulls={nulls} accepted={accepted} rejected={rejected}"
        )?;
        if let Some(push) = self.push {
            let (pushed, polled) = (push.late_seconds, push.polled_late_seconds);
            write!(
                f,
                " pushed={} late_seconds=pushed:{pushed},polled:{polled}",
                push.lines
            )?;
        }
        if excluded > 0 {
            write!(f, " excluded={excluded}")?;
        }
        if self.unlabelled > 0 {
            write!(f, " unlabelled={}", self.unlabelled)?;
        }
        for (what, counts) in [("skipped", &self.skipped), ("rejected", &self.rejected)] {
            for (reason, count) in counts {
                write!(f, " {what}_{reason}={count}")?;
            }
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
        Ok(())
    }
}

/// The report as the one line of the log.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (run, outcome, started) = (&self.run, self.outcome.word(), iso(self.started));
        write!(f, "run={run} outcome={outcome} started={started}")?;
        if self.outcome != Outcome::Skipped {
            self.write_figures(f)?;
        }
        for note in &self.notes {
            write!(f, " | {note}")?;
        }
        for failure in &self.failures {
            write!(f, " | {failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<String> = self.tests.iter().map(u64::to_string).collect();
        let of = match ids.len() {
            0 => "",
            1 => " of test ",
            _ => " of tests ",
        };
        let Self {
            what, cause, hint, ..
        } = self;
        write!(f, "{what}{of}{}: {cause}; {hint}", ids.join(","))
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = |seconds: i64| seconds as f64 / 3600.0;
        let (from, to) = (iso(self.from), iso(self.to));
        let (done, total) = (hours(self.done), hours(self.total));
        write!(
            f,
            "backfill from {from} to {to}: {done:.1} of {total:.1} hours of tests done"
        )
    }
}

fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
