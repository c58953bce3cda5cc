//! What the tests share: a sandbox at a fixed time, calls, and answers taken apart again.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise, and not every test needs every helper"
)]

use std::io::Read;

use catchpoint_sandbox::{Clock, Datapoint, Sandbox, Settings, World};
use chrono::{DateTime, NaiveDateTime, Utc};
use http::Request;
use serde_json::Value;

/// 2023-11-14T22:00:00Z, a Tuesday.
pub const START: i64 = 1_699_999_200;

pub const LASTRAW: &str = "/ui/api/v1/performance/raw";
pub const V2: &str = "/api/v2/tests/explorer/raw";

pub fn time(epoch: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(epoch, 0).unwrap()
}

/// A sandbox whose clock stands at [`START`], without limits.
pub fn sandbox(world: World) -> Sandbox {
    with(
        world,
        Settings {
            limits: None,
            ..Settings::default()
        },
    )
}

pub fn with(world: World, settings: Settings) -> Sandbox {
    Sandbox::new(world, Clock::driven(time(START)), settings)
}

/// Status and body of a call with this bearer; panics if the body breaks or nothing answers.
pub fn get(sandbox: &Sandbox, uri: &str, bearer: &str) -> (u16, String) {
    let request = Request::get(uri).header("authorization", format!("Bearer {bearer}"));
    answer(sandbox, request.body(Vec::new()).unwrap())
}

pub fn answer(sandbox: &Sandbox, request: Request<Vec<u8>>) -> (u16, String) {
    let response = sandbox.handle(&request).answer().expect("refused");
    let status = response.status().as_u16();
    let mut text = String::new();
    response.into_body().read_to_string(&mut text).unwrap();
    (status, text)
}

pub fn token_request(id: &str, secret: &str) -> Request<Vec<u8>> {
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    Request::post("/ui/api/token")
        .body(form.into_bytes())
        .unwrap()
}

pub fn token(sandbox: &Sandbox) -> String {
    let (status, text) = answer(sandbox, token_request("sandbox-client", "sandbox-secret"));
    assert_eq!(status, 200, "{text}");
    json(&text)["access_token"].as_str().unwrap().to_owned()
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

pub fn list(ids: &[u64]) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// A datapoint that can be sorted and compared; the value by its bits, as nothing may round it.
pub type Point = (u64, u64, Option<u32>, Option<u32>, String, i64, Option<u64>);

pub fn truth(sandbox: &Sandbox, from: i64, to: i64) -> Vec<Point> {
    let point = |d: Datapoint| {
        let value = d.value.map(f64::to_bits);
        (
            d.test_id,
            d.node_id,
            d.step,
            d.hop,
            d.metric,
            d.epoch_seconds,
            value,
        )
    };
    sorted(sandbox.truth(from, to).map(point).collect())
}

pub fn sorted(mut points: Vec<Point>) -> Vec<Point> {
    points.sort();
    points
}

/// The datapoints of an answer of API v1.
pub fn v1_points(text: &str) -> Vec<Point> {
    let answer = json(text);
    assert!(answer["error"].is_null(), "{text}");
    let detail = &answer["detail"];
    let Some(items) = detail["items"].as_array() else {
        assert!(detail.is_null());
        return Vec::new();
    };
    let metrics = detail["fields"]["synthetic_metrics"].as_array().unwrap();
    let mut points = Vec::new();
    for item in items {
        let values = item["synthetic_metrics"].as_array().unwrap();
        assert_eq!(values.len(), metrics.len());
        for (metric, value) in metrics.iter().zip(values) {
            points.push((
                item["breakdown_1"]["id"].as_u64().unwrap(),
                item["breakdown_2"]["id"].as_u64().unwrap(),
                item["step"].as_str().map(|step| step.parse().unwrap()),
                item["hop_number"]
                    .as_u64()
                    .map(|hop| hop.try_into().unwrap()),
                metric["name"].as_str().unwrap().to_owned(),
                epoch(item["dimension"]["name"].as_str().unwrap()),
                value.as_f64().map(f64::to_bits),
            ));
        }
    }
    points
}

/// The datapoints of a page of API v2, and the link to the next one.
pub fn v2_points(text: &str) -> (Vec<Point>, Option<String>) {
    let answer = json(text);
    assert_eq!(answer["completed"], true, "{text}");
    let data = &answer["data"];
    let mut points = Vec::new();
    for group in data["responseItems"].as_array().unwrap() {
        let metrics = group["metrics"].as_array().unwrap();
        for item in group["items"].as_array().unwrap() {
            let dimension = |id: u64| {
                let all = item["dimensions"].as_array().unwrap();
                all.iter()
                    .find(|it| it["type"]["id"] == id)
                    .and_then(|it| it["id"].as_u64())
            };
            for (metric, value) in metrics.iter().zip(item["values"].as_array().unwrap()) {
                points.push((
                    dimension(16).unwrap(),
                    dimension(1).unwrap(),
                    dimension(6).map(|step| step.try_into().unwrap()),
                    dimension(90).map(|hop| hop.try_into().unwrap()),
                    metric["name"].as_str().unwrap().to_owned(),
                    epoch(item["dateTime"].as_str().unwrap()),
                    value.as_f64().map(f64::to_bits),
                ));
            }
        }
    }
    assert_eq!(data["hasMore"] == true, data["next"].is_string());
    (points, data["next"].as_str().map(str::to_owned))
}

fn epoch(text: &str) -> i64 {
    let text = text.trim_end_matches('Z');
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").unwrap();
    time.and_utc().timestamp()
}
