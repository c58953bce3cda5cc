//! What an answer says besides its rows, in both versions of the API.

use serde_json::Value;

use super::body::BodyError;
use super::lenient::{self, Raw};
use crate::host::body::excerpt;
use crate::time_range::TimeRange;

/// What an answer says besides its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the API complains of, in an answer that HTTP calls a success.
    pub complaint: Option<String>,
    /// The time range that it covers, as it says itself.
    pub span: Option<TimeRange>,
    /// Where the next page is, if it says so.
    pub next: Option<String>,
    /// There is more, as it says itself.
    pub has_more: bool,
    /// How many calls were made and are allowed, as Catchpoint counts.
    pub usage: Option<UsageLimits>,
}

/// Catchpoint's own count of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageLimits {
    /// Calls allowed; 0 where it does not say.
    pub limits: Calls,
    /// Calls made.
    pub runs: Calls,
}

/// Calls by length of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// In the minute.
    pub minute: u32,
    /// In the hour.
    pub hour: u32,
    /// In the day.
    pub day: u32,
}

/// The keys of complaints, the most telling first.
const COMPLAINTS: [&str; 6] = ["errors", "Errors", "error", "Error", "message", "Message"];

impl UsageLimits {
    /// What is not a count there counts as not said: it is not worth the rows of the answer.
    pub fn of(value: &Value) -> Self {
        let count = |whose: &str, window: &str| {
            let count = value
                .get(whose)
                .and_then(|calls| calls.get(window)?.as_u64());
            u32::try_from(count.unwrap_or_default()).unwrap_or(u32::MAX)
        };
        let calls = |whose| Calls {
            minute: count(whose, "minute"),
            hour: count(whose, "hour"),
            day: count(whose, "day"),
        };
        Self {
            limits: calls("limits"),
            runs: calls("runs"),
        }
    }
}

/// The first of these values that is a complaint, in words.
pub fn complaint(values: [Raw<'_>; 3]) -> Option<String> {
    let mut values = values.into_iter().filter_map(lenient::read);
    values.find_map(|value| words(&value))
}

/// An answer without a complaint must have the keys of an answer. A JSON object of another kind,
/// from a proxy or a portal under maintenance, would otherwise pass for a time without results.
///
/// # Errors
/// It has none.
pub fn must_be_one(has_data: bool) -> Result<(), BodyError> {
    if has_data {
        return Ok(());
    }
    let what = "it holds neither data nor an error";
    Err(BodyError::Shape(what.to_owned()))
}

/// The words of an error's body: the message if it is JSON that holds one, else its beginning.
pub fn message(text: &str) -> String {
    let json = serde_json::from_str(text).unwrap_or_default();
    message_in(&json).unwrap_or_else(|| excerpt(text))
}

/// What an object has as its message.
pub fn message_in(value: &Value) -> Option<String> {
    COMPLAINTS.iter().find_map(|key| words(value.get(*key)?))
}

/// The words of an error in whatever form, if it is one.
fn words(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null | Value::Bool(false) => return None,
        Value::String(text) => excerpt(text),
        Value::Array(errors) => {
            let said: Vec<String> = errors.iter().filter_map(words).collect();
            excerpt(&said.join("; "))
        }
        other => message_in(other).unwrap_or_else(|| "an error without a message".to_owned()),
    };
    (!text.is_empty()).then_some(text)
}
