//! The answers of API v1: LastRaw and ranged raw data.

use serde::Deserialize;

use super::answer::{Answer, Block, Row, names, parse, values};
use super::error::CallError;
use super::lenient::{
    Json, Named, Raw, epoch_second, epoch_second_up, fields, present, read, rows, text,
    text_or_nothing, whole_number,
};
use super::time_zone;
use crate::time_range::TimeRange;

#[derive(Default, Deserialize)]
#[serde(expecting = "an object", bound(deserialize = "'de: 'a"))]
struct Envelope<'a> {
    #[serde(default, deserialize_with = "present")]
    start: Raw<'a>,
    #[serde(default, deserialize_with = "present")]
    end: Raw<'a>,
    timezone: Raw<'a>,
    #[serde(default, deserialize_with = "present")]
    detail: Option<Option<Detail<'a>>>,
    #[serde(alias = "Errors")]
    errors: Raw<'a>,
    #[serde(alias = "Error")]
    error: Raw<'a>,
    #[serde(alias = "Message")]
    message: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object", bound(deserialize = "'de: 'a"))]
struct Detail<'a> {
    fields: Raw<'a>,
    #[serde(default, deserialize_with = "rows")]
    items: Option<Vec<Json<'a>>>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    synthetic_metrics: Raw<'a>,
}

/// Reads an answer; its rows stay as they are.
///
/// # Errors
/// It is not JSON as a whole, not an answer, or in an unknown time zone.
pub fn read_answer(json: &str) -> Result<(Answer, Vec<Block>), CallError> {
    let envelope: Envelope<'_> = parse(json)?;
    let (start, end) = (envelope.start, envelope.end);
    let is_answer = start.is_some() || end.is_some() || envelope.detail.is_some();
    let complaints = [envelope.errors, envelope.error, envelope.message];
    let mut answer = Answer::new(complaints, is_answer)?;
    if answer.complaint.is_some() {
        return Ok((answer, Vec::new()));
    }
    let offset = time_zone::of_name(envelope.timezone)?;
    // Only whole seconds count as fetched, so the start is rounded up and the end down.
    let from = text(start).and_then(|text| epoch_second_up(&text, offset));
    let to = text(end).and_then(|text| epoch_second(&text, offset));
    answer.span = from.zip(to).map(|(from, to)| TimeRange { from, to });
    let Some(detail) = envelope.detail.flatten() else {
        return Ok((answer, Vec::new()));
    };
    let fields = read::<Fields<'_>>(detail.fields);
    let block = Block {
        names: names(fields.and_then(|fields| fields.synthetic_metrics)),
        dimensions: Vec::new(),
        offset,
        rows: Block::rows_of(json, detail.items),
    };
    Ok((answer, vec![block]))
}

/// Reads one item; none if it cannot be read.
pub fn read_row<'a>(item: Json<'a>, offset: i64) -> Option<Row<'a>> {
    let names = [
        "synthetic_metrics",
        "dimension",
        "breakdown_1",
        "breakdown_2",
        "step",
        "hop_number",
    ];
    let [metrics, dimension, test, node, step, hop] = fields(item, names)?;
    let id_and_name = |json| {
        let named = Named::of(json);
        named.map_or((None, None), |named| (whole_number(named.id), named.name))
    };
    let (test, test_name) = id_and_name(test);
    let (node, node_name) = id_and_name(node);
    Some(Row {
        test,
        node,
        test_name,
        node_name,
        step_name: None,
        step: text_or_nothing(step)?,
        hop: text_or_nothing(hop)?,
        time: Named::of(dimension).and_then(|dimension| time(&dimension, offset)),
        values: values(metrics)?,
    })
}

/// The time that a dimension holds: by its name, else by its id, which counts .NET ticks (100 ns since
/// the year 1).
fn time(dimension: &Named<'_>, offset: i64) -> Option<i64> {
    const TICKS_A_SECOND: u64 = 10_000_000;
    const TICKS_AT_EPOCH: u64 = 621_355_968_000_000_000;
    let by_name = text(dimension.name).and_then(|name| epoch_second(&name, offset));
    by_name.or_else(|| {
        let ticks = whole_number(dimension.id)?.checked_sub(TICKS_AT_EPOCH)?;
        let seconds = i64::try_from(ticks / TICKS_A_SECOND).ok()?;
        seconds.checked_sub(offset)
    })
}
