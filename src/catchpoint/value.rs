//! One value as it stands in an answer, in whatever form the API may write it.

use chrono::{DateTime, NaiveDateTime};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::body::parse;

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

/// A whole number: as a number, also with `.0`, or as a text of digits; anything else is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Whole(pub Option<u64>);

/// A number or a text, as a text; anything else is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub Option<String>);

impl Text {
    /// The epoch second of a time.
    pub fn time(&self) -> Option<i64> {
        epoch_second(self.0.as_deref()?)
    }
}

/// The names of an answer's metrics. One that has none takes its place with an empty name, so that
/// it costs only its own values.
pub struct Names(pub Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Metric {
            #[serde(default)]
            name: Text,
        }
        let metrics: Option<Vec<Option<Metric>>> = Deserialize::deserialize(deserializer)?;
        let name = |metric: Option<Metric>| metric.and_then(|metric| metric.name.0);
        let names = metrics.into_iter().flatten().map(name);
        Ok(Self(names.map(Option::unwrap_or_default).collect()))
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_f64().map_or(Self::Other, Self::Number),
            Value::Null => Self::Null,
            // The original sent a text as it was, and carbon takes one that reads as a number.
            Value::String(text) => parse(text.as_bytes()).map_or(Self::Other, Self::Number),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Self::Other,
        })
    }
}

impl From<Value> for Whole {
    fn from(value: Value) -> Self {
        /// 2^53, up to which every whole number is an f64 of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let exact = |number: &f64| (0.0..=EXACT).contains(number) && number.fract() == 0.0;
        Self(match value {
            Value::Number(number) => number
                .as_u64()
                .or_else(|| number.as_f64().filter(exact).map(|number| number as u64)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        })
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text),
            _ => None,
        }))
    }
}
