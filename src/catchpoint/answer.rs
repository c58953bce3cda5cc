//! What an answer says besides its rows, the same for both API versions.

use serde::de::MapAccess;
use serde_json::Value;

use super::body::{BodyError, excerpt};
use crate::time_range::TimeRange;

/// What an answer said besides its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the API complained of, in an answer that HTTP calls a success.
    pub complaint: Option<String>,
    /// The window that it covers, by its own word.
    pub span: Option<TimeRange>,
    /// Where the next page is, if there is one.
    pub next: Option<String>,
    /// There is more, by the answer's own word.
    pub has_more: bool,
    /// How many calls were made and are allowed, by Catchpoint's own count.
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

/// Calls in a window of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// In the minute.
    pub minute: u32,
    /// In the hour.
    pub hour: u32,
    /// In the day.
    pub day: u32,
}

/// The keys that complaints were seen under, most telling first.
const COMPLAINTS: [&str; 4] = ["errors", "error", "message", "Message"];

impl Answer {
    /// The answer, if it is one: it complains, or it has data, be it none for this time. A JSON
    /// object of another kind, from a proxy or a portal under maintenance, would otherwise pass for
    /// a window without results.
    pub fn sound(self, has_data: bool, rows: Result<(), String>) -> Result<Self, BodyError> {
        if self.complaint.is_some() {
            return Ok(self);
        }
        if !has_data {
            let what = "it holds neither data nor an error";
            return Err(BodyError::Shape(what.to_owned()));
        }
        rows.map(|()| self).map_err(BodyError::Shape)
    }

    /// Reads a value of the outermost object that may be a complaint; the first one that says
    /// something stays.
    pub fn read_complaint<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let said = words(&map.next_value()?);
        self.complaint = self.complaint.take().or(said);
        Ok(())
    }
}

impl UsageLimits {
    /// What is no count there counts as not said: it is not worth the rows of the answer.
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

/// Whether a key of the outermost object holds a complaint, in whatever case.
pub fn is_complaint(key: &str) -> bool {
    COMPLAINTS.iter().any(|word| key.eq_ignore_ascii_case(word))
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
        other => message(other).unwrap_or_else(|| "an error without a message".to_owned()),
    };
    (!text.is_empty()).then_some(text)
}

/// What an object has as its message.
pub fn message(value: &Value) -> Option<String> {
    COMPLAINTS.iter().find_map(|key| words(value.get(*key)?))
}
