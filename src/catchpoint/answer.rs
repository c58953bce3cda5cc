//! An answer in the form that both versions of the API are read into: what it says, and its rows.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;
use serde_json::error::Category;

use super::complaint::{title, words};
use super::error::{CallError, Kind};
use super::lenient::{self, Json, MAX_ROW, Named, Raw, TOO_MANY_ROWS, Values, read};
use crate::host::body::excerpt;
use crate::time_range::TimeRange;

/// What an answer says besides its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the API complains of, in an answer that HTTP calls a success.
    pub complaint: Option<String>,
    /// The time range that it covers, as it says itself.
    pub span: Option<TimeRange>,
    /// Where the next page is, if it says so.
    pub next: Option<String>,
    /// There is more, as it says itself.
    pub has_more: bool,
    /// How many calls were made and are allowed, as Catchpoint counts.
    pub usage: Option<Value>,
    /// Where the tests of a list stand in the page.
    pub listed: Vec<Range<u32>>,
}

/// Rows with the same metrics.
#[derive(Debug, Clone)]
pub struct Block {
    /// The metrics, in the order of the values; one without a name keeps its place.
    pub names: Vec<Option<String>>,
    /// v2: the types of the dimensions, in the header's order.
    pub dimensions: Vec<Option<u64>>,
    /// How many seconds the times are ahead of UTC.
    pub offset: i64,
    /// Where the rows stand in the page.
    pub rows: Vec<Range<u32>>,
}

/// The values of one test run on one node (of one step or hop).
pub struct Row<'a> {
    /// The test's id.
    pub test: Option<u64>,
    /// The node's id.
    pub node: Option<u64>,
    /// The step of a transaction.
    pub step: Option<Cow<'a, str>>,
    /// The hop of a traceroute.
    pub hop: Option<Cow<'a, str>>,
    /// The test's name.
    pub test_name: Raw<'a>,
    /// The node's name.
    pub node_name: Raw<'a>,
    /// The step's name.
    pub step_name: Raw<'a>,
    /// When it ran, in seconds since the epoch.
    pub time: Option<i64>,
    /// One value for each metric.
    pub values: Values<'a>,
}

/// Reads the outline of a page.
///
/// # Errors
/// It is a web page, not JSON as a whole, or of another form.
pub fn parse<'a, T: Deserialize<'a> + Default>(page: &'a str) -> Result<T, CallError> {
    if let Some(title) = title(page) {
        let what = format!("the answer is a web page{title}, not JSON");
        return Err(CallError::new(Kind::Html, what));
    }
    let parsed: Result<Option<T>, _> = serde_json::from_str(page);
    parsed.map(Option::unwrap_or_default).map_err(|error| {
        if error.to_string().contains(TOO_MANY_ROWS) {
            return CallError::new(Kind::TooLarge, TOO_MANY_ROWS);
        }
        let kind = match error.classify() {
            Category::Io | Category::Eof => Kind::Truncated,
            Category::Syntax => Kind::Syntax,
            Category::Data => Kind::Shape,
        };
        CallError::new(kind, excerpt(&error.to_string()))
    })
}

impl Answer {
    /// An answer with the first of these values that is a complaint.
    ///
    /// # Errors
    /// There is no complaint, nor any key of an answer. A JSON object of another kind, from a proxy or
    /// a portal under maintenance, would otherwise pass for a time without results.
    pub fn new(complaints: [Raw<'_>; 3], is_answer: bool) -> Result<Self, CallError> {
        let mut complaints = complaints.into_iter().flatten();
        let complaint = complaints.find_map(|raw| match raw.0 {
            // As a tree it would take many times its bytes.
            long if long.len() > MAX_ROW => Some(long.chars().take(200).collect()),
            _ => words(&read::<Value>(Some(raw))?),
        });
        if complaint.is_none() && !is_answer {
            let what = "it holds neither data nor an error";
            return Err(CallError::new(Kind::Shape, what));
        }
        Ok(Self {
            complaint,
            ..Self::default()
        })
    }
}

impl Block {
    /// Where these parts of a page stand in it.
    pub fn rows_of(page: &str, rows: Option<Vec<Json<'_>>>) -> Vec<Range<u32>> {
        let begin = page.as_ptr().addr();
        let place = |row: Json<'_>| {
            let row = row.0;
            let from = row.as_ptr().addr().checked_sub(begin)?;
            let (from, len) = (u32::try_from(from).ok()?, u32::try_from(row.len()).ok()?);
            Some(from..from.checked_add(len)?)
        };
        // All of them are parts of the page, which is far shorter than 4 GB.
        let rows = rows.unwrap_or_default();
        rows.into_iter().filter_map(place).collect()
    }
}

/// The names of an answer's metrics. One that has none takes its place, so that it costs only its
/// own values.
pub fn names(metrics: Raw<'_>) -> Vec<Option<String>> {
    let metrics = metrics.filter(|metrics| metrics.0.len() <= MAX_ROW);
    let name = |metric| Some(lenient::text(Named::of(Some(metric))?.name)?.into_owned());
    values(metrics).unwrap_or_default().map(name).collect()
}

/// The values of a row; none if there is something else in their place.
pub fn values(list: Raw<'_>) -> Option<Values<'_>> {
    list.map_or_else(|| Some(Values::default()), Values::of)
}
