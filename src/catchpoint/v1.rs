//! The answers of API v1: the token, LastRaw and ranged raw data.

use std::io::Read;

use serde::Deserialize;
use serde::de::{Error, MapAccess};

use super::answer::{Answer, is_complaint};
use super::body::{BodyError, read_object};
use super::json::{Each, Into, Object, skip};
use super::row::{Row, Rows, Sink};
use super::value::{Cell, Names, Text, Whole};
use crate::time_range::TimeRange;

/// Reads a LastRaw or ranged answer, handing out its samples as they come.
///
/// # Errors
/// See [`BodyError`]; samples handed out before it are sound.
pub fn read(body: impl Read, sink: &mut Sink<'_>) -> Result<Answer, BodyError> {
    let mut top = Top {
        answer: Answer::default(),
        start: None,
        end: None,
        has_data: false,
        rows: Rows::new(sink),
    };
    read_object(body, &mut top)?;
    top.answer.span = top
        .start
        .zip(top.end)
        .map(|(from, to)| TimeRange { from, to });
    top.answer.sound(top.has_data, top.rows.sound())
}

struct Top<'s, 'f> {
    answer: Answer,
    start: Option<i64>,
    end: Option<i64>,
    /// It has one of the keys that every answer to a query has. Without results, `detail` is null
    /// or missing.
    has_data: bool,
    rows: Rows<'s, 'f>,
}

struct Detail<'r, 's, 'f>(&'r mut Rows<'s, 'f>);

struct Fields<'r, 's, 'f>(&'r mut Rows<'s, 'f>);

impl<'de> Object<'de> for Top<'_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        self.has_data |= matches!(key, "start" | "end" | "detail");
        match key {
            "start" => self.start = map.next_value::<Text>()?.time(),
            "end" => self.end = map.next_value::<Text>()?.time(),
            "detail" => map.next_value_seed(Into(&mut Detail(&mut self.rows)))?,
            _ if is_complaint(key) => self.answer.read_complaint(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Object<'de> for Detail<'_, '_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "fields" => map.next_value_seed(Into(&mut Fields(self.0))),
            "items" => map.next_value_seed(Each::new(|item: Item| self.0.row(item.into_row()))),
            _ => skip(map),
        }
    }

    fn end(&mut self) -> Result<(), &'static str> {
        self.0.finish_block()
    }
}

impl<'de> Object<'de> for Fields<'_, '_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if key != "synthetic_metrics" {
            return skip(map);
        }
        let names: Names = map.next_value()?;
        self.0.names(names).map_err(A::Error::custom)
    }
}

/// An item as v1 writes it. Everything is optional here, so that an item that lacks something costs
/// only itself.
#[derive(Deserialize)]
struct Item {
    synthetic_metrics: Option<Vec<Cell>>,
    dimension: Option<Breakdown>,
    breakdown_1: Option<Breakdown>,
    breakdown_2: Option<Breakdown>,
    #[serde(default)]
    step: Text,
    #[serde(default)]
    hop_number: Text,
}

#[derive(Deserialize)]
struct Breakdown {
    #[serde(default)]
    id: Whole,
    #[serde(default)]
    name: Text,
}

impl Item {
    fn into_row(self) -> Row {
        let id = |breakdown: Option<Breakdown>| breakdown?.id.0;
        Row {
            test: id(self.breakdown_1),
            node: id(self.breakdown_2),
            step: self.step.0,
            hop: self.hop_number.0,
            time: self.dimension.and_then(|dimension| dimension.time()),
            values: self.synthetic_metrics.unwrap_or_default(),
        }
    }
}

impl Breakdown {
    /// The time that a dimension holds: by its name, else by its id, which counts .NET ticks
    /// (100 ns since the year 1).
    fn time(&self) -> Option<i64> {
        const TICKS_A_SECOND: u64 = 10_000_000;
        const TICKS_AT_EPOCH: u64 = 621_355_968_000_000_000;
        self.name.time().or_else(|| {
            let ticks = self.id.0?.checked_sub(TICKS_AT_EPOCH)?;
            i64::try_from(ticks / TICKS_A_SECOND).ok()
        })
    }
}
