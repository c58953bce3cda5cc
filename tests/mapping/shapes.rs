//! What answers of another shape than the known one come to: an error, and never a window without
//! results.

use insta::assert_snapshot;

use super::{v1_text, v2_lines};

#[test]
fn what_is_no_answer_of_v2_is_said() {
    let said: String = [
        r#"{"data":{"responseItems":[]},"errors":[],"messages":[],"completed":true}"#,
        r#"{"data":null,"errors":null,"usageLimits":{"limits":null,"runs":{"minute":null,"day":-1}}}"#,
        r#"{"errors":["Odd"]}"#,
        r#"{"Message":"Gateway"}"#,
        r#"{"status":"maintenance"}"#,
        "null",
    ]
    .iter()
    .map(|body| {
        let answer = v2_lines(body.as_bytes()).1;
        format!("{:?}\n", answer.map(|answer| answer.complaint))
    })
    .collect();
    assert_snapshot!(said, @r#"
    Ok(None)
    Ok(None)
    Ok(Some("Odd"))
    Ok(Some("Gateway"))
    Err("the answer is not what the API documents: it holds neither data nor an error")
    Err("the answer is not what the API documents: it holds neither data nor an error")
    "#);
}

/// Rows of a v1 answer with these parts, and what comes of them.
fn v1_rows(items: &[&str]) -> String {
    let items: Vec<String> = items
        .iter()
        .map(|parts| format!(r#"{{"synthetic_metrics":[1,2,3],{parts}}}"#))
        .collect();
    v1_text(&format!(
        r#"{{"detail":{{"fields":{{"synthetic_metrics":[{{"name":"A"}},{{"name":null}},null]}},"items":[{}]}}}}"#,
        items.join(",")
    ))
}

/// Rows of a v2 answer with these dimensions, and what comes of them.
fn v2_rows(dimensions: &[&str]) -> String {
    let items: Vec<String> = dimensions
        .iter()
        .map(|these| {
            format!(r#"{{"dateTime":"2026-01-01T00:00:00","values":[1],"dimensions":[{these}]}}"#)
        })
        .collect();
    let body = format!(
        r#"{{"data":{{"responseItems":[{{"metrics":[{{"name":"A"}}],"items":[{}]}}]}}}}"#,
        items.join(",")
    );
    let (lines, answer) = v2_lines(body.as_bytes());
    format!("{lines}{:?}", answer.map(|answer| answer.complaint))
}

#[test]
fn rows_of_an_unknown_shape_are_no_empty_window() {
    const TIME: &str = r#""dimension":{"name":"2026-01-01T00:00:00Z"}"#;
    let good = format!(r#"{TIME},"breakdown_1":{{"id":81093.0}},"breakdown_2":{{"id":"257"}}"#);
    let odd = format!(r#"{TIME},"breakdown_1":{{"name":"Home"}},"breakdown_2":{{"id":0.5}}"#);
    assert_snapshot!(v1_rows(&[
        &odd,
        r#""breakdown_1":{"id":1},"breakdown_2":{"id":2}"#
    ]), @r#"Err("the answer is not what the API documents: no row is complete: of 2, the test is missing in 1, the node in 1 and the time in 1")"#);
    // One row that is complete shows that the shape is known.
    assert_snapshot!(v1_rows(&[&odd, &good]), @"
    [row_without_test_node_or_time]
    system.cp.testdata.A;testId=81093;nodeId=257 1 1767225600
    [no_metric_name]
    [no_metric_name]
    Ok(Answer { complaint: None, span: None, next: None, has_more: false, usage: None, listed: [] })
    ");

    const TEST: &str = r#"{"type":{"id":16},"id":1.0}"#;
    const OTHER: &str = r#"{"type":{"id":40},"id":2}"#;
    assert_snapshot!(v2_rows(&[&format!("{TEST},{OTHER}")]), @r#"Err("the answer is not what the API documents: no row is complete: of 1, the test is missing in 0, the node in 1 and the time in 0")"#);
    assert_snapshot!(v2_rows(&[]), @"Ok(None)");
}
