//! The words in which an answer complains, for a message.

use serde_json::Value;

use crate::host::body::excerpt;

/// The keys of complaints, the most telling first.
const KEYS: [&str; 6] = ["errors", "Errors", "error", "Error", "message", "Message"];

/// The words of an error's body: the message if it is JSON that holds one, the title if it is a web
/// page, else its beginning.
pub fn words_of(body: &str) -> String {
    let json = serde_json::from_str(body).unwrap_or_default();
    match title(body) {
        Some(title) => format!("a web page{title}"),
        None => in_object(&json).unwrap_or_else(|| excerpt(body)),
    }
}

/// The words of an error in whatever form, if it is one.
pub fn words(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null | Value::Bool(false) => return None,
        Value::String(text) => excerpt(text),
        Value::Array(errors) => {
            let said: Vec<String> = errors.iter().filter_map(words).collect();
            excerpt(&said.join("; "))
        }
        other => in_object(other).unwrap_or_else(|| "an error without a message".to_owned()),
    };
    (!text.is_empty()).then_some(text)
}

/// What an object has as its message.
pub fn in_object(value: &Value) -> Option<String> {
    KEYS.iter().find_map(|key| words(value.get(*key)?))
}

/// ` titled "…"` of a web page, empty if it has no title; none if the text is no web page.
pub fn title(text: &str) -> Option<String> {
    if !text.trim_start().starts_with('<') {
        return None;
    }
    let rest = text.split_once("<title>");
    let title = rest.and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.map(|(title, _)| format!(" titled \"{}\"", excerpt(title)));
    Some(title.unwrap_or_default())
}
