//! The answers of API v2: raw data of the test explorer.

use std::io::Read;

use serde::Deserialize;
use serde::de::{Error, MapAccess};

use super::answer::{Answer, UsageLimits, is_complaint};
use super::body::{BodyError, read_object};
use super::json::{Each, Into, IntoEach, Object, skip};
use super::row::{Row, Rows, Sink};
use super::value::{Cell, Names, Text, Whole};

/// Ids of the dimensions that we know, from the vendor's OpenAPI document.
const NODE: u64 = 1;
const STEP: u64 = 6;
const TEST: u64 = 16;
const HOP_NUMBER: u64 = 90;

/// Reads one page, handing out its samples as they come.
///
/// # Errors
/// See [`BodyError`]; samples handed out before it are sound.
pub fn read(body: impl Read, sink: &mut Sink<'_>) -> Result<Answer, BodyError> {
    let mut top = Top {
        answer: Answer::default(),
        completed: true,
        has_data: false,
        rows: Rows::new(sink),
    };
    read_object(body, &mut top)?;
    if !top.completed && top.answer.complaint.is_none() {
        top.answer.complaint =
            Some("the query was not completed, without a reason given".to_owned());
    }
    top.answer.sound(top.has_data, top.rows.sound())
}

struct Top<'s, 'f> {
    answer: Answer,
    completed: bool,
    /// It has the key that every answer to a query has.
    has_data: bool,
    rows: Rows<'s, 'f>,
}

struct Data<'t, 's, 'f>(&'t mut Top<'s, 'f>);
struct Response<'t, 's, 'f>(&'t mut Top<'s, 'f>);

impl<'de> Object<'de> for Top<'_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "data" => {
                self.has_data = true;
                map.next_value_seed(Into(&mut Data(self)))?;
            }
            // `errors`, or a gateway's own error in v1's manner.
            _ if is_complaint(key) => self.answer.read_complaint(map)?,
            "completed" => self.completed = map.next_value::<Option<bool>>()?.unwrap_or(true),
            "usageLimits" => self.answer.usage = Some(UsageLimits::of(&map.next_value()?)),
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Object<'de> for Data<'_, '_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "responseItems" => map.next_value_seed(IntoEach(&mut Response(self.0))),
            "hasMore" => {
                self.0.answer.has_more |= map.next_value::<Option<bool>>()?.unwrap_or(false);
                Ok(())
            }
            "next" => {
                self.0.answer.next = map
                    .next_value::<Text>()?
                    .0
                    .filter(|next| !next.trim().is_empty());
                Ok(())
            }
            _ => skip(map),
        }
    }
}

impl<'de> Object<'de> for Response<'_, '_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "hasMoreRecords" => {
                self.0.answer.has_more |= map.next_value::<Option<bool>>()?.unwrap_or(false);
                Ok(())
            }
            "metrics" => {
                let names: Names = map.next_value()?;
                self.0.rows.names(names).map_err(A::Error::custom)
            }
            "items" => {
                map.next_value_seed(Each::new(|item: Item| self.0.rows.row(item.into_row())))
            }
            _ => skip(map),
        }
    }

    fn end(&mut self) -> Result<(), &'static str> {
        self.0.rows.finish_block()
    }
}

/// An item as v2 writes it. Everything is optional here, so that an item that lacks something
/// costs only itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    date_time: Text,
    values: Option<Vec<Cell>>,
    dimensions: Option<Vec<Dimension>>,
}

#[derive(Deserialize)]
struct Dimension {
    #[serde(rename = "type")]
    kind: Option<Kind>,
    #[serde(default)]
    id: Whole,
    #[serde(default)]
    name: Text,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    id: Whole,
}

impl Item {
    fn into_row(self) -> Row {
        let (mut test, mut node, mut step, mut hop) = (None, None, None, None);
        for dimension in self.dimensions.unwrap_or_default() {
            let id = dimension.id.0;
            match dimension.kind.as_ref().and_then(|kind| kind.id.0) {
                Some(TEST) => test = id,
                Some(NODE) => node = id,
                Some(STEP) => step = dimension.ordinal(),
                Some(HOP_NUMBER) => hop = dimension.ordinal(),
                _ => {}
            }
        }
        Row {
            test,
            node,
            step,
            hop,
            time: self.date_time.time(),
            values: self.values.unwrap_or_default(),
        }
    }
}

impl Dimension {
    /// The number of a step or hop. v1 writes it as a text of digits; where v2 has it is not
    /// documented, so a name of digits wins over the id.
    fn ordinal(self) -> Option<String> {
        let digits = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        let by_name = self.name.0.filter(digits);
        by_name.or_else(|| self.id.0.map(|id| id.to_string()))
    }
}
