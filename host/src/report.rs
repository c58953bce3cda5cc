//! A run report for people: whatever the component's JSON holds, so that the report of a newer
//! component is shown in full too.

use serde_json::{Map, Value};

/// The report in lines; a body that is no JSON object comes back as it is.
pub fn human(body: &str) -> String {
    match serde_json::from_str::<Map<String, Value>>(body) {
        Ok(fields) => rows(&fields, "").join("\n"),
        Err(_) => body.to_owned(),
    }
}

/// A line for each field; one that holds objects has lines of its own, indented.
fn rows(fields: &Map<String, Value>, indent: &str) -> Vec<String> {
    let width = fields.keys().map(|name| words(name).len()).max();
    let width = width.unwrap_or(0);
    let mut lines = Vec::new();
    for (name, value) in fields {
        let name = words(name);
        match value {
            Value::Object(inner) if inner.values().any(Value::is_object) => {
                lines.push(format!("{indent}{name}"));
                lines.extend(rows(inner, &format!("{indent}  ")));
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                lines.push(format!("{indent}{name}"));
                lines.extend(items.iter().flat_map(|item| failure(item, indent)));
            }
            _ => lines.push(format!("{indent}{name:width$}  {}", inline(value))),
        }
    }
    lines
}

/// An item of a list: in one line, but for what to do, which has one of its own.
fn failure(item: &Value, indent: &str) -> Vec<String> {
    let mut item = item.clone();
    let hint = item
        .as_object_mut()
        .and_then(|fields| fields.remove("hint"));
    let mut lines = vec![format!("{indent}  - {}", inline(&item))];
    lines.extend(hint.map(|hint| format!("{indent}    help: {}", inline(&hint))));
    lines
}

/// The name of a field in plain words.
fn words(name: &str) -> String {
    match name {
        "aged_out" => "given up".to_owned(),
        "lasting" => "stops everything".to_owned(),
        "unlabelled" => "rows without a label".to_owned(),
        _ => name.replace('_', " "),
    }
}

fn inline(value: &Value) -> String {
    let joined = |parts: Vec<String>| match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(", "),
    };
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => joined(items.iter().map(inline).collect()),
        Value::Object(fields) => {
            let pair =
                |(name, value): (&String, &Value)| format!("{}: {}", words(name), inline(value));
            joined(fields.iter().map(pair).collect())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn is_readable() {
        let report = r#"{
            "outcome": "failed", "window": null, "tests": {"configured": 3, "collected": 2},
            "types": {"web": {"samples": 1200, "nulls": 3}, "traceroute": {"samples": 7}},
            "skipped": {}, "unlabelled": 0, "lines_accepted": 1200, "gaps": {"aged_out": 0},
            "failures": [{"what": "lastraw", "tests": [19, 20], "cause": "no such test", "hint": "list it", "lasting": false}]
        }"#;
        insta::assert_snapshot!(human(report), @"
        outcome               failed
        window                none
        tests                 configured: 3, collected: 2
        types
          web         samples: 1200, nulls: 3
          traceroute  samples: 7
        skipped               none
        rows without a label  0
        lines accepted        1200
        gaps                  given up: 0
        failures
          - what: lastraw, tests: 19, 20, cause: no such test, stops everything: no
            help: list it
        ");
        assert_eq!(human("out of order"), "out of order");
    }
}
