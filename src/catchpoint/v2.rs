//! The answers of API v2 and later: raw data of the test explorer.

use std::borrow::Cow;

use serde::Deserialize;

use super::answer::{Answer, Block, Row, names, parse, values};
use super::error::CallError;
use super::lenient::{
    Json, MAX_ROW, Named, Part, Raw, epoch_second, fields, flag, present, read, rows, text,
    whole_number,
};
use super::time_zone;
use crate::time_range::TimeRange;

/// Ids of the dimensions that we know, from the vendor's OpenAPI document.
const NODE: u64 = 1;
const STEP: u64 = 6;
const TEST: u64 = 16;
const TIME: u64 = 17;
const STEP_NAME: u64 = 23;
const HOP_NUMBER: u64 = 90;

#[derive(Default, Deserialize)]
#[serde(expecting = "an object", rename_all = "camelCase")]
#[serde(bound(deserialize = "'de: 'a"))]
struct Envelope<'a> {
    #[serde(default, deserialize_with = "present")]
    data: Option<Option<Data<'a>>>,
    #[serde(alias = "Errors")]
    errors: Raw<'a>,
    /// `error` and `message` are a gateway's own, in v1's manner.
    #[serde(alias = "Error")]
    error: Raw<'a>,
    #[serde(alias = "Message")]
    message: Raw<'a>,
    completed: Raw<'a>,
    usage_limits: Raw<'a>,
    #[serde(rename = "timeZoneOffSet", alias = "timeZoneOffset")]
    offset: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object", rename_all = "camelCase")]
#[serde(bound(deserialize = "'de: 'a"))]
struct Data<'a> {
    #[serde(default, deserialize_with = "rows")]
    response_items: Option<Vec<Option<Group<'a>>>>,
    tests: Option<Vec<Json<'a>>>,
    has_more: Raw<'a>,
    next: Raw<'a>,
    #[serde(rename = "timeZoneOffSet", alias = "timeZoneOffset")]
    offset: Raw<'a>,
}

/// Results with the same metrics.
#[derive(Deserialize)]
#[serde(expecting = "an object", rename_all = "camelCase")]
#[serde(bound(deserialize = "'de: 'a"))]
struct Group<'a> {
    start_time_utc: Raw<'a>,
    end_time_utc: Raw<'a>,
    has_more_records: Raw<'a>,
    dimensions: Raw<'a>,
    metrics: Raw<'a>,
    #[serde(default, deserialize_with = "rows")]
    items: Option<Vec<Json<'a>>>,
    #[serde(rename = "timeZoneOffSet", alias = "timeZoneOffset")]
    offset: Raw<'a>,
}

impl Part for Option<Group<'_>> {
    fn rows(&self) -> usize {
        let (items, metrics) = self.as_ref().map_or((0, 0), |group| {
            let metrics = group.metrics.map_or(0, |metrics| metrics.0.len());
            (group.items.as_ref().map_or(0, Vec::len), metrics)
        });
        // What the group itself takes, and the names of its metrics at least.
        32 + items + metrics / 8
    }
}

/// Reads one page; its rows stay as they are.
///
/// # Errors
/// It is not JSON as a whole, not an answer, or in an unknown time zone.
pub fn read_answer(json: &str) -> Result<(Answer, Vec<Block>), CallError> {
    let envelope: Envelope<'_> = parse(json)?;
    let is_incomplete = flag(envelope.completed) == Some(false);
    let complaints = [envelope.errors, envelope.error, envelope.message];
    let mut answer = Answer::new(complaints, is_incomplete || envelope.data.is_some())?;
    let usage = envelope.usage_limits;
    answer.usage = read(usage.filter(|usage| usage.0.len() <= MAX_ROW));
    if is_incomplete && answer.complaint.is_none() {
        let what = "the query was not completed, without a reason given";
        answer.complaint = Some(what.to_owned());
    }
    if answer.complaint.is_some() {
        return Ok((answer, Vec::new()));
    }
    let Some(data) = envelope.data.flatten() else {
        return Ok((answer, Vec::new()));
    };
    let next = text(data.next).map(|next| next.trim().to_owned());
    answer.next = next.filter(|next| !next.is_empty());
    answer.has_more = flag(data.has_more).unwrap_or(answer.next.is_some());
    answer.listed = Block::rows_of(json, data.tests);
    let mut blocks = Vec::new();
    for group in data.response_items.into_iter().flatten().flatten() {
        answer.has_more |= flag(group.has_more_records).unwrap_or(false);
        let second = |raw| epoch_second(&text(raw)?, 0);
        let said = second(group.start_time_utc).zip(second(group.end_time_utc));
        let said = said.map(|(from, to)| TimeRange { from, to });
        answer.span = answer.span.into_iter().chain(said).reduce(TimeRange::and);
        let offset = group.offset.or(data.offset).or(envelope.offset);
        blocks.push(Block {
            names: names(group.metrics),
            dimensions: kinds(group.dimensions),
            offset: time_zone::of_offset(offset)?,
            rows: Block::rows_of(json, group.items),
        });
    }
    Ok((answer, blocks))
}

/// Reads one item; none if it cannot be read. `kinds` are the dimensions of the header: an item's
/// dimension without a type is the one at its place there.
pub fn read_row<'a>(item: Json<'a>, kinds: &[Option<u64>], offset: i64) -> Option<Row<'a>> {
    let names = ["dateTime", "reportDate", "values", "dimensions"];
    let [date_time, report_date, metrics, dimensions] = fields(item, names)?;
    let time = |raw| epoch_second(&text(raw)?, offset);
    let mut row = Row {
        test: None,
        node: None,
        step: None,
        hop: None,
        test_name: None,
        node_name: None,
        step_name: None,
        time: time(date_time).or_else(|| time(report_date)),
        values: values(metrics)?,
    };
    let dimensions = values(dimensions).unwrap_or_default();
    for (place, dimension) in dimensions.enumerate() {
        let Some(dimension) = Named::of(Some(dimension)) else {
            continue;
        };
        let id = whole_number(dimension.id);
        let by_place = || kinds.get(place).copied().flatten();
        match kind(dimension.kind).or_else(by_place) {
            Some(TEST) => (row.test, row.test_name) = (id, dimension.name),
            Some(NODE) => (row.node, row.node_name) = (id, dimension.name),
            Some(STEP_NAME) => row.step_name = dimension.name,
            Some(STEP) => row.step = ordinal(&dimension),
            Some(HOP_NUMBER) => row.hop = ordinal(&dimension),
            Some(TIME) => row.time = row.time.or_else(|| time(dimension.name)),
            _ => {}
        }
    }
    Some(row)
}

/// The types of a header's dimensions.
fn kinds(header: Raw<'_>) -> Vec<Option<u64>> {
    let header = header.filter(|header| header.0.len() <= MAX_ROW);
    let header = values(header).unwrap_or_default();
    header.map(|dimension| kind(Some(dimension))).collect()
}

/// The id of a dimension's type: `{"id":16,"name":"Test"}`, or the id alone.
fn kind(raw: Raw<'_>) -> Option<u64> {
    let by_id = Named::of(raw).and_then(|kind| whole_number(kind.id));
    by_id.or_else(|| whole_number(raw))
}

/// The number of a step or hop. v1 writes it as a text of digits; where v2 has it is not documented, so
/// a name of digits wins over the id.
fn ordinal<'a>(dimension: &Named<'a>) -> Option<Cow<'a, str>> {
    let digits = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let name = text(dimension.name).filter(|name| digits(name));
    name.or_else(|| Some(whole_number(dimension.id)?.to_string().into()))
}
