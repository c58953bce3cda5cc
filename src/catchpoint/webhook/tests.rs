use proptest::prelude::*;

use super::words::WORDS;
use super::*;
use crate::config::catchpoint::CatchpointSettings;

/// The settings with these keys of `config_graphite.yaml`.
fn settings(graphite: &str) -> Settings {
    let (catchpoint, _) =
        CatchpointSettings::read("", "test_ids: { web: [464062], ping: [464067] }");
    Settings {
        catchpoint,
        graphite: GraphiteSettings::read("", graphite).0,
        relay_url: String::new(),
        relay_token: None,
    }
}

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/webhook/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// What each public shape comes to, in one file.
#[test]
fn every_shape() {
    let mut shown = String::new();
    for name in [
        "web",
        "transaction",
        "traceroute",
        "api",
        "dns",
        "ping",
        "failure",
        "template",
    ] {
        let push = Push::read(&fixture(name), &settings("")).unwrap();
        let Counts {
            samples,
            nulls,
            skipped,
            ..
        } = &push.counts;
        let unknown: Vec<&str> = push.unknown.iter().map(String::as_str).collect();
        shown += &format!(
            "# {name}: {samples} samples, {nulls} nulls, skipped {skipped:?}\n# unknown: {}\n{}\n",
            unknown.join(", "),
            str::from_utf8(&push.lines).unwrap()
        );
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_body_that_can_never_be_used_is_refused_with_the_reason() {
    for (body, reason) in [
        ("", "the body is not JSON"),
        ("<xml/>", "the body is not JSON"),
        ("[]", "the body is not JSON"),
        (r#"{"NodeId":1}"#, "TestId is missing"),
        (r#"{"TestId":"1","NodeId":"-1"}"#, "NodeId is missing"),
        (r#"{"TestId":1,"NodeId":1}"#, "Summary is missing"),
        (
            r#"{"TestId":1,"NodeId":1,"Summary":{"Timestamp":"20261301120000000"}}"#,
            "Summary.Timestamp is not a time",
        ),
    ] {
        let said = Push::read(body, &settings("")).unwrap_err();
        assert!(said.starts_with(reason), "{body}: {said}");
    }
}

/// One odd value costs itself.
#[test]
fn odd_values_are_counted() {
    let body = |timing: &str| {
        format!(
            r#"{{"TestId":1,"NodeId":2,"Summary":{{"Timestamp":"20260301120000000","Timing":{{"Dns":1,{timing}}}}}}}"#
        )
    };
    for (timing, reason) in [
        (r#""Wait":1e400"#, "not_finite"),
        (r#""Wait":"NaN""#, "not_a_number"),
        (r#""Wait":[1]"#, "not_a_number"),
        (r#""Wait":"${timingwait}""#, "unknown_macro"),
        (r#""Wait":"1 2""#, "not_a_number"),
    ] {
        let push = Push::read(&body(timing), &settings("")).unwrap();
        let line = "system.cp.testdata.DNS(ms);testId=1;nodeId=2 1 1772366400\n";
        assert_eq!(push.lines, line.as_bytes(), "{timing}");
        assert_eq!(push.counts.skipped.get(reason), Some(&1), "{timing}");
    }
}

#[test]
fn the_page_and_the_template_have_the_words_of_the_table() {
    let page = include_str!("../../../docs/webhook.md");
    for (word, metric, known) in WORDS {
        let row = format!("| `{word}` | `{metric}` | {known} |");
        assert!(page.contains(&row), "{row}");
    }
    let template = include_str!("../../../deploy/catchpoint/webhook-template.json");
    let template: serde_json::Value = serde_json::from_str(template).unwrap();
    let mut leaves = vec![(String::new(), &template["Summary"])];
    let mut words = 0;
    while let Some((path, value)) = leaves.pop() {
        match value {
            serde_json::Value::Object(below) => leaves.extend(
                below
                    .iter()
                    .map(|(name, value)| (format!("{path}.{name}"), value)),
            ),
            value => {
                let name = path.trim_start_matches('.');
                let lower = name.to_lowercase().replace('.', "");
                assert_eq!(value, &format!("${{{lower}}}"));
                assert!(
                    name == "Timestamp" || words::metric(name).is_some(),
                    "{name}"
                );
                words += 1;
            }
        }
    }
    assert!(words > 40, "{words}");
}

/// Any JSON, with words and numbers of the real thing among it.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "(True|[0-9.e-]{0,20}|\\PC{0,10})".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let name = "(Timing|Dns|Steps|StepNumber|Summary|Hops|RoundTripTimes|\\PC{0,6})";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(name, inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn hostile_bodies_are_harmless(timing in json(), steps in json(), route in json(), bytes: Vec<u8>) {
        let _ = Push::read(&String::from_utf8_lossy(&bytes), &settings(""));
        let body = serde_json::json!({
            "TestId": 1, "NodeId": 2, "Steps": steps, "Diagnostic": { "TraceRoute": route },
            "Summary": { "Timestamp": "20260301120000000", "Timing": timing },
        });
        let push = Push::read(&body.to_string(), &settings("")).unwrap();
        for line in str::from_utf8(&push.lines).unwrap().lines() {
            let parts: Vec<&str> = line.split(' ').collect();
            prop_assert_eq!(parts.len(), 3, "{}", line);
            prop_assert!(parts[1].parse::<f64>().unwrap().is_finite());
            prop_assert_eq!(parts[2], "1772366400");
        }
    }
}

/// As polling writes them; a row without a name for a label is left to polling.
#[test]
fn labels_and_slugs_are_those_of_polling() {
    let settings = settings("labels: [testName, nodeName, testType]\nmetric_names: slug\n");
    let push = Push::read(&fixture("ping"), &settings).unwrap();
    let tags =
        "testId=464067;nodeId=540;testName=Shop;nodeName=Frankfurt,_DE_-_Cloud;testType=ping";
    let expect = format!(
        "system.cp.testdata.pct_ping_packet_loss;{tags} 0 1772366403\n\
         system.cp.testdata.ping_round_trip_ms;{tags} 12.5 1772366403\n"
    );
    assert_eq!(push.lines, expect.as_bytes());
    // Not in `test_ids`, but of a type that Catchpoint lists it under.
    let dns = fixture("dns");
    let push = Push::read(&dns, &settings).unwrap();
    let lines = String::from_utf8(push.lines).unwrap();
    assert!(lines.contains(";testType=dns "), "{lines}");
    let unknown = dns.replace("\"TypeId\": 5", "\"TypeId\": 99");
    let push = Push::read(&unknown, &settings).unwrap();
    assert_eq!(push.counts.skipped.get("missing_label"), Some(&1));
    assert_eq!(push.lines, b"");
    let slugs: BTreeSet<String> = WORDS.iter().map(|row| graphite::slug(row.1)).collect();
    assert_eq!(slugs.len(), WORDS.len());
}
