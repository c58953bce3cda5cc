//! The shape of each kind of answer, to the byte, and every failure on demand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use catchpoint_sandbox::{
    Effect, Empty, Kind, NextLink, Outcome, RangedLists, Rule, Sandbox, Settings, TestType,
    TimeZone, TokenTrouble, World,
};
use common::{LASTRAW, START, V2, call, get, json, post_token, sandbox, text, time, token, with};
use flate2::read::GzDecoder;
use http::Request;
use insta::assert_snapshot;

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
        let marks = ["metrics\":[", "values\":["];
        let ends = marks
            .iter()
            .filter_map(|mark| Some(rest.find(mark)? + mark.len()));
        ends.min()
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
fn a_token() {
    let sandbox = sandbox(small(TestType::Ping));
    assert_snapshot!(abridged(post_token(&sandbox, "sandbox-secret")));
    assert_snapshot!(abridged(post_token(&sandbox, "wrong")));
}

#[test]
fn a_result_of_v1() {
    assert_snapshot!(last_raw(&sandbox(small(TestType::Ping)), "142600"));
    assert_snapshot!(last_raw(&sandbox(small(TestType::Traceroute)), "142600"));
}

#[test]
fn every_second_api_test_has_steps() {
    let world = World::builder()
        .only(&[TestType::Api])
        .tests(TestType::Api, 2);
    let sandbox = sandbox(world.nodes(1).interval_minutes(15).build());
    let answer = last_raw(&sandbox, "142600,142601");
    assert_eq!(answer.matches(r#""step":""#).count(), 3, "{answer}");
    assert_eq!(answer.matches(r#""breakdown_1":{"id":14260"#).count(), 4);
}

#[test]
fn a_range_of_one_test_or_of_a_list() {
    let ask = |ranged_lists, path: &str| {
        let world = World::builder()
            .only(&[TestType::Imap])
            .tests(TestType::Imap, 2);
        let world = world.nodes(1).interval_minutes(10).build();
        let sandbox = with(world, |settings| settings.ranged_lists = ranged_lists);
        let range = "startTime=2023-11-13T23:00:00&endTime=2023-11-13T23:10:00";
        let (_, text) = get(
            &sandbox,
            &format!("{LASTRAW}{path}{range}"),
            &token(&sandbox),
        );
        let call = sandbox.calls().pop().unwrap();
        assert_eq!(call.kind, Kind::Ranged);
        let answer = json(&text);
        let items = answer["detail"]["items"].as_array().map(Vec::len);
        (
            call.tests.len(),
            answer["start"].as_str().map(str::to_owned),
            items,
        )
    };
    let (wanted, last) = (
        "2023-11-13T23:00:00.0000000Z",
        "2023-11-14T21:45:00.0000000Z",
    );
    let check = |lists, path, expect: (usize, Option<&str>, Option<usize>)| {
        let (tests, start, items) = ask(lists, path);
        assert_eq!((tests, start.as_deref(), items), expect, "{lists:?} {path}");
    };
    check(RangedLists::Refused, "/142600?", (1, Some(wanted), Some(1)));
    check(
        RangedLists::Answered,
        "?tests=142600,142601&",
        (2, Some(wanted), Some(2)),
    );
    check(
        RangedLists::Refused,
        "?tests=142600,142601&",
        (2, None, None),
    );
    check(
        RangedLists::Ignored,
        "?tests=142600,142601&",
        (2, Some(last), Some(2)),
    );
}

#[test]
fn nothing_new_has_no_detail_or_a_null() {
    let ask = |empty| {
        let world = World::builder().only(&[TestType::Dns]).nodes(1);
        let world = world.interval_minutes(1440).build();
        last_raw(&with(world, |settings| settings.empty = empty), "142600")
    };
    assert_snapshot!(ask(Empty::Absent), @r#"200 {"start":"2023-11-14T21:45:00.0000000Z","end":"2023-11-14T22:00:00.0000000Z","timezone":{"id":4,"name":"UTC"}}"#);
    assert_snapshot!(ask(Empty::Null), @r#"200 {"start":"2023-11-14T21:45:00.0000000Z","end":"2023-11-14T22:00:00.0000000Z","timezone":{"id":4,"name":"UTC"},"detail":null}"#);
}

#[test]
fn times_are_in_the_zone_of_the_account() {
    let pacific = |settings: &mut Settings| {
        settings.time_zone = TimeZone {
            id: 1,
            name: "Pacific".into(),
            offset_minutes: -480,
        };
    };
    let sandbox = with(small(TestType::Ping), pacific);
    assert_snapshot!(last_raw(&sandbox, "142600"));
    assert_snapshot!(v2(
        &sandbox,
        "testIds=142600&startTimeUtc=2023-11-14T21:50:00"
    ));
}

#[test]
fn failures_of_v1() {
    let world = World::builder()
        .only(&[TestType::Web, TestType::Ping])
        .divisions(2);
    let sandbox = sandbox(world.tests(TestType::Web, 2).build());
    let error = |ids| last_raw(&sandbox, ids);
    assert_snapshot!(error("142600,7"), @r#"200 {"error":"One or more tests are invalid or you do not have access to them"}"#);
    assert_snapshot!(error("142600,142602"), @r#"200 {"error":"All tests must be of the same type"}"#);
    assert_snapshot!(error("142600,142601"), @r#"200 {"error":"All tests must belong to the same division"}"#);
    assert_snapshot!(error(""), @r#"200 {"error":"A list of test ids is required"}"#);
    let other = abridged(get(&sandbox, "/ui/api/v1/tests", "x"));
    assert_snapshot!(other, @r#"404 {"Message":"Not found"}"#);
}

#[test]
fn a_token_expires() {
    let check = |token_trouble, status| {
        let sandbox = with(small(TestType::Ping), |it| it.token_trouble = token_trouble);
        let (uri, token) = (format!("{LASTRAW}?tests=142600"), token(&sandbox));
        let invalid = get(&sandbox, &uri, "nonsense");
        sandbox.clock().set(time(START + 900));
        let expired = get(&sandbox, &uri, &token);
        let message = |word: &str| (status, format!(r#"{{"Message":"{word} token"}}"#));
        assert_eq!([invalid, expired], [message("Invalid"), message("Expired")]);
    };
    check(TokenTrouble::Unauthorized, 401);
    check(TokenTrouble::Message, 200);
}

#[test]
fn a_result_of_v2() {
    let sandbox = sandbox(small(TestType::Transaction));
    let query = "testIds=142600&startTimeUtc=2023-11-14T21:50:00&pageSize=1";
    assert_snapshot!(v2(&sandbox, query));
    assert_snapshot!(v2(&sandbox, &format!("{query}&dimensionIds=16,19")));
    for version in ["v3", "v3.3", "v3.4", "v4"] {
        let uri = format!("/api/{version}/tests/explorer/raw?{query}");
        let (status, text) = get(&sandbox, &uri, "sandbox-key");
        assert_eq!(status, 200);
        assert!(text.contains(&format!(r#""next":"/api/{version}/tests/explorer/raw?"#)));
    }
}

#[test]
fn a_row_of_v2_may_lack_types_and_its_time() {
    let bare = |settings: &mut Settings| {
        settings.dimension_types = false;
        settings.report_date = true;
    };
    let query = "testIds=142600&startTimeUtc=2023-11-14T21:50:00";
    assert_snapshot!(v2(&with(small(TestType::Ping), bare), query));
}

#[test]
fn the_next_page_is_linked_in_four_ways() {
    let next = |next_link| {
        let change = |settings: &mut Settings| {
            settings.next_link = next_link;
            settings.page_size = 4;
        };
        let sandbox = with(small(TestType::Ping), change);
        let uri = format!("http://127.0.0.1:8089{V2}?testIds=142600");
        let answer = json(&get(&sandbox, &uri, "sandbox-key").1);
        assert_eq!(answer["data"]["hasMore"], true);
        answer["data"]["next"].to_string()
    };
    assert_snapshot!(next(NextLink::Absolute), @r#""http://127.0.0.1:8089/api/v2/tests/explorer/raw?testIds=142600&startTimeUtc=2023-11-14T21%3A00%3A00&endTimeUtc=2023-11-14T22%3A00%3A00&pageNumber=2&pageSize=4""#);
    assert_snapshot!(next(NextLink::Relative), @r#""/api/v2/tests/explorer/raw?testIds=142600&startTimeUtc=2023-11-14T21%3A00%3A00&endTimeUtc=2023-11-14T22%3A00%3A00&pageNumber=2&pageSize=4""#);
    assert_snapshot!(next(NextLink::Short), @r#""/v2/tests/explorer/raw?testIds=142600&startTimeUtc=2023-11-14T21%3A00%3A00&endTimeUtc=2023-11-14T22%3A00%3A00&pageNumber=2&pageSize=4""#);
    assert_snapshot!(next(NextLink::Null), @"null");
}

#[test]
fn failures_of_v2() {
    let sandbox = sandbox(small(TestType::Ping));
    assert_snapshot!(v2(&sandbox, "testIds=142600,7"));
    assert_snapshot!(v2(&sandbox, "testIds=142600&startTimeUtc=now"));
    let denied = get(&sandbox, &format!("{V2}?testIds=142600"), "wrong");
    assert_eq!(denied.0, 401);
}

/// Statuses of v2 calls that come so many seconds apart.
fn pace(sandbox: &Sandbox, calls: usize, gap: Duration) -> Vec<u16> {
    let call = || {
        let status = get(sandbox, &format!("{V2}?testIds=142600"), "sandbox-key").0;
        sandbox.clock().advance(gap);
        status
    };
    std::iter::repeat_with(call).take(calls).collect()
}

#[test]
fn the_limit_of_each_window_is_named_with_its_reset() {
    let check = |calls: usize, gap_millis, window: &str, retry_after: &str| {
        let change = |settings: &mut Settings| {
            settings.retry_after = true;
            settings.limits.as_mut().unwrap().day = 501;
        };
        let sandbox = with(small(TestType::Ping), change);
        let statuses = pace(&sandbox, calls, Duration::from_millis(gap_millis));
        assert!(statuses.iter().all(|status| *status == 200), "{window}");
        let response = call(&sandbox, &format!("{LASTRAW}?tests=142600"), "x", &[]);
        assert_eq!(response.status(), 429, "{window}");
        assert_eq!(response.headers()["retry-after"], retry_after);
        let period = response.headers()["x-rate-limit-limit"].clone();
        let period = period.to_str().unwrap();
        let words = format!(
            r#"{{"Message":"API calls quota exceeded! maximum admitted {calls} per {period}."}}"#
        );
        assert_eq!((period, text(response).1), (window, words));
    };
    check(7, 1, "1s", "1");
    check(20, 150, "1m", "57");
    check(500, 3001, "1h", "2100");
    check(501, 7300, "1d", "3543");
}

fn failing(effect: Effect) -> Sandbox {
    let sandbox = sandbox(small(TestType::Ping));
    sandbox.add_fault(Rule::new(effect));
    sandbox
}

fn v2_failing(effect: Effect) -> String {
    v2(&failing(effect), "testIds=142600")
}

#[test]
fn answers_on_demand() {
    let status = |code| Effect::Status {
        code,
        retry_after: Some(30),
    };
    assert!(v2_failing(status(503)).starts_with("503 "));
    assert!(v2_failing(Effect::Html { code: 502 }).starts_with("502 <!DOCTYPE html>"));
    assert!(v2_failing(Effect::WrongShape).starts_with(r#"200 {"data":[{"#));
    let error = Effect::Error {
        message: "Broken".into(),
    };
    assert!(v2_failing(error).contains(r#""message":"Broken""#));
    let cloudflare = |json| v2_failing(Effect::Cloudflare { json });
    assert!(cloudflare(false).starts_with("403 <!DOCTYPE html>"));
    assert!(cloudflare(true).contains(r#""error_code":1010"#));
    let redirect = Effect::Answer {
        code: 302,
        headers: [("location".to_owned(), "https://elsewhere/".to_owned())].into(),
        body: "moved".into(),
    };
    let response = call(&failing(redirect), V2, "sandbox-key", &[]);
    assert_eq!(response.headers()["location"], "https://elsewhere/");
    assert_eq!(text(response), (302, "moved".to_owned()));
}

#[test]
fn gzip_is_sent_when_asked_for_and_by_a_fault() {
    let uri = format!("{V2}?testIds=142600");
    let unpacked = |sandbox: &Sandbox, headers: &[(&str, &str)]| {
        let response = call(sandbox, &uri, "sandbox-key", headers);
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let mut text = String::new();
        GzDecoder::new(response.into_body())
            .read_to_string(&mut text)
            .unwrap();
        json(&text)["data"].clone()
    };
    let plain = sandbox(small(TestType::Ping));
    let expect = json(&get(&plain, &uri, "sandbox-key").1)["data"].clone();
    assert_eq!(unpacked(&plain, &[("accept-encoding", "gzip")]), expect);
    assert_eq!(unpacked(&failing(Effect::Gzip), &[]), expect);
}

#[test]
fn a_banned_user_agent_is_refused_by_cloudflare() {
    let ban = |settings: &mut Settings| settings.banned_agent = Some("library".into());
    let sandbox = with(small(TestType::Ping), ban);
    let status = |agent| call(&sandbox, V2, "x", &[("user-agent", agent)]).status();
    assert_eq!(
        (status("a library/1"), status("curl/8")),
        (http::StatusCode::FORBIDDEN, http::StatusCode::UNAUTHORIZED)
    );
}

#[test]
fn a_cut_answer_is_the_start_of_the_good_one() {
    let whole = get(
        &sandbox(small(TestType::Ping)),
        &format!("{V2}?testIds=142600"),
        "sandbox-key",
    )
    .1;
    let cut = |after| {
        let sandbox = failing(Effect::Truncate { after });
        let response = call(
            &sandbox,
            &format!("{V2}?testIds=142600"),
            "sandbox-key",
            &[],
        );
        let mut read = Vec::new();
        let error = response.into_body().read_to_end(&mut read).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        read.len()
    };
    assert_eq!(cut(None), whole.len() / 2);
    assert_eq!(cut(Some(10)), 10);
    assert_eq!(cut(Some(1 << 20)), whole.len());
}

#[test]
fn delays_are_told_and_refusals_never_arrive() {
    let sandbox = failing(Effect::Delay { millis: 3_600_000 });
    let request = Request::get("/").body(Vec::new()).unwrap();
    assert_eq!(sandbox.handle(&request).delay, Duration::from_secs(3600));
    assert_eq!(sandbox.calls()[0].fault.as_deref(), Some("delay"));
    let sandbox = failing(Effect::Refuse);
    assert!(matches!(sandbox.handle(&request).outcome, Outcome::Refused));
    assert_eq!((sandbox.peak().day, sandbox.calls()[0].status), (0, None));
}
