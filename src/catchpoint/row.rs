//! One row of an answer, the same for both API versions, and how rows become samples.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

use chrono::{DateTime, NaiveDateTime};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::sample::Sample;

/// The values of one test run on one node (of one step or hop), by position.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The test's id.
    pub test: u64,
    /// The node's id.
    pub node: u64,
    /// The step of a transaction.
    pub step: Option<String>,
    /// The hop of a traceroute.
    pub hop: Option<String>,
    /// When it ran, in seconds since the epoch.
    pub time: i64,
    /// One cell for each of the answer's metrics.
    pub values: Vec<Cell>,
}

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// A number.
    Number(f64),
    /// Nothing was measured.
    Null,
    /// Something that is no number.
    Other,
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
    sink: &'s mut Sink<'f>,
}

impl<'s, 'f> Rows<'s, 'f> {
    /// No names and no rows yet.
    pub fn new(sink: &'s mut Sink<'f>) -> Self {
        Self {
            names: None,
            early: Vec::new(),
            early_cells: 0,
            sink,
        }
    }

    /// The metric names have come, in the order of the values.
    ///
    /// # Errors
    /// [`STOPPED`].
    pub fn names(&mut self, names: Vec<String>) -> Result<(), &'static str> {
        self.names = Some(names);
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
                    test: row.test,
                    node: row.node,
                    step: row.step.as_deref(),
                    hop: row.hop.as_deref(),
                    value: *value,
                    time: row.time,
                }),
            };
            if (self.sink)(found).is_break() {
                return Err(STOPPED);
            }
        }
        Ok(())
    }

    /// A row that lacks its test, node or time.
    ///
    /// # Errors
    /// [`STOPPED`].
    pub fn incomplete(&mut self) -> Result<(), &'static str> {
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
}

/// The epoch second of a time as Catchpoint writes it: with any number of fractional digits, which
/// are cut off, and UTC if it names no zone.
pub fn epoch_second(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp());
    }
    NaiveDateTime::parse_from_str(text.trim(), "%Y-%m-%dT%H:%M:%S%.f")
        .ok()
        .map(|time| time.and_utc().timestamp())
}

/// An id: a number, or a text of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub Option<u64>);

/// A number or a text, as a text; anything else is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub Option<String>);

/// Reads any scalar and tells what it was.
enum Scalar<'a> {
    Unsigned(u64),
    Number(f64),
    Text(Cow<'a, str>),
    Null,
    Other,
}

impl<'de> Deserialize<'de> for Scalar<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'static>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Other)
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                // Beyond 2^53 the nearest f64, as every JSON reader of the field does.
                Ok(Scalar::Number(number as f64))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Unsigned(number))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Scalar::deserialize(deserializer)? {
            Scalar::Unsigned(number) => Self::Number(number as f64),
            Scalar::Number(number) => Self::Number(number),
            Scalar::Null => Self::Null,
            Scalar::Text(_) | Scalar::Other => Self::Other,
        })
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Scalar::deserialize(deserializer)? {
            Scalar::Unsigned(number) => Some(number),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Number(_) | Scalar::Null | Scalar::Other => None,
        }))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Scalar::deserialize(deserializer)? {
            Scalar::Unsigned(number) => Some(number.to_string()),
            Scalar::Number(number) => Some(number.to_string()),
            Scalar::Text(text) => Some(text.into_owned()),
            Scalar::Null | Scalar::Other => None,
        }))
    }
}
