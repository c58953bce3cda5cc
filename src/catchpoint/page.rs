//! One page of an answer, whole and valid, and its rows as lines.
//!
//! A page is JSON from its first byte to its last before a row of it is used, so that nothing of a
//! broken page gets out. Its rows are read one by one, so that an odd one costs itself: it is
//! skipped and counted by reason.

use std::collections::BTreeMap;
use std::ops::Range;

use super::answer::{Answer, Block, Row};
use super::error::{CallError, Kind};
use super::lenient::{Json, MAX_ROW, Values, text};
use super::{v1, v2};
use crate::config::catchpoint::ApiVersion;
use crate::config::graphite::{GraphiteSettings, Label};
use crate::graphite::{self, Part, RowEncoder};
use crate::time_range::TimeRange;

/// Why rows and values are skipped, besides [`graphite::EncodeError`]: the names that they are
/// counted under.
const UNREADABLE_ROW: &str = "unreadable_row";
const INCOMPLETE_ROW: &str = "row_without_test_node_or_time";
const NO_METRIC: &str = "value_without_metric";
const NOT_A_NUMBER: &str = "not_a_number";

/// A page that was read to its end.
#[derive(Debug, Clone)]
pub struct Page {
    /// What it says besides its rows.
    pub answer: Answer,
    json: String,
    version: ApiVersion,
    blocks: Vec<Block>,
}

/// What the rows of a page come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values that are measured.
    pub samples: u64,
    /// Values that are null: not measured in this run.
    pub nulls: u64,
    /// Rows and values that cannot be lines, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Rows without the name that a label is to hold: their series lack that label.
    pub unlabelled: u64,
    /// Rows that have a test, a node and a time.
    pub rows: u64,
    /// The epoch seconds of these, summed up.
    pub row_seconds: i64,
}

impl Counts {
    pub(super) fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// It is not a whole answer, or not one of its rows has what a row must have.
    pub fn read(version: ApiVersion, text: String) -> Result<Self, CallError> {
        let (answer, blocks) = match version {
            ApiVersion::V1 => v1::read_answer(&text)?,
            ApiVersion::Explorer(_) => v2::read_answer(&text)?,
        };
        let page = Self {
            answer,
            json: text,
            version,
            blocks,
        };
        page.must_be_known()?;
        Ok(page)
    }

    /// A page without data: HTTP 204.
    pub fn empty(version: ApiVersion) -> Self {
        Self {
            answer: Answer::default(),
            json: String::new(),
            version,
            blocks: Vec::new(),
        }
    }

    /// How many rows or tests there are.
    pub fn rows(&self) -> usize {
        let rows = self.blocks.iter().map(|block| block.rows.len());
        rows.sum::<usize>() + self.answer.listed.len()
    }

    /// The rows or tests as they stand.
    pub fn rows_text(&self) -> impl Iterator<Item = &str> {
        let places = self.blocks.iter().flat_map(|block| &block.rows);
        let places = places.chain(&self.answer.listed);
        places.filter_map(|place| self.text_of(place))
    }

    fn text_of(&self, place: &Range<u32>) -> Option<&str> {
        self.json.get(place.start as usize..place.end as usize)
    }

    /// The lines of all rows, with the names and labels that the settings ask for. `test_type` is what
    /// the tests are listed under.
    pub fn lines<'p>(&'p self, names: &'p GraphiteSettings, test_type: &'p str) -> Lines<'p> {
        Lines {
            page: self,
            names,
            test_type,
            blocks: self.blocks.iter(),
            block: None,
            values: Values::default(),
            metric: 0,
            row: RowEncoder::default(),
            counts: Counts::default(),
            times: None,
        }
    }

    /// What a row says.
    fn row(&self, block: &Block, place: &Range<u32>) -> Option<Row<'_>> {
        let row = self.text_of(place).filter(|row| row.len() <= MAX_ROW)?;
        let row = Json(row);
        match self.version {
            ApiVersion::V1 => v1::read_row(row, block.offset),
            ApiVersion::Explorer(_) => v2::read_row(row, &block.dimensions, block.offset),
        }
    }

    /// If none of the rows has a test, a node, a time and names for its values, then that is not odd
    /// data, but a form that is not known here.
    fn must_be_known(&self) -> Result<(), CallError> {
        let (mut rows, mut missing, mut nameless) = (0, [0; 3], false);
        for block in &self.blocks {
            for mut row in block.rows.iter().filter_map(|row| self.row(block, row)) {
                if block.names.is_empty() && row.values.next().is_some() {
                    nameless = true;
                    continue;
                }
                let lacks = [row.test.is_none(), row.node.is_none(), row.time.is_none()];
                if lacks == [false; 3] {
                    return Ok(());
                }
                rows += 1;
                for (count, lacks) in missing.iter_mut().zip(lacks) {
                    *count += u32::from(lacks);
                }
            }
        }
        let [tests, nodes, times] = missing;
        let what = match (nameless, rows) {
            (true, _) => "there are values, but no names of metrics".to_owned(),
            (false, 0) => return Ok(()),
            _ => format!(
                "no row is complete: of {rows}, the test is missing in {tests}, the node in {nodes} and the time in {times}"
            ),
        };
        Err(CallError::new(Kind::Shape, what))
    }
}

/// The lines of a page, written piece by piece.
pub struct Lines<'p> {
    page: &'p Page,
    names: &'p GraphiteSettings,
    test_type: &'p str,
    blocks: std::slice::Iter<'p, Block>,
    block: Option<OpenBlock<'p>>,
    row: RowEncoder,
    values: Values<'p>,
    /// The place of the next value in the row.
    metric: usize,
    counts: Counts,
    times: Option<TimeRange>,
}

/// The block whose rows are being written.
struct OpenBlock<'p> {
    block: &'p Block,
    rows: std::slice::Iter<'p, Range<u32>>,
    /// The names of the series, in the order of the values.
    series: Vec<Option<Part>>,
}

impl<'p> Lines<'p> {
    /// Appends lines until there are `full` bytes; returns whether there are more lines.
    pub fn fill(&mut self, out: &mut Vec<u8>, full: usize) -> bool {
        loop {
            while let Some(value) = self.values.next() {
                self.write(value.0, out);
                self.metric += 1;
                if out.len() >= full {
                    return true;
                }
            }
            if !self.begin_row() {
                return false;
            }
        }
    }

    /// What was found so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// From the first time of a row to the last so far, if there was one.
    pub fn times(&self) -> Option<TimeRange> {
        self.times
    }

    /// Goes on to the next row that can be read; false at the end of the page.
    fn begin_row(&mut self) -> bool {
        loop {
            let Some(open) = &mut self.block else {
                let Some(block) = self.blocks.next() else {
                    return false;
                };
                let (prefix, slugs) = (&self.names.metric_prefix, self.names.slug_names);
                let series = graphite::all_series(prefix, &block.names, slugs).into_iter();
                self.block = Some(OpenBlock {
                    block,
                    rows: block.rows.iter(),
                    series: series.map(|name| name.map(Part::new)).collect(),
                });
                continue;
            };
            let Some(place) = open.rows.next() else {
                self.block = None;
                continue;
            };
            let Some(row) = self.page.row(open.block, place) else {
                self.counts.skip(UNREADABLE_ROW);
                continue;
            };
            let (Some(test), Some(node), Some(time)) = (row.test, row.node, row.time) else {
                self.counts.skip(INCOMPLETE_ROW);
                continue;
            };
            let own = TimeRange {
                from: time,
                to: time.saturating_add(1),
            };
            self.times = Some(self.times.map_or(own, |times| times.and(own)));
            self.counts.rows += 1;
            self.counts.row_seconds = self.counts.row_seconds.saturating_add(time);
            let (step, hop) = (row.step.as_deref(), row.hop.as_deref());
            self.row.begin(test, node, step, hop, time);
            for label in &self.names.labels {
                let name = match label {
                    Label::TestName => text(row.test_name),
                    Label::NodeName => text(row.node_name),
                    Label::TestType => Some(self.test_type.into()),
                    // Most tests have no steps.
                    Label::StepName if step.is_none() => continue,
                    Label::StepName => text(row.step_name),
                };
                let is_there = self.row.label(*label, &name.unwrap_or_default());
                self.counts.unlabelled += u64::from(!is_there);
            }
            self.values = row.values;
            self.metric = 0;
            return true;
        }
    }

    fn write(&mut self, value: &str, out: &mut Vec<u8>) {
        if value == "null" {
            self.counts.nulls += 1;
            return;
        }
        let series = self
            .block
            .as_ref()
            .and_then(|open| open.series.get(self.metric));
        let Some(series) = series else {
            self.counts.skip(NO_METRIC);
            return;
        };
        let text;
        let number = match value.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => Some(value),
            // The original sent a text as it was, and carbon takes one that reads as a number.
            Some(b'"') => {
                text = number_in(value);
                text.as_deref()
            }
            _ => None,
        };
        let Some(number) = number else {
            self.counts.skip(NOT_A_NUMBER);
            return;
        };
        self.counts.samples += 1;
        if let Err(error) = self.row.write(series.as_ref(), number, out) {
            self.counts.skip(error.name());
        }
    }
}

/// The number that a JSON text holds.
fn number_in(text: &str) -> Option<String> {
    let text: String = serde_json::from_str(text).ok()?;
    let number = text.trim();
    serde_json::from_str::<f64>(number).ok()?;
    Some(number.to_owned())
}

#[cfg(test)]
mod tests;
