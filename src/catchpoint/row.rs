//! One row of an answer, the same for both API versions, and how rows become samples.

use std::ops::ControlFlow;

use super::value::{Cell, Names};
use crate::sample::Sample;

/// The values of one test run on one node (of one step or hop), by position. A row that lacks its
/// test, node or time costs only itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The test's id.
    pub test: Option<u64>,
    /// The node's id.
    pub node: Option<u64>,
    /// The step of a transaction.
    pub step: Option<String>,
    /// The hop of a traceroute.
    pub hop: Option<String>,
    /// When it ran, in seconds since the epoch.
    pub time: Option<i64>,
    /// One cell for each of the answer's metrics.
    pub values: Vec<Cell>,
}

/// What comes out of an answer, one after the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'a> {
    /// A measured value.
    Sample(Sample<'a>),
    /// A null: the metric was not measured in this run.
    Null,
    /// Something that cannot become a sample, by the name that it is counted under.
    Skipped(&'static str),
}

/// Takes what comes out of an answer; `Break` stops the reading.
pub type Sink<'s> = dyn FnMut(Found<'_>) -> ControlFlow<()> + 's;

/// The reading was stopped by the sink. The text never reaches a user.
pub const STOPPED: &str = "stopped by the reader";

/// Most cells that wait for the metric names, for an answer that lists its rows first.
const MAX_EARLY_CELLS: usize = 100_000;

/// Puts names to the rows of one answer and hands out samples. Names usually come first; rows that
/// come before them wait, up to a bound.
pub struct Rows<'s, 'f> {
    names: Option<Vec<String>>,
    early: Vec<Row>,
    early_cells: usize,
    /// A row had its test, node and time.
    complete: bool,
    lacking: Lacking,
    sink: &'s mut Sink<'f>,
}

/// How many rows lack what.
#[derive(Default)]
struct Lacking {
    any: u64,
    test: u64,
    node: u64,
    time: u64,
}

impl<'s, 'f> Rows<'s, 'f> {
    /// No names and no rows yet.
    pub fn new(sink: &'s mut Sink<'f>) -> Self {
        Self {
            names: None,
            early: Vec::new(),
            early_cells: 0,
            complete: false,
            lacking: Lacking::default(),
            sink,
        }
    }

    /// The metric names have come, in the order of the values.
    ///
    /// # Errors
    /// [`STOPPED`].
    pub fn names(&mut self, names: Names) -> Result<(), &'static str> {
        self.names = Some(names.0);
        self.early_cells = 0;
        for row in std::mem::take(&mut self.early) {
            self.row(row)?;
        }
        Ok(())
    }

    /// A row has come.
    ///
    /// # Errors
    /// [`STOPPED`], or that too many rows came before the names.
    pub fn row(&mut self, row: Row) -> Result<(), &'static str> {
        let (Some(test), Some(node), Some(time)) = (row.test, row.node, row.time) else {
            return self.incomplete(&row);
        };
        self.complete = true;
        let Some(names) = &self.names else {
            self.early_cells += row.values.len().max(1);
            if self.early_cells > MAX_EARLY_CELLS {
                return Err("the values come long before the names of the metrics");
            }
            self.early.push(row);
            return Ok(());
        };
        for (n, cell) in row.values.iter().enumerate() {
            let found = match (names.get(n), cell) {
                (_, Cell::Null) => Found::Null,
                (None, _) => Found::Skipped("value_without_metric"),
                (_, Cell::Other) => Found::Skipped("not_a_number"),
                (Some(metric), Cell::Number(value)) => Found::Sample(Sample {
                    metric,
                    test,
                    node,
                    step: row.step.as_deref(),
                    hop: row.hop.as_deref(),
                    value: *value,
                    time,
                }),
            };
            if (self.sink)(found).is_break() {
                return Err(STOPPED);
            }
        }
        Ok(())
    }

    fn incomplete(&mut self, row: &Row) -> Result<(), &'static str> {
        self.lacking.any += 1;
        self.lacking.test += u64::from(row.test.is_none());
        self.lacking.node += u64::from(row.node.is_none());
        self.lacking.time += u64::from(row.time.is_none());
        match (self.sink)(Found::Skipped("row_without_test_node_or_time")) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(STOPPED),
        }
    }

    /// The end of one block of names and rows; the next block brings its own names.
    ///
    /// # Errors
    /// That rows came without any names.
    pub fn finish_block(&mut self) -> Result<(), &'static str> {
        if self.names.take().is_none() && !self.early.is_empty() {
            return Err("there are values, but no names of metrics");
        }
        Ok(())
    }

    /// Whether rows could be read, if there were any.
    ///
    /// # Errors
    /// Not one could: that is no data gone wrong, but a shape that is not known here.
    pub fn sound(&self) -> Result<(), String> {
        let Lacking {
            any,
            test,
            node,
            time,
        } = self.lacking;
        if any == 0 || self.complete {
            return Ok(());
        }
        Err(format!(
            "no row is complete: of {any}, the test is missing in {test}, the node in {node} and the time in {time}"
        ))
    }
}
