use std::io;
use std::time::Duration;

use catchpoint_sandbox::{Sandbox, TestType, World};
use http::{Method, Request};
use proptest::prelude::*;

use crate::common::{
    LASTRAW, Point, START, V2, get, list, sandbox, sorted, time, token, truth, v1_points, v2_points,
};

const QUARTER: i64 = 900;

/// All LastRaw answers of the moment, one call a type.
fn last_raw(sandbox: &Sandbox) -> Vec<Point> {
    let token = token(sandbox);
    let ids = TestType::ALL.map(|kind| sandbox.world().ids(kind));
    let asked = ids.into_iter().filter(|ids| !ids.is_empty());
    let ask = |ids| v1_points(&get(sandbox, &format!("{LASTRAW}?tests={}", list(ids)), &token).1);
    asked.flat_map(ask).collect()
}

/// All that a version has of a range of time, in pages of a size; between two pages the clock moves on.
fn explore(sandbox: &Sandbox, version: &str, size: u32, from: i64, to: i64) -> Vec<Point> {
    let ids = list(sandbox.world().tests().map(|test| test.id));
    let form = "%Y-%m-%dT%H:%M:%S";
    let (from, to) = (time(from).format(form), time(to).format(form));
    let first = format!(
        "http://sandbox/api/{version}/tests/explorer/raw?testIds={ids}&startTimeUtc={from}&endTimeUtc={to}&pageSize={size}"
    );
    let mut uri = first.clone();
    let mut points = Vec::new();
    for page in 2.. {
        let (more, data) = v2_points(&get(sandbox, &uri, "sandbox-key").1);
        points.extend(more);
        if data["hasMore"] == false {
            break;
        }
        let next = data["next"].as_str().map(str::to_owned);
        uri = next.unwrap_or_else(|| format!("{first}&pageNumber={page}"));
        sandbox.clock().advance(Duration::from_secs(7));
    }
    sorted(points)
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
fn pages_of_any_size_and_version_are_the_truth() {
    for (version, size) in [("v2", 7), ("v3", 100), ("v4", 100), ("v4", 100_000)] {
        let sandbox = sandbox(World::builder().tests_per_type(2).nodes(2).build());
        let points = explore(&sandbox, version, size, START - 1800, START);
        let truth = truth(&sandbox, START - 1800, START);
        assert!(points == truth, "{version}, pages of {size}");
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
    let later = explore(&sandbox, "v2", 5000, START, START + QUARTER);
    assert_eq!(later, truth);
}

fn uri() -> impl Strategy<Value = (String, String)> {
    let path = prop_oneof![
        Just("/ui/api/token".to_owned()),
        Just(LASTRAW.to_owned()),
        Just(format!("{LASTRAW}/142600")),
        Just(V2.to_owned()),
        "/[a-z0-9/%.]{0,20}",
    ];
    let names =
        "tests testIds startTime endTime startTimeUtc endTimeUtc pageNumber pageSize dimensionIds";
    let name = prop::sample::select(names.split(' ').collect::<Vec<_>>());
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
            let body = sandbox.handle(&request).answer.unwrap().into_body();
            io::copy(&mut io::Read::take(body, 1 << 16), &mut io::sink()).unwrap();
        }
    }
}
