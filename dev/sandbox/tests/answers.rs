//! The shape of each kind of answer, to the byte, and the limits of calls.
//!
//! That the answers together give exactly the truth is tested with the component (`tests/versions.rs`,
//! `tests/simulated_week.rs`), and so is every failure on demand (`tests/report_lines.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::io::Read;
use std::time::Duration;

use catchpoint_sandbox::{Body, Clock, Sandbox, Settings, TestType, World};
use chrono::{DateTime, Utc};
use http::{Request, Response};
use insta::assert_snapshot;
use serde_json::Value;

/// 2023-11-14T22:00:00Z, a Tuesday.
const START: i64 = 1_699_999_200;

const LASTRAW: &str = "/ui/api/v1/performance/raw";
const V2: &str = "/api/v2/tests/explorer/raw";

fn time(epoch: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(epoch, 0).unwrap()
}

/// A sandbox whose clock stands at [`START`], without limits.
fn sandbox(world: World) -> Sandbox {
    with(world, |settings| settings.limits = None)
}

fn with(world: World, change: impl FnOnce(&mut Settings)) -> Sandbox {
    let mut settings = Settings::default();
    change(&mut settings);
    Sandbox::new(world, Clock::driven(time(START)), settings)
}

/// A GET with this bearer; panics if nothing answers.
fn call(sandbox: &Sandbox, uri: &str, bearer: &str) -> Response<Body> {
    let request = Request::get(uri).header("authorization", format!("Bearer {bearer}"));
    let reply = sandbox.handle(&request.body(Vec::new()).unwrap());
    reply.answer.expect("refused")
}

/// Status and body of a GET with this bearer; panics if the body breaks off.
fn get(sandbox: &Sandbox, uri: &str, bearer: &str) -> (u16, String) {
    text(call(sandbox, uri, bearer))
}

fn text(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let mut text = String::new();
    response.into_body().read_to_string(&mut text).unwrap();
    (status, text)
}

fn post_token(sandbox: &Sandbox, secret: &str) -> (u16, String) {
    let form =
        format!("grant_type=client_credentials&client_id=sandbox-client&client_secret={secret}");
    let request = Request::post("/ui/api/token").body(form.into_bytes());
    text(sandbox.handle(&request.unwrap()).answer.expect("refused"))
}

fn token(sandbox: &Sandbox) -> String {
    let (status, text) = post_token(sandbox, "sandbox-secret");
    assert_eq!(status, 200, "{text}");
    json(&text)["access_token"].as_str().unwrap().to_owned()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// One test of a type on one node, every ten minutes.
fn small(kind: TestType) -> World {
    let builder = World::builder().only(&[kind]).tests(kind, 1);
    builder.nodes(1).interval_minutes(10).build()
}

/// Lists of columns and values cut after two; the rest of the text as it is.
fn abridged((status, text): (u16, String)) -> String {
    let mut out = format!("{status} ");
    let mut rest = text.as_str();
    let find = |rest: &str| {
        let ends = ["metrics\":[", "values\":["].map(|mark| Some(rest.find(mark)? + mark.len()));
        ends.into_iter().flatten().min()
    };
    while let Some(at) = find(rest) {
        let (before, list) = rest.split_at(at);
        let (list, after) = list.split_at(list.find(']').unwrap());
        let separator = if list.starts_with('{') { "},{" } else { "," };
        let members: Vec<&str> = list.split(separator).collect();
        out += before;
        out += &members[..members.len().min(2)].join(separator);
        out += &format!("…{}", members.len());
        rest = after;
    }
    out + rest
}

fn last_raw(sandbox: &Sandbox, ids: &str) -> String {
    let uri = format!("{LASTRAW}?tests={ids}");
    abridged(get(sandbox, &uri, &token(sandbox)))
}

fn v2(sandbox: &Sandbox, query: &str) -> String {
    abridged(get(sandbox, &format!("{V2}?{query}"), "sandbox-key"))
}

#[test]
fn an_answer_of_each_kind() {
    let ping = sandbox(small(TestType::Ping));
    let transaction = sandbox(small(TestType::Transaction));
    let page = "testIds=142600&startTimeUtc=2023-11-14T21:50:00&pageSize=1";
    let v4 = format!("/api/v4/tests/explorer/raw?{page}");
    let nothing_new = World::builder().only(&[TestType::Dns]).nodes(1);
    let nothing_new = sandbox(nothing_new.interval_minutes(1440).build());
    let west = with(small(TestType::Ping), |it| it.utc_offset_minutes = -480);
    let answers = [
        ("a token", abridged(post_token(&ping, "sandbox-secret"))),
        ("no token", abridged(post_token(&ping, "wrong"))),
        ("v1", last_raw(&ping, "142600")),
        (
            "v1, a hop",
            last_raw(&sandbox(small(TestType::Traceroute)), "142600"),
        ),
        ("v1, nothing new", last_raw(&nothing_new, "142600")),
        ("v1, another zone", last_raw(&west, "142600")),
        ("v1, an unknown test", last_raw(&ping, "142600,7")),
        ("v1, no test", last_raw(&ping, "")),
        (
            "another path",
            abridged(get(&ping, "/ui/api/v1/tests", "x")),
        ),
        ("v2, a step", v2(&transaction, page)),
        (
            "v2, test alone",
            v2(&transaction, &format!("{page}&dimensionIds=16")),
        ),
        ("v2, another zone", v2(&west, page)),
        ("v2, an unknown test", v2(&ping, "testIds=142600,7")),
        (
            "v2, a wrong time",
            v2(&ping, "testIds=142600&startTimeUtc=now"),
        ),
        ("v2, a wrong key", abridged(get(&ping, V2, "wrong"))),
        ("v4", abridged(get(&transaction, &v4, "sandbox-key"))),
    ];
    let lines = answers.map(|(name, answer)| format!("## {name}\n{answer}\n"));
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn tests_of_two_types_are_refused_and_every_second_api_test_has_steps() {
    let world = World::builder().only(&[TestType::Api, TestType::Ping]);
    let sandbox = sandbox(
        world
            .tests_per_type(2)
            .nodes(1)
            .interval_minutes(15)
            .build(),
    );
    let refused = last_raw(&sandbox, "142600,142602");
    assert_eq!(
        refused,
        r#"200 {"error":"All tests must be of the same type"}"#
    );
    let answer = last_raw(&sandbox, "142600,142601");
    assert_eq!(answer.matches(r#""step":""#).count(), 3, "{answer}");
    assert_eq!(answer.matches(r#""breakdown_1":{"id":14260"#).count(), 4);
}

#[test]
fn the_limit_of_each_window_is_named_with_its_reset() {
    let check = |calls: usize, gap_millis, window: &str, reset: &str| {
        let sandbox = with(small(TestType::Ping), |settings| {
            settings.limits.as_mut().unwrap().day = 501;
        });
        for _ in 0..calls {
            let status = get(&sandbox, &format!("{V2}?testIds=142600"), "sandbox-key").0;
            assert_eq!(status, 200, "{window}");
            sandbox.clock().advance(Duration::from_millis(gap_millis));
        }
        let response = call(&sandbox, &format!("{LASTRAW}?tests=142600"), "x");
        assert_eq!(response.status(), 429, "{window}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let said = (header("x-rate-limit-limit"), header("x-rate-limit-reset"));
        assert_eq!(said, (window.to_owned(), format!("2023-11-{reset}Z")));
        let words = format!("API calls quota exceeded! maximum admitted {calls} per {window}.");
        assert_eq!(text(response).1, format!(r#"{{"Message":"{words}"}}"#));
        assert_eq!(sandbox.peak().day, u32::try_from(calls + 1).unwrap());
    };
    check(7, 1, "1s", "14T22:00:01.007000");
    check(20, 150, "1m", "14T22:01:00.000000");
    check(500, 3001, "1h", "14T23:00:00.500000");
    check(501, 7300, "1d", "15T00:00:00.300000");
}
