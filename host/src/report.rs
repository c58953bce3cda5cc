//! A run report for people: the component's JSON as an indented list, so that whatever a newer
//! component reports is shown too.

use serde_json::{Map, Value};

/// The report in lines; a body that is no JSON comes back as it is.
pub fn human(body: &str) -> String {
    let Ok(report) = serde_json::from_str::<Value>(body) else {
        return body.to_owned();
    };
    let mut lines = Vec::new();
    match report {
        Value::Object(fields) => object(&fields, 0, &mut lines),
        other => lines.push(inline(&other)),
    }
    lines.join("\n")
}

fn object(fields: &Map<String, Value>, depth: usize, lines: &mut Vec<String>) {
    let simple = |value: &Value| !nested(value);
    let names = fields.iter().filter(|(_, value)| simple(value));
    let width = names.map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        let name = name.replace('_', " ");
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(inner) if nested(value) => {
                lines.push(format!("{indent}{name}:"));
                object(inner, depth + 1, lines);
            }
            Value::Array(items) if nested(value) => {
                lines.push(format!("{indent}{name}: {}", items.len()));
                array(items, depth + 1, lines);
            }
            _ => lines.push(format!("{indent}{name:width$}  {}", inline(value))),
        }
    }
}

fn array(items: &[Value], depth: usize, lines: &mut Vec<String>) {
    for item in items {
        let start = lines.len();
        match item {
            Value::Object(fields) => object(fields, depth + 1, lines),
            other => lines.push(format!("{}{}", "  ".repeat(depth + 1), inline(other))),
        }
        // The first line of an item carries its dash.
        if let Some(first) = lines.get_mut(start) {
            *first = format!("{}- {}", "  ".repeat(depth), first.trim_start());
        }
    }
}

/// Whether a value takes lines of its own.
fn nested(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(inline).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.is_empty() => "none".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn is_readable() {
        let report = r#"{
            "ok": false, "started": "2024-05-01T12:00:00Z", "window": null,
            "calls": {"raw": 3, "by_status": {"200": 2, "429": 1}},
            "tests": [17, 18], "gaps": [],
            "failures": [
                {"tests": [19], "cause": "no such test", "advice": "take 19 out"},
                {"tests": [20], "cause": "timed out", "advice": "none needed"}
            ]
        }"#;
        insta::assert_snapshot!(human(report), @r"
        ok       false
        started  2024-05-01T12:00:00Z
        window   -
        calls:
          raw  3
          by status:
            200  2
            429  1
        tests    17, 18
        gaps     none
        failures: 2
          - tests   19
            cause   no such test
            advice  take 19 out
          - tests   20
            cause   timed out
            advice  none needed
        ");
    }

    #[test]
    fn what_is_no_report_is_shown() {
        assert_eq!(human("out of order"), "out of order");
        assert_eq!(human("[1, null]"), "1, -");
    }
}
