//! One value as it stands in an answer, in whatever form the API may write it.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

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
        #[derive(serde::Deserialize)]
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

/// Reads any scalar and tells what it was.
enum Scalar<'a> {
    Unsigned(u64),
    Number(f64),
    Text(Cow<'a, str>),
    Null,
    Other,
}

impl<'de> Deserialize<'de> for Scalar<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'static>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Other)
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                // Beyond 2^53 the nearest f64, as every JSON reader of the field does.
                Ok(Scalar::Number(number as f64))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Unsigned(number))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Scalar::deserialize(deserializer)? {
            Scalar::Unsigned(number) => Self::Number(number as f64),
            Scalar::Number(number) => Self::Number(number),
            Scalar::Null => Self::Null,
            // The original sent a text as it was, and carbon takes one that reads as a number.
            Scalar::Text(text) => match text.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Self::Number(number),
                _ => Self::Other,
            },
            Scalar::Other => Self::Other,
        })
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// 2^53, up to which every whole number is an f64 of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        Ok(Self(match Scalar::deserialize(deserializer)? {
            Scalar::Unsigned(number) => Some(number),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Number(number) if (0.0..=EXACT).contains(&number) && number.fract() == 0.0 => {
                Some(number as u64)
            }
            Scalar::Number(_) | Scalar::Null | Scalar::Other => None,
        }))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Scalar::deserialize(deserializer)? {
            Scalar::Unsigned(number) => Some(number.to_string()),
            Scalar::Number(number) => Some(number.to_string()),
            Scalar::Text(text) => Some(text.into_owned()),
            Scalar::Null | Scalar::Other => None,
        }))
    }
}
