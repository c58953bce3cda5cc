//! The summary: one line for each test type, and the totals.

use std::fmt;

use super::{
    compare::{Found, FoundByKind},
    services::{Figures, Report},
    truth::Truth,
};

/// All that the demo has found out.
#[derive(Debug)]
pub struct Summary {
    rows: Vec<Row>,
    total: Row,
    lines_rejected: u64,
    failures: usize,
}

#[derive(Debug, Default)]
struct Row {
    name: String,
    tests: usize,
    nodes: usize,
    fetched: Figures,
    found: Found,
}

impl Summary {
    /// Puts together what was measured, found and reported.
    pub fn of(truth: &Truth, found: &FoundByKind, report: &Report) -> Self {
        let mut rows: Vec<Row> = truth
            .kinds
            .iter()
            .map(|(name, kind)| Row {
                name: name.clone(),
                tests: kind.tests.len(),
                nodes: kind.nodes(),
                fetched: report.types.get(name).copied().unwrap_or_default(),
                found: found.get(name).copied().unwrap_or_default(),
            })
            .collect();
        // Series that no test has measured are wrong, and get a line of their own.
        rows.extend(
            found
                .iter()
                .filter(|(name, _)| !truth.kinds.contains_key(*name))
                .map(|(name, found)| Row {
                    name: name.clone(),
                    found: *found,
                    ..Row::default()
                }),
        );
        let mut total = Row {
            name: "total".to_owned(),
            nodes: truth.nodes(),
            ..Row::default()
        };
        for row in &rows {
            total.tests += row.tests;
            total.fetched.samples += row.fetched.samples;
            total.fetched.nulls += row.fetched.nulls;
            total.fetched.lines_accepted += row.fetched.lines_accepted;
            total.found.right += row.found.right;
            total.found.missing += row.found.missing;
            total.found.wrong += row.found.wrong;
        }
        Self {
            rows,
            total,
            lines_rejected: report.lines_rejected,
            failures: report.failures.len(),
        }
    }

    /// Whether there were datapoints, all have arrived, and nothing else.
    pub fn is_complete(&self) -> bool {
        let found = &self.total.found;
        let arrived = found.right > 0 && found.missing == 0 && found.wrong == 0;
        arrived && self.lines_rejected == 0 && self.failures == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = "─".repeat(75);
        writeln!(
            f,
            "{:<12}{:>6}{:>6}{:>9}{:>7}{:>10}{:>11}{:>9}{:>7}",
            "", "", "", "samples", "", "lines", "datapoints", "", ""
        )?;
        writeln!(
            f,
            "{:<12}{:>6}{:>6}{:>9}{:>7}{:>10}{:>11}{:>9}{:>7}",
            "test type",
            "tests",
            "nodes",
            "fetched",
            "nulls",
            "accepted",
            "read back",
            "missing",
            "wrong"
        )?;
        writeln!(f, "{rule}")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        writeln!(f, "{rule}")?;
        writeln!(f, "{}\n", self.total)?;
        if self.lines_rejected > 0 || self.failures > 0 {
            writeln!(
                f,
                "The run report has {} failures and {} lines that the relay rejected.",
                self.failures, self.lines_rejected
            )?;
        }
        let every = if self.is_complete() {
            "Every"
        } else {
            "NOT every"
        };
        write!(f, "{every} datapoint is in Graphite as it was measured.")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<12}{:>6}{:>6}{:>9}{:>7}{:>10}{:>11}{:>9}{:>7}",
            self.name,
            self.tests,
            self.nodes,
            self.fetched.samples,
            self.fetched.nulls,
            self.fetched.lines_accepted,
            self.found.right,
            self.found.missing,
            self.found.wrong
        )
    }
}
