//! The answers of API v2: raw data of the test explorer.

use std::io::Read;

use serde::Deserialize;
use serde::de::{Error, MapAccess};

use super::body::{BodyError, excerpt, read_object};
use super::json::{Each, Into, IntoEach, Object, skip};
use super::row::{Cell, Id, Row, Rows, Sink, Text, epoch_second};
use super::said::{is_complaint, read_complaint};

/// Ids of the dimensions that we know, from the vendor's OpenAPI document.
const NODE: u64 = 1;
const STEP: u64 = 6;
const TEST: u64 = 16;
const HOP_NUMBER: u64 = 90;

/// What an answer said besides its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the API complained of, in an answer that HTTP calls a success.
    pub complaint: Option<String>,
    /// Where the next page is, if there is one.
    pub next: Option<String>,
    /// There is more, by the answer's own word.
    pub has_more: bool,
    /// How many calls were made and are allowed, by Catchpoint's own count.
    pub usage: Option<UsageLimits>,
}

/// Catchpoint's own count of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UsageLimits {
    /// Calls allowed.
    pub limits: Calls,
    /// Calls made.
    pub runs: Calls,
}

/// Calls in a window of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Calls {
    /// In the minute.
    pub minute: u32,
    /// In the hour.
    pub hour: u32,
    /// In the day.
    pub day: u32,
}

/// Reads one page, handing out its samples as they come.
///
/// # Errors
/// See [`BodyError`]; samples handed out before it are sound.
pub fn read(body: impl Read, sink: &mut Sink<'_>) -> Result<Answer, BodyError> {
    let mut top = Top {
        answer: Answer::default(),
        completed: true,
        rows: Rows::new(sink),
    };
    read_object(body, &mut top)?;
    if !top.completed && top.answer.complaint.is_none() {
        top.answer.complaint =
            Some("the query was not completed, without a reason given".to_owned());
    }
    Ok(top.answer)
}

struct Top<'s, 'f> {
    answer: Answer,
    completed: bool,
    rows: Rows<'s, 'f>,
}

struct Data<'t, 's, 'f>(&'t mut Top<'s, 'f>);
struct Response<'t, 's, 'f>(&'t mut Top<'s, 'f>);

impl<'de> Object<'de> for Top<'_, '_> {
    fn key<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "data" => map.next_value_seed(Into(&mut Data(self)))?,
            "errors" => {
                let errors: Option<Vec<Complaint>> = map.next_value()?;
                let texts: Vec<String> = errors
                    .into_iter()
                    .flatten()
                    .filter_map(Complaint::text)
                    .collect();
                if !texts.is_empty() {
                    self.answer.complaint = Some(texts.join("; "));
                }
            }
            // A gateway's own error, in v1's manner.
            _ if is_complaint(key) => read_complaint(map, &mut self.answer.complaint)?,
            "completed" => self.completed = map.next_value::<Option<bool>>()?.unwrap_or(true),
            "usageLimits" => self.answer.usage = map.next_value()?,
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
                let metrics: Option<Vec<Metric>> = map.next_value()?;
                let names = metrics
                    .unwrap_or_default()
                    .into_iter()
                    .map(|metric| metric.name);
                self.0.rows.names(names.collect()).map_err(A::Error::custom)
            }
            "items" => map.next_value_seed(Each::new(|item: Item| match item.into_row() {
                Some(row) => self.0.rows.row(row),
                None => self.0.rows.incomplete(),
            })),
            _ => skip(map),
        }
    }

    fn end(&mut self) -> Result<(), &'static str> {
        self.0.rows.finish_block()
    }
}

#[derive(Deserialize)]
struct Metric {
    name: String,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    message: Text,
}

impl Complaint {
    fn text(self) -> Option<String> {
        let text = excerpt(&self.message.0?);
        (!text.is_empty()).then_some(text)
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
    id: Option<Id>,
    #[serde(default)]
    name: Text,
}

#[derive(Deserialize)]
struct Kind {
    id: Option<Id>,
}

impl Item {
    fn into_row(self) -> Option<Row> {
        let time = epoch_second(&self.date_time.0?)?;
        let (mut test, mut node, mut step, mut hop) = (None, None, None, None);
        for dimension in self.dimensions.unwrap_or_default() {
            let id = dimension.id.and_then(|id| id.0);
            match dimension.kind.as_ref().and_then(|kind| kind.id?.0) {
                Some(TEST) => test = id,
                Some(NODE) => node = id,
                Some(STEP) => step = dimension.ordinal(),
                Some(HOP_NUMBER) => hop = dimension.ordinal(),
                _ => {}
            }
        }
        Some(Row {
            test: test?,
            node: node?,
            step,
            hop,
            time,
            values: self.values.unwrap_or_default(),
        })
    }
}

impl Dimension {
    /// The number of a step or hop. v1 writes it as a text of digits; where v2 has it is not
    /// documented, so a name of digits wins over the id.
    fn ordinal(self) -> Option<String> {
        let digits = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        let by_name = self.name.0.filter(digits);
        by_name.or_else(|| self.id?.0.map(|id| id.to_string()))
    }
}
