use proptest::prelude::*;

use super::super::lenient::{MAX_ROWS, TOO_MANY_ROWS};
use super::*;

/// An item of v1 with these values and other parts.
fn v1_item(values: &str, rest: &str) -> String {
    format!(
        r#"{{"synthetic_metrics":{values},"dimension":{{"name":"2026-01-01T00:00:00Z"}},"breakdown_1":{{"id":1}},"breakdown_2":{{"id":2}}{rest}}}"#
    )
}

fn v1_page(items: &str, zone: &str) -> String {
    format!(
        r#"{{"timezone":{zone},"detail":{{"fields":{{"synthetic_metrics":[{{"name":"A"}},{{"name":"B"}}]}},"items":[{items}]}}}}"#
    )
}

/// An item of v2 with these dimensions and this time.
fn v2_item(dimensions: &str, time: &str) -> String {
    format!(r#"{{{time},"values":[7],"dimensions":[{dimensions}]}}"#)
}

fn v2_page(items: &str, rest: &str) -> String {
    format!(
        r#"{{"data":{{"responseItems":[{{"dimensions":[{{"id":16}},{{"id":1}},{{"id":6}},{{"id":90}}],"metrics":[{{"name":"A"}}],"items":[{items}]{rest}}}]}}}}"#
    )
}

/// Names as the original's, but for their prefix.
fn plain() -> GraphiteSettings {
    GraphiteSettings {
        metric_prefix: "p".to_owned(),
        ..GraphiteSettings::default()
    }
}

/// Series and value of each line without its prefix and time, and what was skipped.
fn read_lines(version: ApiVersion, page: &str) -> Result<(Vec<String>, Counts), CallError> {
    read_lines_as(&plain(), version, page)
}

/// The same with these names.
fn read_lines_as(
    names: &GraphiteSettings,
    version: ApiVersion,
    page: &str,
) -> Result<(Vec<String>, Counts), CallError> {
    let page = Page::read(version, page.to_owned())?;
    let mut out = Vec::new();
    let mut lines = page.lines(names, "web");
    assert!(!lines.fill(&mut out, usize::MAX));
    let out = String::from_utf8(out).unwrap();
    let counts = lines.counts().clone();
    Ok((out.lines().map(str::to_owned).collect(), counts))
}

#[track_caller]
fn check_v1(items: &[String], expect: &[&str], skipped: &[(&str, u64)]) {
    let page = v1_page(&items.join(","), "null");
    let (lines, counts) = read_lines(ApiVersion::V1, &page).unwrap();
    assert_eq!(lines, expect);
    let found: Vec<(&str, u64)> = counts.skipped.into_iter().collect();
    assert_eq!(found, skipped);
}

#[track_caller]
fn check_v2(items: &[String], expect: &[&str]) {
    let page = v2_page(&items.join(","), "");
    assert_eq!(
        read_lines(ApiVersion::Explorer("v2"), &page).unwrap().0,
        expect
    );
}

const A: &str = "p.A;testId=1;nodeId=2 7 1767225600";
const B: &str = "p.B;testId=1;nodeId=2 8 1767225600";

#[test]
fn c05_an_odd_value_costs_itself() {
    for (odd, reason) in [
        ("1e400", "not_finite"),
        ("-1e999", "not_finite"),
        ("true", "not_a_number"),
        (r#""a""#, "not_a_number"),
        (r#""1e400""#, "not_a_number"),
        (r#""\ud83d""#, "not_a_number"),
        ("[1,[2]]", "not_a_number"),
        (r#"{"a":{"b":","}}"#, "not_a_number"),
    ] {
        check_v1(&[v1_item(&format!("[{odd},8]"), "")], &[B], &[(reason, 1)]);
    }
    check_v1(
        &[v1_item("[7,8,9]", "")],
        &[A, B],
        &[("value_without_metric", 1)],
    );
    check_v1(&[v1_item(r#"["7"," 8 "]"#, "")], &[A, B], &[]);
    check_v1(
        &[v1_item("null", ""), v1_item("[]", ""), v1_item("[7]", "")],
        &[A],
        &[],
    );
}

/// What a page holds besides its text takes memory too, which the component has little of.
#[test]
fn c05_a_page_of_many_tiny_rows_is_too_large() {
    let (v1, v2) = (ApiVersion::V1, ApiVersion::Explorer("v2"));
    let repeat = |part: &str, times: usize| {
        let mut list = part.repeat(times);
        list.pop();
        list
    };
    let most = repeat("7,", MAX_ROWS);
    let half = repeat("7,", MAX_ROWS / 2);
    let groups = |group: &str, times| {
        let groups = repeat(&format!("{group},"), times);
        format!(r#"{{"data":{{"responseItems":[{groups}]}}}}"#)
    };
    let group = |items: &str| format!(r#"{{"items":[{items}]}}"#);
    let names = format!(r#"{{"metrics":[{half}]}}"#);
    for (version, page) in [
        (v1, v1_page(&format!("{most},7"), "null")),
        (v2, v2_page(&format!("{most},7"), "")),
        (v2, groups(&group(&half), 3)),
        (v2, groups("null", MAX_ROWS / 16)),
        (v2, groups(&names, 16)),
    ] {
        let error = read_lines(version, &page).unwrap_err();
        let found = (error.kind, error.to_string());
        assert_eq!(found, (Kind::TooLarge, TOO_MANY_ROWS.to_owned()));
    }
    let (_, counts) = read_lines(v1, &v1_page(&most, "null")).unwrap();
    assert_eq!(counts.skipped["unreadable_row"], MAX_ROWS as u64);
    // A row that is longer than rows are costs itself, and long words of a complaint are cut.
    let long = v1_item(&format!("[{most}]"), "");
    check_v1(&[v1_item("[7]", ""), long], &[A], &[("unreadable_row", 1)]);
    let complains = format!(r#"{{"errors":[{most}],"detail":null}}"#);
    let page = Page::read(v1, complains).unwrap();
    assert_eq!(page.answer.complaint.unwrap().len(), 200);
}

#[test]
fn c05_an_odd_row_costs_itself() {
    let good = v1_item("[7]", "");
    for odd in [
        "null",
        "7",
        r#""x""#,
        "[]",
        "{\"synthetic_metrics\":7}",
        r#"{"step":"\ud83d"}"#,
        r#"{"hop_number":[]}"#,
    ] {
        let items = [good.clone(), odd.to_owned(), good.clone()];
        check_v1(&items, &[A, A], &[("unreadable_row", 1)]);
    }
    for odd in [
        "{}",
        "[1,2,3,4,5,6]",
        r#"{"step":"1","step":"2"}"#,
        r#"{"breakdown_1":{"id":"x"}}"#,
    ] {
        let (lines, counts) =
            read_lines(ApiVersion::V1, &v1_page(&[odd, &good].join(","), "null")).unwrap();
        assert_eq!(lines, [A], "{odd}");
        assert_eq!(counts.skipped.values().sum::<u64>(), 1, "{odd}");
    }
    // Nothing but odd rows is no reason to ask again.
    check_v1(&["null".to_owned()], &[], &[("unreadable_row", 1)]);
}

#[test]
fn c05_what_is_not_used_may_be_odd() {
    let name =
        r#","breakdown_1":{"id":1,"name":"\ud83d"},"host_Ip":1e999,"indicators":{"\ud83d":[]}"#;
    let item = v1_item("[7]", name).replace(r#""breakdown_1":{"id":1},"#, "");
    check_v1(&[item], &[A], &[]);
    let dimensions = r#"{"type":{"id":16},"id":1,"name":"\ud83d"},{"type":{"id":1},"id":2},null,7"#;
    check_v2(
        &[v2_item(dimensions, r#""dateTime":"2026-01-01T00:00:00""#)],
        &[A],
    );
    let page = v1_page(&v1_item("[7]", ""), "null")
        .replace("{\"timezone\"", r#"{"x":"\ud83d","y":1e999,"timezone""#);
    assert_eq!(read_lines(ApiVersion::V1, &page).unwrap().0, [A]);
}

#[test]
fn c10_times_are_converted() {
    let page = |zone| v1_page(&v1_item("[7]", ""), zone);
    let west = read_lines(ApiVersion::V1, &page(r#"{"id":9,"name":"(UTC-08:00)"}"#))
        .unwrap()
        .0;
    assert_eq!(west, ["p.A;testId=1;nodeId=2 7 1767254400"]);
    let zone = read_lines(ApiVersion::V1, &page(r#"{"id":9,"name":"Pacific"}"#));
    assert!(zone.is_err_and(|error| error.kind == Kind::TimeZone));
    let item = v2_item(
        r#"{"id":1},{"id":2}"#,
        r#""dateTime":"2026-01-01T00:00:00""#,
    );
    let offset = |json: &str| {
        read_lines(
            ApiVersion::Explorer("v2"),
            &v2_page(&item, &format!(r#","timeZoneOffSet":{json}"#)),
        )
    };
    assert_eq!(offset("0").unwrap().0, [A]);
    assert_eq!(
        offset("-8").unwrap().0,
        ["p.A;testId=1;nodeId=2 7 1767254400"]
    );
    assert_eq!(offset("480").unwrap_err().kind, Kind::TimeZone);
}

#[test]
fn c11_dimensions_without_a_type_are_those_of_the_header() {
    let time = r#""dateTime":"2026-01-01T00:00:00""#;
    let test_and_node = r#"{"id":1,"name":"Home"},{"id":2,"name":"Oslo"}"#;
    check_v2(&[v2_item(test_and_node, time)], &[A]);
    let step = format!(r#"{test_and_node},{{"id":31,"name":"3"}},{{"id":5,"name":null}}"#);
    check_v2(
        &[v2_item(&step, time)],
        &["p.A;testId=1;nodeId=2;stepNumber=3;hopNumber=5 7 1767225600"],
    );
    // A type wins, wherever it stands.
    let typed = r#"{"type":{"id":1},"id":2},{"type":{"id":16},"id":1},{"type":null,"id":4}"#;
    check_v2(
        &[v2_item(typed, time)],
        &["p.A;testId=1;nodeId=2;stepNumber=4 7 1767225600"],
    );
}

#[test]
fn c11_the_time_has_three_places() {
    let ids = r#"{"id":1},{"id":2}"#;
    let with_time = format!(r#"{ids},{{"type":{{"id":17}},"id":5,"name":"2026-01-01T00:00:00"}}"#);
    for (dimensions, time) in [
        (ids, r#""dateTime":"2026-01-01T00:00:00.123""#),
        (ids, r#""dateTime":null,"reportDate":"2026-01-01T00:00:00""#),
        (&with_time, r#""dateTime":null,"reportDate":null"#),
        (&with_time, r#""x":1"#),
    ] {
        check_v2(&[v2_item(dimensions, time)], &[A]);
    }
}

/// Lines with all labels, and how many rows lack the name of one.
#[track_caller]
fn check_labels(version: ApiVersion, page: &str, expect: &[&str], unlabelled: u64) {
    let names = GraphiteSettings::load(
        "f",
        "metric_prefix: p\nlabels: [testName, nodeName, testType, stepName]",
    );
    let (lines, counts) = read_lines_as(&names.unwrap(), version, page).unwrap();
    assert_eq!(lines, expect);
    assert_eq!(counts.unlabelled, unlabelled);
}

#[test]
fn labels_hold_the_names_of_a_row() {
    let item = |test: &str, node: &str, rest: &str| {
        v1_item("[7]", rest)
            .replace(r#"{"id":1}"#, &format!(r#"{{"id":1,"name":{test}}}"#))
            .replace(r#"{"id":2}"#, &format!(r#"{{"id":2,"name":{node}}}"#))
    };
    let items = [
        item(r#""Home; \u00e4 page""#, r#""~Oslo\n""#, ""),
        // v1 has no names of steps.
        item("null", r#"" ""#, r#","step":"3""#),
        item("7", "[1]", ""),
    ];
    check_labels(
        ApiVersion::V1,
        &v1_page(&items.join(","), "null"),
        &[
            "p.A;testId=1;nodeId=2;testName=Home__ä_page;nodeName=_Oslo;testType=web 7 1767225600",
            "p.A;testId=1;nodeId=2;stepNumber=3;testType=web 7 1767225600",
            "p.A;testId=1;nodeId=2;testName=7;testType=web 7 1767225600",
        ],
        4,
    );
    let dimensions = r#"{"id":1,"name":"Home"},{"id":2,"name":"Oslo"},{"id":3,"name":"3"},null"#;
    let step = r#",{"type":{"id":23},"id":9,"name":"Log in"}"#;
    let time = r#""dateTime":"2026-01-01T00:00:00""#;
    let items = [
        v2_item(&format!("{dimensions}{step}"), time),
        v2_item(dimensions, time),
    ];
    let row = "p.A;testId=1;nodeId=2;stepNumber=3;testName=Home;nodeName=Oslo;testType=web";
    check_labels(
        ApiVersion::Explorer("v2"),
        &v2_page(&items.join(","), ""),
        &[
            &format!("{row};stepName=Log_in 7 1767225600"),
            &format!("{row} 7 1767225600"),
        ],
        1,
    );
}

#[test]
fn lines_are_written_batch_by_batch() {
    let items: Vec<String> = (0..50)
        .map(|n| v1_item(&format!("[{n},null,1e999]"), ""))
        .collect();
    let page = Page::read(ApiVersion::V1, v1_page(&items.join(","), "null")).unwrap();
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    let names = plain();
    page.lines(&names, "web").fill(&mut whole, usize::MAX);
    let mut lines = page.lines(&names, "web");
    loop {
        let mut batch = Vec::new();
        let more = lines.fill(&mut batch, 100);
        assert!(batch.len() < 100 + 40, "{batch:?}");
        parts.append(&mut batch);
        if !more {
            break;
        }
    }
    assert_eq!(parts, whole);
    let counts = lines.counts();
    assert_eq!((counts.samples, counts.nulls), (50, 50));
    assert_eq!(counts.skipped.get("value_without_metric"), Some(&50));
}

/// Any JSON, with a taste for the keys of a row.
fn json() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("synthetic_metrics"),
        Just("dimension"),
        Just("breakdown_1"),
        Just("breakdown_2"),
        Just("step"),
        Just("hop_number"),
        Just("id"),
        Just("name"),
        Just("dateTime"),
        Just("reportDate"),
        Just("values"),
        Just("dimensions"),
        Just("type"),
        Just("x"),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1e999".to_owned()),
        Just(r#""\ud83d""#.to_owned()),
        Just(r#""2026-01-01T00:00:00Z""#.to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "-?[0-9]\\.[0-9]{1,3}",
        "[ -!#-\\[\\]-~]{0,8}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6)
                .prop_map(|all| format!("[{}]", all.join(" , "))),
            proptest::collection::vec((key.clone(), inner), 0..6).prop_map(|all| {
                let members: Vec<String> = all
                    .iter()
                    .map(|(key, value)| format!("\"{key}\" : {value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    /// Invariant 5: an odd row never costs another, and no JSON panics.
    #[test]
    fn c05_no_row_costs_another(odd in json(), before in any::<bool>()) {
        let good = [
            v1_item("[7,8]", ""),
            v2_item(r#"{"id":1},{"id":2}"#, r#""dateTime":"2026-01-01T00:00:00""#),
        ];
        let both = |good: &str| match before {
            true => format!("{odd},{good}"),
            false => format!("{good},{odd}"),
        };
        let (lines, _) = read_lines(ApiVersion::V1, &v1_page(&both(&good[0]), "null")).unwrap();
        prop_assert!(lines.iter().any(|line| line == A) && lines.iter().any(|line| line == B));
        let (lines, _) = read_lines(ApiVersion::Explorer("v2"), &v2_page(&both(&good[1]), "")).unwrap();
        prop_assert!(lines.iter().any(|line| line == A));
    }

    #[test]
    fn c05_no_answer_panics(any in json(), zone in json()) {
        let _ = read_lines(ApiVersion::V1, &any);
        let _ = read_lines(ApiVersion::Explorer("v2"), &any);
        let _ = read_lines(ApiVersion::V1, &v1_page(&v1_item(&any, ""), &zone));
        let _ = read_lines(ApiVersion::Explorer("v2"), &v2_page(&any, &format!(r#","timeZoneOffSet":{zone}"#)));
        let _ = Page::read(ApiVersion::Explorer("v2"), format!(r#"{{"data":{any},"usageLimits":{zone},"errors":{zone}}}"#));
        let _ = Page::read(ApiVersion::V1, format!(r#"{{"detail":{any},"start":{zone}}}"#));
    }
}

/// A group of v2 whose metrics are missing costs its own values.
#[test]
fn c05_a_group_without_metrics_costs_itself() {
    let dimensions = r#"{"type":{"id":16},"id":1},{"type":{"id":1},"id":2}"#;
    let item = v2_item(dimensions, r#""dateTime":"2026-01-01T00:00:00""#);
    let page = format!(
        r#"{{"data":{{"responseItems":[{{"items":[{item}]}},{{"metrics":[{{"name":"A"}}],"items":[{item}]}}]}}}}"#
    );
    let (lines, counts) = read_lines(ApiVersion::Explorer("v2"), &page).unwrap();
    assert_eq!(lines, [A]);
    assert_eq!(counts.skipped, [(NO_METRIC, 1)].into());
}
