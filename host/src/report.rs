//! A run report for people: whatever the component's JSON holds, in short lines and tables, so
//! that the report of a newer component is shown in full too.

use serde_json::{Map, Value};

/// The report in lines; a body that is no JSON object comes back as it is.
pub fn human(body: &str) -> String {
    let Ok(fields) = serde_json::from_str::<Map<String, Value>>(body) else {
        return body.to_owned();
    };
    // Long things last, so that the short ones stand in one block.
    let (long, short): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| is_long(value));
    let width = short.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut lines: Vec<String> = short
        .iter()
        .map(|(name, value)| format!("{:width$}  {}", words(name), inline(value)))
        .collect();
    for (name, value) in long {
        lines.push(String::new());
        match value {
            Value::Object(rows) => lines.extend(table(&words(name), rows)),
            Value::Array(items) => {
                lines.push(format!("{}: {}", words(name), items.len()));
                lines.extend(items.iter().flat_map(item));
            }
            other => lines.push(inline(other)),
        }
    }
    lines.join("\n")
}

/// Whether a value takes lines of its own: a list of objects, or an object of them.
fn is_long(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().any(Value::is_object),
        Value::Array(items) => items.iter().any(Value::is_object),
        _ => false,
    }
}

/// An object of objects: a row for each, a column for each field of the first.
fn table(title: &str, rows: &Map<String, Value>) -> Vec<String> {
    let columns: Vec<&String> = rows
        .values()
        .find_map(Value::as_object)
        .map(|first| first.keys().collect())
        .unwrap_or_default();
    let head = columns.iter().map(|column| words(column));
    let mut cells = vec![
        [title.to_owned()]
            .into_iter()
            .chain(head)
            .collect::<Vec<_>>(),
    ];
    for (name, row) in rows {
        let values = columns
            .iter()
            .map(|column| inline(row.get(column).unwrap_or(row)));
        cells.push([name.clone()].into_iter().chain(values).collect());
    }
    let width = |column: usize| {
        let lengths = cells
            .iter()
            .filter_map(|row| Some(row.get(column)?.chars().count()));
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..=columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut padded = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(at, (cell, width))| {
                // Names to the left, figures to the right.
                if at == 0 {
                    format!("{cell:width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        let first = padded.next().unwrap_or_default();
        padded.fold(first, |line, cell| line + "  " + &cell)
    };
    cells.iter().map(line).collect()
}

/// An item of a list, a field a line.
fn item(item: &Value) -> Vec<String> {
    let Value::Object(fields) = item else {
        return vec![format!("  - {}", inline(item))];
    };
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    let line = |(at, (name, value)): (usize, (&String, &Value))| {
        let dash = if at == 0 { '-' } else { ' ' };
        format!("  {dash} {:width$}  {}", words(name), inline(value))
    };
    fields.iter().enumerate().map(line).collect()
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(inline).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.is_empty() => "none".to_owned(),
        Value::Object(fields) => {
            let pair =
                |(name, value): (&String, &Value)| format!("{}: {}", words(name), inline(value));
            fields.iter().map(pair).collect::<Vec<_>>().join(", ")
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
            "outcome": "failed", "window": null,
            "tests": {"configured": 3, "collected": 2},
            "types": {
                "web": {"samples": 1200, "lines_accepted": 1200},
                "traceroute": {"samples": 7, "lines_accepted": 0}
            },
            "calls": {"lastraw 200": 2, "lastraw 429": 1}, "skipped": {}, "lines_accepted": 1200,
            "failures": [
                {"what": "lastraw", "tests": [19, 20], "cause": "no such test", "mend": "take them out"},
                {"what": "token", "tests": [], "cause": "timed out", "mend": "none needed"}
            ]
        }"#;
        insta::assert_snapshot!(human(report), @r"
        outcome         failed
        window          -
        tests           configured: 3, collected: 2
        calls           lastraw 200: 2, lastraw 429: 1
        skipped         none
        lines accepted  1200

        types       samples  lines accepted
        web            1200            1200
        traceroute        7               0

        failures: 2
          - what   lastraw
            tests  19, 20
            cause  no such test
            mend   take them out
          - what   token
            tests  none
            cause  timed out
            mend   none needed
        ");
    }

    #[test]
    fn odd_ones_are_shown_too() {
        assert_eq!(human("out of order"), "out of order");
        assert_eq!(human("[1, null]"), "[1, null]");
        assert_eq!(human(r#"{"a": [{}, 1]}"#), "\na: 2\n  - 1");
        assert_eq!(
            human(r#"{"a": {"x": 1, "y": {"z": {"q": 2}}}}"#),
            "\na     z\nx     1\ny  q: 2"
        );
    }
}
