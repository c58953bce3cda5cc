//! Answers of the API as lines: byte for byte what the original script makes of them, but for nulls
//! (skipped here), `.0` (left out here), a text of digits (the number that it is, here) and a hop
//! beside a step (kept here).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

#[path = "mapping/laws.rs"]
mod laws;
#[path = "mapping/shapes.rs"]
mod shapes;

use std::fmt::Write;
use std::io::Read;

use catchpoint_graphite::catchpoint::answer::Answer;
use catchpoint_graphite::catchpoint::body;
use catchpoint_graphite::catchpoint::{Counts, Page};
use catchpoint_graphite::config::catchpoint::ApiVersion;
use catchpoint_graphite::config::graphite::GraphiteSettings;
use catchpoint_sandbox::{Clock, Sandbox, Settings, TestType, World};
use insta::assert_snapshot;

/// What is found in an answer, line by line, in brackets what is no line, and what the answer says
/// besides.
fn lines(version: ApiVersion, body: impl Read) -> (String, Result<Answer, String>) {
    let page = match body::read(body).and_then(|text| Page::read(version, text)) {
        Ok(page) => page,
        Err(error) => return (String::new(), Err(error.to_string())),
    };
    let mut out = String::new();
    let names = GraphiteSettings::default();
    let mut lines = page.lines(&names, "web");
    let mut seen = Counts::default();
    loop {
        let mut line = String::new();
        let more = lines.fill(&mut line, 1);
        write_new(&seen, lines.counts(), &mut out);
        seen = lines.counts().clone();
        out.push_str(&line);
        if !more {
            return (out, Ok(page.answer));
        }
    }
}

/// What was counted between two lines.
fn write_new(seen: &Counts, counts: &Counts, out: &mut String) {
    for _ in seen.nulls..counts.nulls {
        out.push_str("[null]\n");
    }
    for (reason, count) in counts.skipped.iter().rev() {
        for _ in seen.skipped.get(reason).copied().unwrap_or(0)..*count {
            writeln!(out, "[{reason}]").unwrap();
        }
    }
}

fn v1_lines(body: impl Read) -> (String, Result<Answer, String>) {
    lines(ApiVersion::V1, body)
}

fn v2_lines(body: impl Read) -> (String, Result<Answer, String>) {
    lines(ApiVersion::Explorer("v2"), body)
}

/// Lines, then what the answer said besides.
fn v1_text(body: &str) -> String {
    let (lines, answer) = v1_lines(body.as_bytes());
    format!("{lines}{answer:?}")
}

/// The shape of a real answer, with every optional part and every odd name.
const REAL: &str = r##"
{"start":"2015-08-08T02:01:48.6949806Z","end":"2015-08-08T02:16:48.6949806Z",
 "timezone":{"id":4,"name":"UTC"},
 "detail":{
  "fields":{"synthetic_metrics":[{"index":0,"name":"DNS (ms)"},{"index":1,"name":"# Items (Total)"},{"index":2,"name":"% Availability"}],
            "host_Ip":true,"error":true,
            "breakdown_1":{"id":1,"name":"Test"},"breakdown_2":{"id":2,"name":"Node"},"dimension":{"id":0,"name":"Time"}},
  "items":[{"host_Ip":"206.190.36.45","synthetic_metrics":[78.0,null,100],
            "dimension":{"id":635745961110000000,"name":"2015-08-08T02:01:51Z"},
            "breakdown_1":{"id":81093,"name":"Yahoo Test"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
           {"host_Ip":"2001:db8::1","synthetic_metrics":[12.345,0.1,99.5],"step":"2",
            "dimension":{"id":635745961119999999,"name":"2015-08-08T02:01:51.9999999Z"},
            "breakdown_1":{"id":81094,"name":"Log in"},"breakdown_2":{"id":258,"name":"Paris - OVH"}},
           {"synthetic_metrics":[1,2,3],"hop_number":7,
            "dimension":{"id":635745961110000000,"name":"2015-08-08T02:01:51"},
            "breakdown_1":{"id":81095,"name":"Route"},"breakdown_2":{"id":259,"name":"Oslo"}},
           {"synthetic_metrics":[4,5,6],"step":"1","hop_number":"8","indicators":[1],"tracepoints":[{"id":1}],
            "dimension":{"id":635745961110000000,"name":"2015-08-08T02:01:51"},
            "breakdown_1":{"id":81096,"name":"Both"},"breakdown_2":{"id":260,"name":"Rome"}},
           {"synthetic_metrics":[9],"dimension":{"id":635745961110000000,"name":"no time"},
            "breakdown_1":{"id":"81097"},"breakdown_2":{"id":261}},
           {"synthetic_metrics":["9",[1,{"a":2}],3,4],"dimension":{"name":"2015-08-08T02:01:51Z"},
            "breakdown_1":{"id":81098},"breakdown_2":{"id":262}},
           {"synthetic_metrics":[9],"dimension":{"name":"2015-08-08T02:01:51Z"},"breakdown_1":{"id":81099}}]}}
"##;

#[test]
fn a_real_answer_gives_the_originals_lines() {
    assert_snapshot!(v1_text(REAL), @"
    system.cp.testdata.DNS(ms);testId=81093;nodeId=257 78 1438999311
    [null]
    system.cp.testdata.%Availability;testId=81093;nodeId=257 100 1438999311
    system.cp.testdata.DNS(ms);testId=81094;nodeId=258;stepNumber=2 12.345 1438999311
    system.cp.testdata.#Items(Total);testId=81094;nodeId=258;stepNumber=2 0.1 1438999311
    system.cp.testdata.%Availability;testId=81094;nodeId=258;stepNumber=2 99.5 1438999311
    system.cp.testdata.DNS(ms);testId=81095;nodeId=259;hopNumber=7 1 1438999311
    system.cp.testdata.#Items(Total);testId=81095;nodeId=259;hopNumber=7 2 1438999311
    system.cp.testdata.%Availability;testId=81095;nodeId=259;hopNumber=7 3 1438999311
    system.cp.testdata.DNS(ms);testId=81096;nodeId=260;stepNumber=1;hopNumber=8 4 1438999311
    system.cp.testdata.#Items(Total);testId=81096;nodeId=260;stepNumber=1;hopNumber=8 5 1438999311
    system.cp.testdata.%Availability;testId=81096;nodeId=260;stepNumber=1;hopNumber=8 6 1438999311
    system.cp.testdata.DNS(ms);testId=81097;nodeId=261 9 1438999311
    system.cp.testdata.DNS(ms);testId=81098;nodeId=262 9 1438999311
    [not_a_number]
    system.cp.testdata.%Availability;testId=81098;nodeId=262 3 1438999311
    [value_without_metric]
    [row_without_test_node_or_time]
    Ok(Answer { complaint: None, span: Some(TimeRange { from: 1438999309, to: 1439000208 }), next: None, has_more: false, usage: None, listed: [] })
    ");
}

#[test]
fn what_is_no_data_is_said() {
    let said: String = [
        r#"{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:15:00Z","detail":null}"#,
        r#"{"error":"All tests must be of the same type"}"#,
        r#"{"Message":"Expired token"}"#,
        r#"{"message":"  ","detail":{"fields":{},"items":[]}}"#,
        r#"{"error":{"code":7,"message":"No division"}}"#,
        r#"{"error":{"code":7},"detail":null}"#,
        r#"{"error":true}"#,
        r#"{"errors":["One",{"message":"Two"}]}"#,
        r#"{"error":false,"message":null,"errors":[],"detail":null}"#,
        "{}",
        "null",
        r#"{"status":"maintenance"}"#,
        r#"{"errorMessage":"Invalid"}"#,
        r#"{"detail":{"items":[{"synthetic_metrics":[1],"dimension":{"name":"2026-01-01T00:00:00Z"},"breakdown_1":{"id":1},"breakdown_2":{"id":2}}]}}"#,
        r#"{"detail":[]}"#,
        "[]",
        "",
        "{",
        "  \n <html><title>502\n Bad Gateway</title>",
        "{\"a\":1} x",
    ]
    .iter()
    .map(|body| format!("{}\n", v1_text(body)))
    .collect();
    assert_snapshot!(said, @r#"
    Ok(Answer { complaint: None, span: Some(TimeRange { from: 1767225600, to: 1767226500 }), next: None, has_more: false, usage: None, listed: [] })
    Ok(Answer { complaint: Some("All tests must be of the same type"), span: None, next: None, has_more: false, usage: None, listed: [] })
    Ok(Answer { complaint: Some("Expired token"), span: None, next: None, has_more: false, usage: None, listed: [] })
    Ok(Answer { complaint: None, span: None, next: None, has_more: false, usage: None, listed: [] })
    Ok(Answer { complaint: Some("No division"), span: None, next: None, has_more: false, usage: None, listed: [] })
    Ok(Answer { complaint: Some("an error without a message"), span: None, next: None, has_more: false, usage: None, listed: [] })
    Ok(Answer { complaint: Some("an error without a message"), span: None, next: None, has_more: false, usage: None, listed: [] })
    Ok(Answer { complaint: Some("One; Two"), span: None, next: None, has_more: false, usage: None, listed: [] })
    Ok(Answer { complaint: None, span: None, next: None, has_more: false, usage: None, listed: [] })
    Err("the answer is not what the API documents: it holds neither data nor an error")
    Err("the answer is not what the API documents: it holds neither data nor an error")
    Err("the answer is not what the API documents: it holds neither data nor an error")
    Err("the answer is not what the API documents: it holds neither data nor an error")
    Err("the answer is not what the API documents: there are values, but no names of metrics")
    Err("the answer is not what the API documents: invalid length 0, expected an object at line 1 column 12")
    Err("the answer is not what the API documents: invalid length 2, expected an object at line 1 column 2")
    Err("the answer is truncated: EOF while parsing a value at line 1 column 0")
    Err("the answer is truncated: EOF while parsing an object at line 1 column 1")
    Err("the answer is a web page titled \"502 Bad Gateway\", not JSON")
    Err("the answer cannot be read: trailing characters at line 1 column 9")
    "#);
}

#[test]
fn rows_may_come_before_the_names() {
    let item = |id: u32| {
        format!(
            r#"{{"synthetic_metrics":[{id}],"dimension":{{"name":"2026-01-01T00:00:00Z"}},"breakdown_1":{{"id":{id}}},"breakdown_2":{{"id":2}}}}"#
        )
    };
    let fields = r#""fields":{"synthetic_metrics":[{"index":0,"name":"A"}]}"#;
    let early = format!(
        r#"{{"detail":{{"items":[{},{}],{fields}}}}}"#,
        item(1),
        item(2)
    );
    assert_snapshot!(v1_text(&early), @"
    system.cp.testdata.A;testId=1;nodeId=2 1 1767225600
    system.cp.testdata.A;testId=2;nodeId=2 2 1767225600
    Ok(Answer { complaint: None, span: None, next: None, has_more: false, usage: None, listed: [] })
    ");
}

#[test]
fn v2_gives_the_same_names_as_v1() {
    let body = r##"{"data":{"responseItems":[
     {"hasMoreRecords":false,"metrics":[{"index":0,"name":"DNS (ms)"},{"index":1,"name":"# Hosts"}],
      "items":[{"dateTime":"2026-01-01T00:00:00","values":[12.0,null],
        "dimensions":[{"type":{"id":16,"name":"Test"},"id":142613,"name":"Home page"},{"type":{"id":1,"name":"Node"},"id":257,"name":"Los Angeles - TWTC"}],"indicators":[],"tracepoints":[]},
       {"dateTime":"2026-01-01T00:00:01.9999999","values":[12.5,3],
        "dimensions":[{"type":{"id":6},"id":31,"name":"2"},{"type":{"id":90},"id":7,"name":"Hop 7"},{"type":{"id":16},"id":142613},{"type":{"id":1},"id":257},{"type":{"id":19},"id":1,"name":"10.0.0.1"}]}]},
     {"metrics":[{"name":"Jitter (ms)"}],"items":[{"dateTime":"2026-01-01T00:00:00Z","values":[1],"dimensions":[{"type":{"id":16},"id":1},{"type":{"id":1},"id":2}]},
       {"dateTime":"never","values":[1],"dimensions":[]}]}],
     "hasMore":true,"next":"/api/v2/tests/explorer/raw?pageNumber=2","previous":null},
     "messages":[],"errors":[],"completed":true,"traceId":"x",
     "usageLimits":{"limits":{"minute":20,"hour":500,"day":2000},"runs":{"minute":1,"hour":2,"day":3},"exceededMessage":null}}"##;
    let (lines, answer) = v2_lines(body.as_bytes());
    let mut answer = answer.unwrap();
    let usage = serde_json::json!({
        "limits": { "minute": 20, "hour": 500, "day": 2000 },
        "runs": { "minute": 1, "hour": 2, "day": 3 },
        "exceededMessage": null,
    });
    assert_eq!(answer.usage.take(), Some(usage));
    assert_snapshot!(format!("{lines}{answer:#?}"), @r#"
    system.cp.testdata.DNS(ms);testId=142613;nodeId=257 12 1767225600
    [null]
    system.cp.testdata.DNS(ms);testId=142613;nodeId=257;stepNumber=2;hopNumber=7 12.5 1767225601
    system.cp.testdata.#Hosts;testId=142613;nodeId=257;stepNumber=2;hopNumber=7 3 1767225601
    system.cp.testdata.Jitter(ms);testId=1;nodeId=2 1 1767225600
    [row_without_test_node_or_time]
    Answer {
        complaint: None,
        span: None,
        next: Some(
            "/api/v2/tests/explorer/raw?pageNumber=2",
        ),
        has_more: true,
        usage: None,
        listed: [],
    }
    "#);
    let failed = r#"{"data":null,"errors":[{"id":"1","message":"Invalid"},{"message":"Really"}],"completed":false}"#;
    assert_snapshot!(format!("{:?}", v2_lines(failed.as_bytes()).1), @r#"Ok(Answer { complaint: Some("Invalid; Really"), span: None, next: None, has_more: false, usage: None, listed: [] })"#);
    assert_snapshot!(format!("{:?}", v2_lines(r#"{"completed":false}"#.as_bytes()).1), @r#"Ok(Answer { complaint: Some("the query was not completed, without a reason given"), span: None, next: None, has_more: false, usage: None, listed: [] })"#);
}

/// One answer of a small world of one type.
fn sandbox_answer(kind: TestType, path: &str) -> Vec<u8> {
    let world = World::builder()
        .seed(3)
        .only(&[kind])
        .tests_per_type(1)
        .nodes(1)
        .interval_minutes(15)
        .build();
    let ids: Vec<String> = world.ids(kind).iter().map(u64::to_string).collect();
    let clock = Clock::driven("2026-03-01T12:15:00Z".parse().unwrap());
    let sandbox = Sandbox::new(world, clock, Settings::default());
    let call = |request: http::Request<Vec<u8>>| {
        let answer = sandbox.handle(&request).answer.expect("refused");
        let mut body = Vec::new();
        answer.into_body().read_to_end(&mut body).unwrap();
        body
    };
    let form =
        "grant_type=client_credentials&client_id=sandbox-client&client_secret=sandbox-secret";
    let token = http::Request::post("http://catchpoint.test/ui/api/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.as_bytes().to_vec());
    let token: serde_json::Value = serde_json::from_slice(&call(token.unwrap())).unwrap();
    let bearer = match path.contains("v2") {
        true => "sandbox-key",
        false => token["access_token"].as_str().unwrap(),
    };
    let request = http::Request::get(format!("http://catchpoint.test{path}{}", ids.join(",")))
        .header("authorization", format!("Bearer {bearer}"));
    call(request.body(Vec::new()).unwrap())
}

/// What the original prints for a v1 answer, by its documented behaviour: written against a JSON
/// tree, as it does, and not with any of our types.
fn as_the_original(body: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap();
    let names: Vec<String> = answer["detail"]["fields"]["synthetic_metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| metric["name"].as_str().unwrap().replace(' ', ""))
        .collect();
    let mut out = String::new();
    for item in answer["detail"]["items"].as_array().unwrap() {
        let time: chrono::NaiveDateTime = item["dimension"]["name"]
            .as_str()
            .unwrap()
            .trim_end_matches('Z')
            .parse()
            .unwrap();
        for (name, value) in names
            .iter()
            .zip(item["synthetic_metrics"].as_array().unwrap())
        {
            let text = value.to_string();
            let text = text.strip_suffix(".0").unwrap_or(&text);
            if value.is_null() {
                out.push_str("[null]\n");
                continue;
            }
            let ids = (&item["breakdown_1"]["id"], &item["breakdown_2"]["id"]);
            write!(
                out,
                "system.cp.testdata.{name};testId={};nodeId={}",
                ids.0, ids.1
            )
            .unwrap();
            let plain = |value: &serde_json::Value| value.to_string().trim_matches('"').to_owned();
            if let Some(step) = item.get("step") {
                write!(out, ";stepNumber={}", plain(step)).unwrap();
            } else if let Some(hop) = item.get("hop_number") {
                write!(out, ";hopNumber={}", plain(hop)).unwrap();
            }
            writeln!(out, " {text} {}", time.and_utc().timestamp()).unwrap();
        }
    }
    out
}

#[test]
fn every_test_type_gives_the_originals_lines_in_both_versions() {
    for kind in TestType::ALL {
        let body = sandbox_answer(kind, "/ui/api/v1/performance/raw?tests=");
        let (lines, answer) = v1_lines(&body[..]);
        answer.unwrap();
        assert!(lines.lines().count() > 1, "{kind:?}");
        assert_eq!(lines, as_the_original(&body), "{kind:?}");
        assert_snapshot!(format!("v1_{}", kind.name()), lines);

        let body = sandbox_answer(
            kind,
            "/api/v2/tests/explorer/raw?startTimeUtc=2026-03-01T12:00:00&endTimeUtc=2026-03-01T12:15:00&testIds=",
        );
        let (v2_lines, answer) = v2_lines(&body[..]);
        answer.unwrap();
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(sorted(&v2_lines), sorted(&lines), "{kind:?}");
    }
}
