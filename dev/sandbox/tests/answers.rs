//! The shape of every kind of answer, to the byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod common;

use catchpoint_sandbox::{NextLink, Sandbox, Settings, TestType, TokenTrouble, World};
use common::{LASTRAW, START, V2, answer, get, list, sandbox, time, token, token_request, with};
use http::{Request, StatusCode};
use insta::assert_snapshot;

/// One test of a type on one node, every ten minutes.
fn small(kind: TestType) -> World {
    World::builder()
        .only(&[kind])
        .tests(kind, 1)
        .nodes(1)
        .interval_minutes(10)
        .build()
}

/// Lists of columns and values cut after two, and line breaks; the rest of the text as it is.
fn abridged((status, text): (u16, String)) -> String {
    let mut out = format!("{status} ");
    let mut rest = text.as_str();
    while let Some(at) = ["metrics\":[", "values\":["]
        .iter()
        .filter_map(|mark| Some(rest.find(mark)? + mark.len()))
        .min()
    {
        let (before, list) = rest.split_at(at);
        let (list, after) = list.split_at(list.find(']').unwrap());
        let separator = if list.starts_with('{') { "},{" } else { "," };
        let members: Vec<&str> = list.split(separator).collect();
        out += before;
        out += &members[..members.len().min(2)].join(separator);
        out += &format!("…{}", members.len());
        rest = after;
    }
    out += rest;
    for part in [
        "\"detail\":",
        "{\"host_Ip\":\"",
        "{\"startTimeUtc\"",
        "{\"dateTime\"",
        "\"messages\"",
    ] {
        out = out.replace(part, &format!("\n{part}"));
    }
    out
}

fn last_raw(sandbox: &Sandbox, ids: &[u64]) -> String {
    abridged(get(
        sandbox,
        &format!("{LASTRAW}?tests={}", list(ids)),
        &token(sandbox),
    ))
}

fn v2(sandbox: &Sandbox, query: &str) -> String {
    abridged(get(sandbox, &format!("{V2}?{query}"), "sandbox-key"))
}

#[test]
fn a_token() {
    let sandbox = sandbox(small(TestType::Ping));
    let ask = |id, secret| abridged(answer(&sandbox, token_request(id, secret)));
    assert_snapshot!(ask("sandbox-client", "sandbox-secret"), @r#"200 {"access_token":"F481117D03433B7A44C8C68FF0A4F3D7","token_type":"bearer","expires_in":900}"#);
    assert_snapshot!(ask("sandbox-client", "wrong"), @r#"401 {"error":"invalid_client"}"#);
    let form = b"grant_type=password&client_id=sandbox-client&client_secret=sandbox-secret";
    let request = Request::post("/ui/api/token").body(form.to_vec()).unwrap();
    assert_snapshot!(abridged(answer(&sandbox, request)), @r#"400 {"error":"unsupported_grant_type"}"#);
}

#[test]
fn last_raw_of_a_ping() {
    let sandbox = sandbox(small(TestType::Ping));
    let uri = format!("{LASTRAW}?tests=142600");
    let (status, text) = get(&sandbox, &uri, &token(&sandbox));
    assert_eq!(status, 200);
    assert_snapshot!(text, @r##"{"start":"2023-11-14T21:45:00.0000000Z","end":"2023-11-14T22:00:00.0000000Z","timezone":{"id":4,"name":"UTC"},"detail":{"fields":{"synthetic_metrics":[{"index":0,"name":"Ping Round Trip (ms)"},{"index":1,"name":"% Ping Packet Loss"},{"index":2,"name":"Jitter (ms)"},{"index":3,"name":"% Availability"},{"index":4,"name":"% Downtime"},{"index":5,"name":"# Runs"},{"index":6,"name":"# Test Errors"}],"host_Ip":true,"error":true,"breakdown_1":{"id":1,"name":"Test"},"breakdown_2":{"id":2,"name":"Node"},"dimension":{"id":0,"name":"Time"}},"items":[{"host_Ip":"198.51.100.231","synthetic_metrics":[29.43,25.0,2.54,100.0,0.0,1.0,0.0],"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page ping 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}}]}}"##);
}

#[test]
fn last_raw_of_a_transaction_has_steps() {
    assert_snapshot!(last_raw(&sandbox(small(TestType::Transaction)), &[142_600]), @r#"
    200 {"start":"2023-11-14T21:45:00.0000000Z","end":"2023-11-14T22:00:00.0000000Z","timezone":{"id":4,"name":"UTC"},
    "detail":{"fields":{"synthetic_metrics":[{"index":0,"name":"DNS (ms)"},{"index":1,"name":"Connect (ms)"…67],"host_Ip":true,"error":true,"breakdown_1":{"id":1,"name":"Test"},"breakdown_2":{"id":2,"name":"Node"},"dimension":{"id":0,"name":"Time"}},"items":[
    {"host_Ip":"198.51.100.231","synthetic_metrics":[15.0,29.0…67],"step":"1","dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page transaction 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[14.0,29.0…67],"step":"4","dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page transaction 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[14.0,29.0…67],"step":"3","dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page transaction 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[null,29.0…67],"step":"2","dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page transaction 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}}]}}
    "#);
}

#[test]
fn last_raw_of_a_traceroute_has_hops() {
    assert_snapshot!(last_raw(&sandbox(small(TestType::Traceroute)), &[142_600]), @r#"
    200 {"start":"2023-11-14T21:45:00.0000000Z","end":"2023-11-14T22:00:00.0000000Z","timezone":{"id":4,"name":"UTC"},
    "detail":{"fields":{"synthetic_metrics":[{"index":0,"name":"Ping Round Trip (ms)"},{"index":1,"name":"% Ping Packet Loss"…8],"host_Ip":true,"error":true,"breakdown_1":{"id":1,"name":"Test"},"breakdown_2":{"id":2,"name":"Node"},"dimension":{"id":0,"name":"Time"}},"items":[
    {"host_Ip":"198.51.100.231","synthetic_metrics":[null,0.0…8],"hop_number":2,"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page traceroute 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[22.51,0.0…8],"hop_number":7,"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page traceroute 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[9.57,0.0…8],"hop_number":3,"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page traceroute 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[26.04,0.0…8],"hop_number":8,"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page traceroute 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[12.7,0.0…8],"hop_number":4,"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page traceroute 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[29.05,0.0…8],"hop_number":9,"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page traceroute 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[15.75,0.0…8],"hop_number":5,"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page traceroute 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[3.27,25.0…8],"hop_number":1,"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page traceroute 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[18.89,0.0…8],"hop_number":6,"dimension":{"id":638355955572911402,"name":"2023-11-14T21:52:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page traceroute 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}}]}}
    "#);
}

#[test]
fn times_have_three_forms_and_whole_numbers_two() {
    let world = World::builder()
        .only(&[TestType::Smtp])
        .nodes(1)
        .interval_minutes(15)
        .build();
    assert_snapshot!(last_raw(&sandbox(world), &[142_600, 142_601, 142_602]), @r#"
    200 {"start":"2023-11-14T21:45:00.0000000Z","end":"2023-11-14T22:00:00.0000000Z","timezone":{"id":4,"name":"UTC"},
    "detail":{"fields":{"synthetic_metrics":[{"index":0,"name":"Test Time (ms)"},{"index":1,"name":"DNS (ms)"…8],"host_Ip":true,"error":true,"breakdown_1":{"id":1,"name":"Test"},"breakdown_2":{"id":2,"name":"Node"},"dimension":{"id":0,"name":"Time"}},"items":[
    {"host_Ip":"198.51.100.80","synthetic_metrics":[667,19…8],"dimension":{"id":638355952950000000,"name":"2023-11-14T21:48:15Z"},"breakdown_1":{"id":142601,"name":"Checkout \"fast lane\" smtp 2"},"breakdown_2":{"id":266,"name":"Frankfurt - Cogent"}},
    {"host_Ip":"198.51.100.160","synthetic_metrics":[580.0,33.0…8],"dimension":{"id":638355955310000000,"name":"2023-11-14T21:52:11"},"breakdown_1":{"id":142602,"name":"Überblick smtp 3"},"breakdown_2":{"id":275,"name":"Tokyo - Zayo"}},
    {"host_Ip":"198.51.100.231","synthetic_metrics":[565.0,14.0…8],"dimension":{"id":638355952572911402,"name":"2023-11-14T21:47:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page smtp 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}}]}}
    "#);
}

#[test]
fn a_range() {
    let sandbox = sandbox(small(TestType::Imap));
    let ask = |query: &str| {
        let uri = format!("{LASTRAW}/142600?{query}");
        abridged(get(&sandbox, &uri, &token(&sandbox)))
    };
    assert_snapshot!(ask("startTime=2023-11-13T23:00:00&endTime=2023-11-13T23:10:00"), @r#"
    200 {"start":"2023-11-13T23:00:00.0000000Z","end":"2023-11-13T23:10:00.0000000Z","timezone":{"id":4,"name":"UTC"},
    "detail":{"fields":{"synthetic_metrics":[{"index":0,"name":"Test Time (ms)"},{"index":1,"name":"Connect (ms)"…9],"host_Ip":true,"error":true,"breakdown_1":{"id":1,"name":"Test"},"breakdown_2":{"id":2,"name":"Node"},"dimension":{"id":0,"name":"Time"}},"items":[
    {"host_Ip":"198.51.100.231","synthetic_metrics":[599.0,29.0…9],"dimension":{"id":638355133572911402,"name":"2023-11-13T23:02:37.2911402Z"},"breakdown_1":{"id":142600,"name":"Home page imap 1"},"breakdown_2":{"id":257,"name":"Los Angeles - TWTC"}}]}}
    "#);
    assert_snapshot!(ask("startTime=2023-11-13T23:00:00&endTime=2023-11-13T22:00:00"), @r#"200 {"error":"startTime and endTime must be UTC times, the start before the end"}"#);
    assert_snapshot!(ask("startTime=yesterday"), @r#"200 {"error":"startTime and endTime must be UTC times, the start before the end"}"#);
    assert_snapshot!(ask("endTime=2023-11-13T23:10:00"), @r#"200 {"error":"startTime and endTime must be UTC times, the start before the end"}"#);
    assert_snapshot!(ask("startTime=2031-01-01T00:00:00&endTime=2031-01-02T00:00:00"), @r#"
    200 {"start":"2031-01-01T00:00:00.0000000Z","end":"2031-01-02T00:00:00.0000000Z","timezone":{"id":4,"name":"UTC"},
    "detail":null}
    "#);
}

#[test]
fn nothing_new_is_a_null() {
    let world = World::builder()
        .only(&[TestType::Dns])
        .nodes(1)
        .interval_minutes(1440)
        .build();
    assert_snapshot!(last_raw(&sandbox(world), &[142_600]), @r#"
    200 {"start":"2023-11-14T21:45:00.0000000Z","end":"2023-11-14T22:00:00.0000000Z","timezone":{"id":4,"name":"UTC"},
    "detail":null}
    "#);
}

#[test]
fn trouble_of_v1() {
    let world = World::builder()
        .only(&[TestType::Web, TestType::Ping])
        .tests(TestType::Web, 2)
        .divisions(2)
        .build();
    let sandbox = sandbox(world);
    assert_snapshot!(last_raw(&sandbox, &[142_600, 7]), @r#"200 {"error":"One or more tests are invalid or you do not have access to them"}"#);
    assert_snapshot!(last_raw(&sandbox, &[142_600, 142_602]), @r#"200 {"error":"All tests must be of the same type"}"#);
    assert_snapshot!(last_raw(&sandbox, &[142_600, 142_601]), @r#"200 {"error":"All tests must belong to the same division"}"#);
    assert_snapshot!(last_raw(&sandbox, &[]), @r#"200 {"error":"A list of test ids is required"}"#);
    let other = abridged(get(&sandbox, "/ui/api/v1/tests", "x"));
    assert_snapshot!(other, @r#"404 {"Message":"Not found"}"#);
}

#[test]
fn an_unknown_test_may_have_another_status() {
    let settings = Settings {
        unknown_test: StatusCode::BAD_REQUEST,
        ..Settings::default()
    };
    assert_snapshot!(last_raw(&with(small(TestType::Ping), settings), &[7]), @r#"400 {"error":"One or more tests are invalid or you do not have access to them"}"#);
}

#[test]
fn trouble_with_tokens() {
    let uri = format!("{LASTRAW}?tests=142600");
    let check = |token_trouble, expect: [&str; 2]| {
        let settings = Settings {
            token_trouble,
            ..Settings::default()
        };
        let sandbox = with(small(TestType::Ping), settings);
        let token = token(&sandbox);
        let invalid = abridged(get(&sandbox, &uri, "nonsense"));
        sandbox.clock().set(time(START + 900));
        assert_eq!([invalid, abridged(get(&sandbox, &uri, &token))], expect);
    };
    check(
        TokenTrouble::Unauthorized,
        [
            r#"401 {"Message":"Invalid token"}"#,
            r#"401 {"Message":"Expired token"}"#,
        ],
    );
    check(
        TokenTrouble::Message,
        [
            r#"200 {"Message":"Invalid token"}"#,
            r#"200 {"Message":"Expired token"}"#,
        ],
    );
}

#[test]
fn v2_groups_by_type() {
    let world = World::builder()
        .only(&[TestType::Ping, TestType::Transaction])
        .tests_per_type(1)
        .nodes(1)
        .interval_minutes(60)
        .build();
    assert_snapshot!(v2(&sandbox(world), "testIds=142600,142601"), @r#"
    200 {"data":{"responseItems":[
    {"startTimeUtc":"2023-11-14T21:00:00","endTimeUtc":"2023-11-14T22:00:00","hasMoreRecords":false,"dimensions":[{"id":16,"name":"Test"},{"id":1,"name":"Node"},{"id":6,"name":"Step"}],"metrics":[{"index":0,"name":"DNS (ms)"},{"index":1,"name":"Connect (ms)"…67],"items":[
    {"dateTime":"2023-11-14T21:02:37.2911402Z","values":[14.0,28.0…67],"dimensions":[{"type":{"id":16,"name":"Test"},"id":142600,"name":"Home page transaction 1"},{"type":{"id":1,"name":"Node"},"id":257,"name":"Los Angeles - TWTC"},{"type":{"id":6,"name":"Step"},"id":1,"name":"1"}],"indicators":[],"tracepoints":[]},
    {"dateTime":"2023-11-14T21:02:37.2911402Z","values":[15.0,30.0…67],"dimensions":[{"type":{"id":16,"name":"Test"},"id":142600,"name":"Home page transaction 1"},{"type":{"id":1,"name":"Node"},"id":257,"name":"Los Angeles - TWTC"},{"type":{"id":6,"name":"Step"},"id":4,"name":"4"}],"indicators":[],"tracepoints":[]},
    {"dateTime":"2023-11-14T21:02:37.2911402Z","values":[15.0,29.0…67],"dimensions":[{"type":{"id":16,"name":"Test"},"id":142600,"name":"Home page transaction 1"},{"type":{"id":1,"name":"Node"},"id":257,"name":"Los Angeles - TWTC"},{"type":{"id":6,"name":"Step"},"id":3,"name":"3"}],"indicators":[],"tracepoints":[]},
    {"dateTime":"2023-11-14T21:02:37.2911402Z","values":[14.0,28.0…67],"dimensions":[{"type":{"id":16,"name":"Test"},"id":142600,"name":"Home page transaction 1"},{"type":{"id":1,"name":"Node"},"id":257,"name":"Los Angeles - TWTC"},{"type":{"id":6,"name":"Step"},"id":2,"name":"2"}],"indicators":[],"tracepoints":[]}]},
    {"startTimeUtc":"2023-11-14T21:00:00","endTimeUtc":"2023-11-14T22:00:00","hasMoreRecords":false,"dimensions":[{"id":16,"name":"Test"},{"id":1,"name":"Node"}],"metrics":[{"index":0,"name":"Ping Round Trip (ms)"},{"index":1,"name":"% Ping Packet Loss"…7],"items":[
    {"dateTime":"2023-11-14T21:05:56.5494411Z","values":[27.98,0.0…7],"dimensions":[{"type":{"id":16,"name":"Test"},"id":142601,"name":"Home page ping 1"},{"type":{"id":1,"name":"Node"},"id":257,"name":"Los Angeles - TWTC"}],"indicators":[],"tracepoints":[]}]}],"hasMore":false,"next":null,"previous":null},
    "messages":[],"errors":[],"completed":true,"traceId":"92ca9f2b1b964455","usageLimits":{"limits":{"minute":0,"hour":0,"day":0},"runs":{"minute":1,"hour":1,"day":1},"exceededMessage":null}}
    "#);
}

#[test]
fn v2_gives_the_dimensions_that_are_asked_for() {
    let world = World::builder()
        .only(&[TestType::Ping])
        .tests(TestType::Ping, 1)
        .nodes(1);
    let sandbox = sandbox(world.interval_minutes(60).build());
    assert_snapshot!(v2(&sandbox, "testIds=142600&dimensionIds=16,19"), @r#"
    200 {"data":{"responseItems":[
    {"startTimeUtc":"2023-11-14T21:00:00","endTimeUtc":"2023-11-14T22:00:00","hasMoreRecords":false,"dimensions":[{"id":16,"name":"Test"},{"id":19,"name":"HostIP"}],"metrics":[{"index":0,"name":"Ping Round Trip (ms)"},{"index":1,"name":"% Ping Packet Loss"…7],"items":[
    {"dateTime":"2023-11-14T21:02:37.2911402Z","values":[28.2,0.0…7],"dimensions":[{"type":{"id":16,"name":"Test"},"id":142600,"name":"Home page ping 1"},{"type":{"id":19,"name":"HostIP"},"id":0,"name":"198.51.100.231"}],"indicators":[],"tracepoints":[]}]}],"hasMore":false,"next":null,"previous":null},
    "messages":[],"errors":[],"completed":true,"traceId":"92ca9f2b1b964455","usageLimits":{"limits":{"minute":0,"hour":0,"day":0},"runs":{"minute":1,"hour":1,"day":1},"exceededMessage":null}}
    "#);
}

#[test]
fn v2_pages() {
    let tails = |next_link| {
        let settings = Settings {
            next_link,
            page_size: 4,
            limits: None,
            ..Settings::default()
        };
        let sandbox = with(small(TestType::Ping), settings);
        let tail = |page| {
            let uri = format!("http://127.0.0.1:8089{V2}?testIds=142600&pageNumber={page}");
            let (_, text) = get(&sandbox, &uri, "sandbox-key");
            let (_, tail) = text.rsplit_once("}],").unwrap();
            tail.split_once("},\"messages\"").unwrap().0.to_owned()
        };
        [tail(1), tail(2)].join("\n")
    };
    assert_snapshot!(tails(NextLink::Absolute), @r#"
    "hasMore":true,"next":"http://127.0.0.1:8089/api/v2/tests/explorer/raw?testIds=142600&startTimeUtc=2023-11-14T21%3A00%3A00&endTimeUtc=2023-11-14T22%3A00%3A00&pageNumber=2&pageSize=4","previous":null
    "hasMore":false,"next":null,"previous":"http://127.0.0.1:8089/api/v2/tests/explorer/raw?testIds=142600&startTimeUtc=2023-11-14T21%3A00%3A00&endTimeUtc=2023-11-14T22%3A00%3A00&pageNumber=1&pageSize=4"
    "#);
    assert_snapshot!(tails(NextLink::Relative), @r#"
    "hasMore":true,"next":"/api/v2/tests/explorer/raw?testIds=142600&startTimeUtc=2023-11-14T21%3A00%3A00&endTimeUtc=2023-11-14T22%3A00%3A00&pageNumber=2&pageSize=4","previous":null
    "hasMore":false,"next":null,"previous":"/api/v2/tests/explorer/raw?testIds=142600&startTimeUtc=2023-11-14T21%3A00%3A00&endTimeUtc=2023-11-14T22%3A00%3A00&pageNumber=1&pageSize=4"
    "#);
}

#[test]
fn trouble_of_v2() {
    let sandbox = sandbox(small(TestType::Ping));
    assert_snapshot!(v2(&sandbox, "testIds=142600,7"), @r#"
    200 {"data":null,
    "messages":[],"errors":[{"id":"SandboxError","message":"One or more tests are invalid or you do not have access to them"}],"completed":false,"traceId":"92ca9f2b1b964455","usageLimits":{"limits":{"minute":0,"hour":0,"day":0},"runs":{"minute":1,"hour":1,"day":1},"exceededMessage":null}}
    "#);
    assert_snapshot!(v2(&sandbox, ""), @r#"
    200 {"data":null,
    "messages":[],"errors":[{"id":"SandboxError","message":"testIds must be a list of test ids"}],"completed":false,"traceId":"92ca9f2b1b964455","usageLimits":{"limits":{"minute":0,"hour":0,"day":0},"runs":{"minute":2,"hour":2,"day":2},"exceededMessage":null}}
    "#);
    assert_snapshot!(v2(&sandbox, "testIds=142600&startTimeUtc=now"), @r#"
    200 {"data":null,
    "messages":[],"errors":[{"id":"SandboxError","message":"startTimeUtc must be YYYY-MM-DDThh:mm:ss"}],"completed":false,"traceId":"92ca9f2b1b964455","usageLimits":{"limits":{"minute":0,"hour":0,"day":0},"runs":{"minute":3,"hour":3,"day":3},"exceededMessage":null}}
    "#);
    assert_snapshot!(v2(&sandbox, "testIds=142600&metricIds=1"), @r#"
    200 {"data":null,
    "messages":[],"errors":[{"id":"SandboxError","message":"The sandbox does not support metricIds"}],"completed":false,"traceId":"92ca9f2b1b964455","usageLimits":{"limits":{"minute":0,"hour":0,"day":0},"runs":{"minute":4,"hour":4,"day":4},"exceededMessage":null}}
    "#);
    assert_snapshot!(v2(&sandbox, "testIds=142600&pageNumber=0"), @r#"
    200 {"data":null,
    "messages":[],"errors":[{"id":"SandboxError","message":"pageNumber must be a whole number from 1"}],"completed":false,"traceId":"92ca9f2b1b964455","usageLimits":{"limits":{"minute":0,"hour":0,"day":0},"runs":{"minute":5,"hour":5,"day":5},"exceededMessage":null}}
    "#);
    assert_snapshot!(abridged(get(&sandbox, &format!("{V2}?testIds=142600"), "wrong")), @r#"
    401 {"data":null,
    "messages":[],"errors":[{"id":"SandboxError","message":"Invalid token"}],"completed":false,"traceId":"92ca9f2b1b964455","usageLimits":{"limits":{"minute":0,"hour":0,"day":0},"runs":{"minute":6,"hour":6,"day":6},"exceededMessage":null}}
    "#);
}
