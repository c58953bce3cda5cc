//! Readers of single values, for `#[serde(deserialize_with = …)]`.
//!
//! A number has its range and its default as constants: the default is what the message proposes.

use std::fmt::Display;
use std::time::Duration;

use serde::de::{Deserialize as _, Deserializer, Error as _, IgnoredAny};

use super::de::SEPARATOR;
use super::hint::quote;
use crate::secret::Secret;

/// The text of an error that a reader passes to serde: what is wrong, and what to write.
pub fn problem(what: impl Display, hint: impl Display) -> String {
    format!("{what}{SEPARATOR}{hint}")
}

/// The same, for a value that may hold a secret: its line is shown without it.
pub fn secret_problem(what: impl Display, hint: impl Display) -> String {
    format!("{what}{SEPARATOR}{hint}{SEPARATOR}")
}

/// A whole number, quoted or not, with `_` between its digits or not.
///
/// # Errors
/// It is not a whole number from `LOW` to `HIGH`.
pub fn whole<'de, const LOW: u64, const HIGH: u64, const DEFAULT: u64, T, D>(
    deserializer: D,
) -> Result<T, D::Error>
where
    T: TryFrom<u64>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    let number = number(&text, LOW, HIGH, DEFAULT).map_err(D::Error::custom)?;
    // The range is one that the type holds.
    T::try_from(number).map_err(|_| D::Error::custom("too large"))
}

/// The part of [`whole`] that is the same for all types and ranges, so that it is compiled once.
fn number(text: &str, low: u64, high: u64, default: u64) -> Result<u64, String> {
    let number = text.trim().replace('_', "").parse().ok();
    number
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| {
            problem(
                format!("{} is not a whole number from {low} to {high}", quote(text)),
                format!("write, for instance, `{{key}}: {default}`"),
            )
        })
}

/// A number of seconds, see [`whole`].
///
/// # Errors
/// It is not a whole number from `LOW` to `HIGH`.
pub fn seconds<'de, const LOW: u64, const HIGH: u64, const DEFAULT: u64, D>(
    deserializer: D,
) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    whole::<LOW, HIGH, DEFAULT, u64, D>(deserializer).map(Duration::from_secs)
}

/// A number of minutes, see [`whole`].
///
/// # Errors
/// It is not a whole number from `LOW` to `HIGH`.
pub fn minutes<'de, const LOW: u64, const HIGH: u64, const DEFAULT: u64, D>(
    deserializer: D,
) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    seconds::<LOW, HIGH, DEFAULT, D>(deserializer).map(|time| time * 60)
}

/// A number of hours, see [`whole`].
///
/// # Errors
/// It is not a whole number from `LOW` to `HIGH`.
pub fn hours<'de, const LOW: u64, const HIGH: u64, const DEFAULT: u64, D>(
    deserializer: D,
) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    seconds::<LOW, HIGH, DEFAULT, D>(deserializer).map(|time| time * 3600)
}

/// `true` or `false`.
///
/// # Errors
/// It is another word.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Flag {
        True,
        False,
    }
    Ok(matches!(Flag::deserialize(deserializer)?, Flag::True))
}

/// A credential; none if it is empty or the word `None`.
///
/// # Errors
/// It is not a single value.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    String::deserialize(deserializer).map(|text| Secret::new(&text))
}

/// A single value that is accepted and not used.
///
/// # Errors
/// It is not a single value.
pub fn unused<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    String::deserialize(deserializer).map(drop)
}

/// A value of any kind that is read from [`super::File::value`] instead.
///
/// # Errors
/// None.
pub fn apart<'de, T: Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| T::default())
}
