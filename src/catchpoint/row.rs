//! The rows of an answer, in the form that both versions of the API are read into.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::{LenientString, Raw, Values, read};

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
    /// When it ran, in seconds since the epoch.
    pub time: Option<i64>,
    /// One value for each metric.
    pub values: Values<'a>,
}

impl Block {
    /// Where these parts of a page stand in it.
    pub fn rows_of(page: &str, rows: Option<Vec<&RawValue>>) -> Vec<Range<u32>> {
        let begin = page.as_ptr().addr();
        let place = |row: &RawValue| {
            let row = row.get();
            let from = row.as_ptr().addr().checked_sub(begin)?;
            let (from, len) = (u32::try_from(from).ok()?, u32::try_from(row.len()).ok()?);
            Some(from..from.checked_add(len)?)
        };
        // All of them are parts of the page, which is far shorter than 4 GB.
        rows.unwrap_or_default()
            .into_iter()
            .filter_map(place)
            .collect()
    }
}

/// The names of an answer's metrics. One that has none takes its place, so that it costs only its
/// own values.
pub fn names(metrics: Raw<'_>) -> Vec<Option<String>> {
    #[derive(Deserialize)]
    struct Metric<'a> {
        #[serde(borrow)]
        name: Raw<'a>,
    }
    let metrics: Vec<Raw<'_>> = read(metrics).unwrap_or_default();
    let name = |metric| LenientString::read_or_none(read::<Metric<'_>>(metric)?.name);
    let name = |metric| Some(name(metric)?.into_owned());
    metrics.into_iter().map(name).collect()
}

/// The values of a row; none if there is something else in their place.
pub fn values(raw: Raw<'_>) -> Option<Values<'_>> {
    match raw {
        None => Some(Values::default()),
        list => Values::of(list),
    }
}
