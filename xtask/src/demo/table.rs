//! The summary: one line for each test type, and the totals.

use std::fmt;

use super::{
    compare::{Found, FoundByKind},
    services::Run,
    truth::Truth,
};

/// All that the demo has found out.
#[derive(Debug)]
pub struct Summary {
    rows: Vec<Row>,
    total: Row,
    series: usize,
    /// Figures of the run report, as the component counted them.
    reported: Vec<(&'static str, u64)>,
    failures: usize,
}

#[derive(Debug, Default)]
struct Row {
    name: String,
    tests: usize,
    nodes: usize,
    samples: u64,
    nulls: u64,
    found: Found,
}

/// Figures of the run report that are shown, where the report has them.
const REPORTED: [(&str, &str); 4] = [
    ("samples", "samples"),
    ("nulls", "nulls"),
    ("lines accepted", "lines_accepted"),
    ("lines rejected", "lines_rejected"),
];

impl Summary {
    /// Puts together what was measured, found and reported.
    pub fn of(truth: &Truth, found: &FoundByKind, run: &Run) -> Self {
        let mut total = Row {
            name: "total".to_owned(),
            ..Row::default()
        };
        let mut rows = Vec::new();
        for (name, kind) in &truth.kinds {
            rows.push(Row {
                name: name.clone(),
                tests: kind.tests.len(),
                nodes: kind.nodes.len(),
                samples: kind.served.samples,
                nulls: kind.served.nulls,
                found: found.get(name).copied().unwrap_or_default(),
            });
        }
        for (name, found) in found {
            if !truth.kinds.contains_key(name) {
                rows.push(Row {
                    name: name.clone(),
                    found: *found,
                    ..Row::default()
                });
            }
        }
        for row in &rows {
            total.tests += row.tests;
            total.nodes = total.nodes.max(row.nodes);
            total.samples += row.samples;
            total.nulls += row.nulls;
            total.found.right += row.found.right;
            total.found.missing += row.found.missing;
            total.found.wrong += row.found.wrong;
        }
        let figure = |key| run.report.get(key).and_then(serde_json::Value::as_u64);
        Self {
            rows,
            total,
            series: truth.curves.len(),
            reported: REPORTED
                .iter()
                .filter_map(|(title, key)| Some((*title, figure(*key)?)))
                .collect(),
            failures: run
                .report
                .get("failures")
                .and_then(serde_json::Value::as_array)
                .map_or(0, Vec::len),
        }
    }

    /// Whether there were datapoints, all have arrived, and nothing else.
    pub fn is_complete(&self) -> bool {
        let found = &self.total.found;
        found.right > 0 && found.missing == 0 && found.wrong == 0 && self.failures == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:>6} {:>6} {:>9} {:>7} {:>11} {:>8} {:>6}",
            "test type", "tests", "nodes", "samples", "nulls", "read back", "missing", "wrong"
        )?;
        let rule = "─".repeat(72);
        writeln!(f, "{rule}")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        writeln!(f, "{rule}")?;
        writeln!(f, "{}", self.total)?;
        writeln!(
            f,
            "\n{} series. The run report says: {}, {} failures.",
            self.series,
            self.reported
                .iter()
                .map(|(title, figure)| format!("{figure} {title}"))
                .collect::<Vec<_>>()
                .join(", "),
            self.failures
        )?;
        if self.is_complete() {
            writeln!(f, "Every datapoint has arrived as it was measured.")
        } else {
            writeln!(f, "NOT every datapoint has arrived as it was measured.")
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<12} {:>6} {:>6} {:>9} {:>7} {:>11} {:>8} {:>6}",
            self.name,
            self.tests,
            self.nodes,
            self.samples,
            self.nulls,
            self.found.right,
            self.found.missing,
            self.found.wrong
        )
    }
}
