//! The answers of API v1: LastRaw and ranged raw data.

use serde::Deserialize;

use super::answer::{Answer, complaint, must_be_one};
use super::body::{BodyError, json_error};
use super::lenient::{
    LenientString, LenientU64, Raw, epoch_second, epoch_second_up, present, read,
};
use super::row::{Block, Row, names, values};
use super::time_zone;
use crate::time_range::TimeRange;

#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    start: Option<Raw<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    end: Option<Raw<'a>>,
    #[serde(borrow)]
    timezone: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    detail: Option<Option<Detail<'a>>>,
    #[serde(borrow, alias = "Errors")]
    errors: Raw<'a>,
    #[serde(borrow, alias = "Error")]
    error: Raw<'a>,
    #[serde(borrow, alias = "Message")]
    message: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Detail<'a> {
    #[serde(borrow)]
    fields: Raw<'a>,
    #[serde(borrow)]
    items: Option<Vec<&'a serde_json::value::RawValue>>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    synthetic_metrics: Raw<'a>,
}

/// An item as v1 writes it. Its parts are read one by one, so that an odd one that is not used costs
/// nothing.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    synthetic_metrics: Raw<'a>,
    #[serde(borrow)]
    dimension: Raw<'a>,
    #[serde(borrow)]
    breakdown_1: Raw<'a>,
    #[serde(borrow)]
    breakdown_2: Raw<'a>,
    #[serde(borrow)]
    step: Raw<'a>,
    #[serde(borrow)]
    hop_number: Raw<'a>,
}

#[derive(Deserialize)]
struct Breakdown<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    name: Raw<'a>,
}

/// Reads an answer; its rows stay as they are.
///
/// # Errors
/// It is not JSON as a whole, not an answer, or in an unknown time zone.
pub fn read_answer(json: &str) -> Result<(Answer, Vec<Block>), BodyError> {
    let envelope: Option<Envelope<'_>> =
        serde_json::from_str(json).map_err(|error| json_error(&error))?;
    let envelope = envelope.unwrap_or_default();
    let mut answer = Answer {
        complaint: complaint([envelope.errors, envelope.error, envelope.message]),
        ..Answer::default()
    };
    if answer.complaint.is_some() {
        return Ok((answer, Vec::new()));
    }
    let (start, end) = (envelope.start, envelope.end);
    must_be_one(start.is_some() || end.is_some() || envelope.detail.is_some())?;
    let offset = time_zone::of_name(envelope.timezone)?;
    let start = LenientString::read_or_none(start.flatten());
    let end = LenientString::read_or_none(end.flatten());
    // Only whole seconds count as fetched, so the start is rounded up and the end down.
    let from = start.and_then(|text| epoch_second_up(&text, offset));
    let to = end.and_then(|text| epoch_second(&text, offset));
    let span = from.zip(to);
    answer.span = span.map(|(from, to)| TimeRange { from, to });
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
pub fn read_row<'a>(item: &'a str, offset: i64) -> Option<Row<'a>> {
    let item: Item<'_> = serde_json::from_str(item).ok()?;
    let id = |raw| LenientU64::read(read::<Breakdown<'_>>(raw)?.id).0;
    Some(Row {
        test: id(item.breakdown_1),
        node: id(item.breakdown_2),
        step: LenientString::read(item.step).ok()?.0,
        hop: LenientString::read(item.hop_number).ok()?.0,
        time: read::<Breakdown<'_>>(item.dimension).and_then(|dimension| dimension.time(offset)),
        values: values(item.synthetic_metrics)?,
    })
}

impl Breakdown<'_> {
    /// The time that a dimension holds: by its name, else by its id, which counts .NET ticks
    /// (100 ns since the year 1).
    fn time(&self, offset: i64) -> Option<i64> {
        const TICKS_A_SECOND: u64 = 10_000_000;
        const TICKS_AT_EPOCH: u64 = 621_355_968_000_000_000;
        let by_name = LenientString::read_or_none(self.name);
        by_name
            .and_then(|name| epoch_second(&name, offset))
            .or_else(|| {
                let ticks = LenientU64::read(self.id).0?.checked_sub(TICKS_AT_EPOCH)?;
                i64::try_from(ticks / TICKS_A_SECOND)
                    .ok()?
                    .checked_sub(offset)
            })
    }
}
