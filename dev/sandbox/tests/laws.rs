//! What holds for any world: the answers together give exactly the truth, and no call makes the
//! sandbox panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::io;
use std::time::Duration;

use catchpoint_sandbox::{Sandbox, TestType, World};
use common::{
    LASTRAW, Point, START, V2, get, list, sandbox, sorted, time, token, truth, v1_points,
    v2_points, with,
};
use http::{Method, Request};
use proptest::prelude::*;

const QUARTER: i64 = 900;

/// All LastRaw answers of the moment, one call a type.
fn last_raw(sandbox: &Sandbox) -> Vec<Point> {
    let token = token(sandbox);
    let ids = TestType::ALL.map(|kind| sandbox.world().ids(kind));
    let asked = ids.into_iter().filter(|ids| !ids.is_empty());
    let ask = |ids| v1_points(&get(sandbox, &format!("{LASTRAW}?tests={}", list(ids)), &token).1);
    asked.flat_map(ask).collect()
}

/// All that API v2 has of a range of time; between two pages the clock moves on.
fn v2_all(sandbox: &Sandbox, from: i64, to: i64) -> Vec<Point> {
    let ids = list(sandbox.world().tests().map(|test| test.id));
    let form = "%Y-%m-%dT%H:%M:%S";
    let (from, to) = (time(from).format(form), time(to).format(form));
    let query = format!("testIds={ids}&startTimeUtc={from}&endTimeUtc={to}");
    let mut next = Some(format!("http://sandbox{V2}?{query}"));
    let mut points = Vec::new();
    while let Some(uri) = next {
        let page = v2_points(&get(sandbox, &uri, "sandbox-key").1);
        points.extend(page.0);
        next = page.1;
        sandbox.clock().advance(Duration::from_secs(7));
    }
    points
}

#[test]
fn last_raws_side_by_side_are_the_truth() {
    let sandbox = sandbox(World::builder().seed(3).nodes(2).build());
    let mut points = Vec::new();
    for quarter in 1..=4 {
        sandbox.clock().set(time(START + quarter * QUARTER));
        points.extend(last_raw(&sandbox));
    }
    let truth = truth(&sandbox, START, START + 4 * QUARTER);
    assert!(truth.len() > 20_000);
    assert_eq!(sorted(points), truth);
}

#[test]
fn ranges_side_by_side_are_the_truth() {
    let sandbox = sandbox(World::builder().tests_per_type(1).nodes(2).build());
    let token = token(&sandbox);
    let mut points = Vec::new();
    for test in sandbox.world().tests() {
        for hour in 1..=3 {
            let at = |epoch| time(epoch).format("%Y-%m-%dT%H:%M:%SZ");
            let (from, to) = (at(START - hour * 3600), at(START - (hour - 1) * 3600));
            let uri = format!("{LASTRAW}/{}?startTime={from}&endTime={to}", test.id);
            points.extend(v1_points(&get(&sandbox, &uri, &token).1));
        }
    }
    assert_eq!(sorted(points), truth(&sandbox, START - 3 * 3600, START));
}

#[test]
fn pages_together_are_the_truth() {
    for (page_size, dimension_types) in [(7, true), (100, false), (100_000, true)] {
        let world = World::builder().tests_per_type(2).nodes(2).build();
        let sandbox = with(world, |settings| {
            settings.limits = None;
            settings.page_size = page_size;
            settings.dimension_types = dimension_types;
        });
        let points = sorted(v2_all(&sandbox, START - 1800, START));
        let truth = truth(&sandbox, START - 1800, START);
        assert!(points == truth, "pages of {page_size}");
    }
}

#[test]
fn what_comes_late_is_missed_by_last_raw_and_found_by_a_later_call() {
    let world = World::builder().only(&[TestType::Ping, TestType::Transaction]);
    let sandbox = sandbox(world.late(0.3, 20).build());
    sandbox.clock().set(time(START + QUARTER));
    let truth = truth(&sandbox, START, START + QUARTER);
    let at_once = last_raw(&sandbox);
    assert!(at_once.iter().all(|point| truth.contains(point)));
    let share = at_once.len() as f64 / truth.len() as f64;
    assert!((0.6..0.95).contains(&share), "{share} came in time");
    sandbox.clock().advance(Duration::from_secs(20 * 60));
    assert_eq!(sorted(v2_all(&sandbox, START, START + QUARTER)), truth);
}

#[test]
fn served_counts_what_was_read() {
    let sandbox = sandbox(World::demo());
    let points = last_raw(&sandbox);
    let nulls = points.iter().filter(|point| point.6.is_none()).count() as u64;
    let served: Vec<_> = sandbox.served().into_values().collect();
    assert_eq!(served.iter().map(|tally| tally.nulls).sum::<u64>(), nulls);
    let samples = served.iter().map(|tally| tally.samples).sum::<u64>();
    assert_eq!(samples + nulls, points.len() as u64);
}

fn uri() -> impl Strategy<Value = (String, String)> {
    let path = prop_oneof![
        Just("/ui/api/token".to_owned()),
        Just(LASTRAW.to_owned()),
        Just(format!("{LASTRAW}/142600")),
        Just(V2.to_owned()),
        Just("/sandbox/truth".to_owned()),
        Just("/sandbox/faults".to_owned()),
        "/[a-z0-9/%.]{0,20}",
    ];
    let name = prop::sample::select(vec![
        "tests",
        "testIds",
        "startTime",
        "endTime",
        "startTimeUtc",
        "endTimeUtc",
        "pageNumber",
        "pageSize",
        "from",
        "to",
        "dimensionIds",
    ]);
    let value = prop_oneof![
        Just("142600,142601".to_owned()),
        Just("2023-11-14T21:30:00".to_owned()),
        Just("-262143-01-01T00:00:00".to_owned()),
        Just("+262142-12-31T23:59:59".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        "[ -~&&[^ \"#<>\\\\^`{|}]]{0,12}",
    ];
    let pair = (name, value).prop_map(|(name, value)| format!("{name}={value}"));
    let query = prop::collection::vec(pair, 0..5).prop_map(|pairs| pairs.join("&"));
    (path, query)
}

proptest! {
    #[test]
    fn no_call_makes_it_panic((path, query) in uri(), body: Vec<u8>, post: bool, good: bool) {
        let world = World::builder().only(&[TestType::Ping]).late(0.5, 5).build();
        let sandbox = sandbox(world);
        let bearer = match path.as_str() {
            _ if !good => "x".to_owned(),
            V2 => "sandbox-key".to_owned(),
            _ => token(&sandbox),
        };
        let request = Request::builder()
            .method(if post { Method::POST } else { Method::GET })
            .uri(format!("{path}?{query}"))
            .header("authorization", format!("Bearer {bearer}"))
            .body(body);
        if let Ok(request) = request {
            let body = sandbox.handle(&request).answer().unwrap().into_body();
            io::copy(&mut io::Read::take(body, 1 << 16), &mut io::sink()).unwrap();
        }
    }
}
