//! What must hold for any world: the same seed gives the same answers, and the answers together give
//! exactly the truth.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::io::{self, Read};
use std::time::Duration;

use catchpoint_sandbox::{Sandbox, Settings, TestType, World, WorldBuilder};
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
    let mut points = Vec::new();
    for kind in TestType::ALL {
        let ids = sandbox.world().ids(kind);
        if !ids.is_empty() {
            let (_, text) = get(sandbox, &format!("{LASTRAW}?tests={}", list(&ids)), &token);
            points.extend(v1_points(&text));
        }
    }
    points
}

/// All that API v2 has of a range of time; between two pages the clock moves on.
fn v2_all(sandbox: &Sandbox, from: i64, to: i64) -> Vec<Point> {
    let ids: Vec<u64> = sandbox.world().tests().map(|test| test.id).collect();
    let form = "%Y-%m-%dT%H:%M:%S";
    let (from, to) = (time(from).format(form), time(to).format(form));
    let query = format!("testIds={}&startTimeUtc={from}&endTimeUtc={to}", list(&ids));
    let mut next = Some(format!("http://sandbox{V2}?{query}"));
    let mut points = Vec::new();
    while let Some(uri) = next {
        let (status, text) = get(sandbox, &uri, "sandbox-key");
        assert_eq!(status, 200, "{text}");
        let page = v2_points(&text);
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
    let form = "%Y-%m-%d %H:%M:%SZ";
    let mut points = Vec::new();
    for test in sandbox.world().tests() {
        for hour in 1..=3 {
            let (from, to) = (START - hour * 3600, START - (hour - 1) * 3600);
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("startTime", &time(from).format(form).to_string())
                .append_pair("endTime", &time(to).format(form).to_string())
                .finish();
            let (_, text) = get(&sandbox, &format!("{LASTRAW}/{}?{query}", test.id), &token);
            points.extend(v1_points(&text));
        }
    }
    assert_eq!(sorted(points), truth(&sandbox, START - 3 * 3600, START));
}

#[test]
fn pages_together_are_the_truth() {
    for page_size in [7, 100, 100_000] {
        let settings = Settings {
            page_size,
            limits: None,
            ..Settings::default()
        };
        let sandbox = with(
            World::builder().tests_per_type(2).nodes(2).build(),
            settings,
        );
        let points = v2_all(&sandbox, START - 1800, START);
        assert_eq!(
            sorted(points),
            truth(&sandbox, START - 1800, START),
            "pages of {page_size}"
        );
    }
}

#[test]
fn what_comes_late_is_missed_by_last_raw_and_found_by_a_later_call() {
    let world = || {
        World::builder()
            .only(&[TestType::Ping, TestType::Transaction])
            .late(0.3, 20)
    };
    let sandbox = sandbox(world().build());
    sandbox.clock().set(time(START + QUARTER));
    let truth = truth(&sandbox, START, START + QUARTER);
    let at_once = last_raw(&sandbox);
    assert!(at_once.iter().all(|point| truth.contains(point)));
    let share = at_once.len() as f64 / truth.len() as f64;
    assert!(
        (0.6..0.95).contains(&share),
        "{share} of the results came in time"
    );
    sandbox.clock().advance(Duration::from_secs(20 * 60));
    assert_eq!(sorted(v2_all(&sandbox, START, START + QUARTER)), truth);
}

#[test]
fn late_results_move_no_result_to_another_page() {
    let settings = Settings {
        page_size: 5,
        limits: None,
        ..Settings::default()
    };
    let world = World::builder()
        .only(&[TestType::Ping])
        .late(0.5, 10)
        .build();
    let sandbox = with(world, settings);
    let points = v2_all(&sandbox, START - 1800, START);
    let mut once = points.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), points.len(), "a result came twice");
    let truth = truth(&sandbox, START - 1800, START);
    let early: Vec<&Point> = truth.iter().filter(|point| point.5 < START - 600).collect();
    assert!(
        early.iter().all(|point| once.contains(point)),
        "a result of the start was missed"
    );
}

#[test]
fn served_counts_what_was_read() {
    let sandbox = sandbox(World::demo());
    let points = last_raw(&sandbox);
    let served = sandbox.served();
    let nulls = points.iter().filter(|point| point.6.is_none()).count() as u64;
    assert_eq!(served.values().map(|tally| tally.nulls).sum::<u64>(), nulls);
    let values = served
        .values()
        .map(|tally| tally.nulls + tally.samples)
        .sum::<u64>();
    assert_eq!(values, points.len() as u64);
    assert_eq!(served[&TestType::Ping].items, 36);
}

#[test]
fn the_same_seed_gives_the_same_answers_and_another_one_others() {
    let ask = |builder: WorldBuilder| {
        let sandbox = sandbox(builder.build());
        get(
            &sandbox,
            &format!("{LASTRAW}?tests=142600,142601"),
            &token(&sandbox),
        )
    };
    assert_eq!(ask(World::builder().seed(9)), ask(World::builder().seed(9)));
    assert_ne!(ask(World::builder().seed(9)), ask(World::builder().seed(8)));
}

#[test]
fn an_answer_of_200_megabytes_comes_piece_by_piece() {
    let world = World::builder()
        .only(&[TestType::Web])
        .tests(TestType::Web, 50)
        .nodes(10)
        .interval_seconds(1)
        .build();
    let sandbox = sandbox(world);
    let uri = format!(
        "{LASTRAW}?tests={}",
        list(&sandbox.world().ids(TestType::Web))
    );
    let request = Request::get(uri).header("authorization", format!("Bearer {}", token(&sandbox)));
    let response = sandbox
        .handle(&request.body(Vec::new()).unwrap())
        .answer()
        .unwrap();
    let start = 20 << 20;
    assert_eq!(
        io::copy(&mut response.into_body().take(start), &mut io::sink()).unwrap(),
        start
    );
    // Only what was read was made, and the rest makes 200 MB.
    let made = sandbox.served()[&TestType::Web].items;
    let all = 50 * 10 * 900;
    assert!(
        start / made * all > 200 << 20,
        "{made} items in {start} bytes"
    );
}

#[test]
fn any_time_is_no_panic() {
    let sandbox = sandbox(World::builder().tests_per_type(1).nodes(1).build());
    for now in [
        time(0),
        time(-1),
        chrono::DateTime::<chrono::Utc>::MIN_UTC,
        chrono::DateTime::<chrono::Utc>::MAX_UTC,
    ] {
        sandbox.clock().set(now);
        let token = token(&sandbox);
        let (status, _) = get(&sandbox, &format!("{LASTRAW}?tests=142600"), &token);
        assert!(status == 200 || status == 401, "{status} at {now}");
    }
    assert_eq!(
        sandbox.truth(i64::MIN, 300).count(),
        truth(&sandbox, 0, 300).len()
    );
    assert_eq!(sandbox.truth(i64::MAX, i64::MIN).count(), 0);
    assert!(sandbox.truth(i64::MIN, i64::MAX).next().is_some());
    assert_eq!(sandbox.truth(i64::MAX - 1, i64::MAX).take(5).count(), 0);
}

fn call() -> impl Strategy<Value = (String, String)> {
    let path = prop_oneof![
        Just("/ui/api/token".to_owned()),
        Just(LASTRAW.to_owned()),
        Just(format!("{LASTRAW}/142600")),
        Just(V2.to_owned()),
        Just("/sandbox/truth".to_owned()),
        Just("/sandbox/faults".to_owned()),
        "/[a-z0-9/%.]{0,20}",
    ];
    let name = prop_oneof![
        Just("tests"),
        Just("testIds"),
        Just("startTime"),
        Just("endTime"),
        Just("startTimeUtc"),
        Just("endTimeUtc"),
        Just("pageNumber"),
        Just("pageSize"),
        Just("from"),
        Just("to"),
        Just("dimensionIds"),
    ];
    let value = prop_oneof![
        Just("142600,142601".to_owned()),
        Just("142600".to_owned()),
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
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_call_makes_it_panic((path, query) in call(), body: Vec<u8>, post: bool, good: bool) {
        let world = World::builder().only(&[TestType::Ping]).late(0.5, 5).build();
        let sandbox = sandbox(world);
        let bearer = if !good {
            "x".to_owned()
        } else if path == V2 {
            "sandbox-key".to_owned()
        } else {
            token(&sandbox)
        };
        let method = if post { Method::POST } else { Method::GET };
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?{query}"))
            .header("authorization", format!("Bearer {bearer}"))
            .body(body);
        if let Ok(request) = request {
            let body = sandbox.handle(&request).answer().unwrap().into_body();
            io::copy(&mut body.take(1 << 16), &mut io::sink()).unwrap();
        }
    }
}
