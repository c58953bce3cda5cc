//! The answers of API v1: the token, LastRaw and ranged raw data.

use std::io::Read;

use serde::Deserialize;
use serde::de::{Error, MapAccess};

use super::body::{BodyError, read_object};
use super::json::{Each, Into, Object, skip};
use super::row::{Cell, Id, Row, Rows, Sink, Text, epoch_second};
use super::said::{is_complaint, read_complaint};

/// What an answer said besides its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Begin of the window, in epoch seconds.
    pub start: Option<i64>,
    /// End of the window, in epoch seconds.
    pub end: Option<i64>,
    /// What the API complained of, in an answer that HTTP calls a success.
    pub complaint: Option<String>,
}

/// Reads a LastRaw or ranged answer, handing out its samples as they come.
///
/// # Errors
/// See [`BodyError`]; samples handed out before it are sound.
pub fn read(body: impl Read, sink: &mut Sink<'_>) -> Result<Answer, BodyError> {
    let mut top = Top {
        answer: Answer::default(),
        detail: Detail {
            rows: Rows::new(sink),
        },
    };
    read_object(body, &mut top)?;
    Ok(top.answer)
}

struct Top<'s, 'f> {
    answer: Answer,
    detail: Detail<'s, 'f>,
}

struct Detail<'s, 'f> {
    rows: Rows<'s, 'f>,
}

struct Fields<'r, 's, 'f>(&'r mut Rows<'s, 'f>);

impl<'de> Object<'de> for Top<'_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "start" => {
                self.answer.start = map
                    .next_value::<Text>()?
                    .0
                    .as_deref()
                    .and_then(epoch_second)
            }
            "end" => {
                self.answer.end = map
                    .next_value::<Text>()?
                    .0
                    .as_deref()
                    .and_then(epoch_second)
            }
            "detail" => map.next_value_seed(Into(&mut self.detail))?,
            _ if is_complaint(key) => read_complaint(map, &mut self.answer.complaint)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Object<'de> for Detail<'_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "fields" => map.next_value_seed(Into(&mut Fields(&mut self.rows))),
            "items" => map.next_value_seed(Each::new(|item: Item| match item.into_row() {
                Some(row) => self.rows.row(row),
                None => self.rows.incomplete(),
            })),
            _ => skip(map),
        }
    }

    fn end(&mut self) -> Result<(), &'static str> {
        self.rows.finish_block()
    }
}

impl<'de> Object<'de> for Fields<'_, '_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if key != "synthetic_metrics" {
            return skip(map);
        }
        let metrics: Option<Vec<Metric>> = map.next_value()?;
        let names = metrics
            .unwrap_or_default()
            .into_iter()
            .map(|metric| metric.name);
        self.0.names(names.collect()).map_err(A::Error::custom)
    }
}

#[derive(Deserialize)]
struct Metric {
    name: String,
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
    id: Option<Id>,
    #[serde(default)]
    name: Text,
}

impl Item {
    fn into_row(self) -> Option<Row> {
        let id = |breakdown: Option<Breakdown>| breakdown?.id?.0;
        Some(Row {
            test: id(self.breakdown_1)?,
            node: id(self.breakdown_2)?,
            step: self.step.0,
            hop: self.hop_number.0,
            time: self.dimension?.time()?,
            values: self.synthetic_metrics.unwrap_or_default(),
        })
    }
}

impl Breakdown {
    /// The time that a dimension holds: by its name, else by its id, which counts .NET ticks
    /// (100 ns since the year 1).
    fn time(&self) -> Option<i64> {
        const TICKS_A_SECOND: u64 = 10_000_000;
        const TICKS_AT_EPOCH: u64 = 621_355_968_000_000_000;
        let by_name = self.name.0.as_deref().and_then(epoch_second);
        by_name.or_else(|| {
            let ticks = self.id?.0?.checked_sub(TICKS_AT_EPOCH)?;
            i64::try_from(ticks / TICKS_A_SECOND).ok()
        })
    }
}
