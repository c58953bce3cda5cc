use std::io::Read;

use catchpoint_sandbox::{Body, Clock, Datapoint, Sandbox, Settings, World};
use chrono::{DateTime, NaiveDateTime, Utc};
use http::{Request, Response};
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
    with(world, |settings| settings.limits = None)
}

pub fn with(world: World, change: impl FnOnce(&mut Settings)) -> Sandbox {
    let mut settings = Settings::default();
    change(&mut settings);
    Sandbox::new(world, Clock::driven(time(START)), settings)
}

/// A GET with this bearer; panics if nothing answers.
pub fn call(sandbox: &Sandbox, uri: &str, bearer: &str) -> Response<Body> {
    let request = Request::get(uri).header("authorization", format!("Bearer {bearer}"));
    let reply = sandbox.handle(&request.body(Vec::new()).unwrap());
    reply.answer.expect("refused")
}

/// Status and body of a GET with this bearer; panics if the body breaks off.
pub fn get(sandbox: &Sandbox, uri: &str, bearer: &str) -> (u16, String) {
    text(call(sandbox, uri, bearer))
}

pub fn text(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let mut text = String::new();
    response.into_body().read_to_string(&mut text).unwrap();
    (status, text)
}

pub fn post_token(sandbox: &Sandbox, secret: &str) -> (u16, String) {
    let form =
        format!("grant_type=client_credentials&client_id=sandbox-client&client_secret={secret}");
    let request = Request::post("/ui/api/token").body(form.into_bytes());
    text(sandbox.handle(&request.unwrap()).answer.expect("refused"))
}

pub fn token(sandbox: &Sandbox) -> String {
    let (status, text) = post_token(sandbox, "sandbox-secret");
    assert_eq!(status, 200, "{text}");
    json(&text)["access_token"].as_str().unwrap().to_owned()
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

pub fn list(ids: impl IntoIterator<Item = u64>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    ids.join(",")
}

/// Test, node, step or hop, metric, epoch seconds, and the value by its bits, as nothing may round it.
pub type Point = (u64, u64, Option<u64>, String, i64, Option<u64>);

pub fn truth(sandbox: &Sandbox, from: i64, to: i64) -> Vec<Point> {
    let point = |d: Datapoint| {
        let part = d.step.or(d.hop).map(u64::from);
        let value = d.value.map(f64::to_bits);
        (d.test_id, d.node_id, part, d.metric, d.epoch_seconds, value)
    };
    sorted(sandbox.truth(from, to).map(point).collect())
}

pub fn sorted(mut points: Vec<Point>) -> Vec<Point> {
    points.sort();
    points
}

fn values(metrics: &Value, values: &Value) -> Vec<(String, Option<u64>)> {
    let (metrics, values) = (metrics.as_array().unwrap(), values.as_array().unwrap());
    assert_eq!(metrics.len(), values.len());
    let name = |metric: &Value| metric["name"].as_str().unwrap().to_owned();
    let bits = |value: &Value| value.as_f64().map(f64::to_bits);
    let pairs = metrics.iter().zip(values);
    pairs
        .map(|(metric, value)| (name(metric), bits(value)))
        .collect()
}

/// The datapoints of an answer of API v1.
pub fn v1_points(text: &str) -> Vec<Point> {
    let answer = json(text);
    assert!(answer["error"].is_null(), "{text}");
    let detail = &answer["detail"];
    let mut points = Vec::new();
    for item in detail["items"].as_array().into_iter().flatten() {
        let id = |name: &str| item[name]["id"].as_u64().unwrap();
        let step = item["step"].as_str().map(|step| step.parse().unwrap());
        let part = step.or(item["hop_number"].as_u64());
        let at = epoch(item["dimension"]["name"].as_str().unwrap());
        let metrics = &detail["fields"]["synthetic_metrics"];
        for (metric, value) in values(metrics, &item["synthetic_metrics"]) {
            points.push((
                id("breakdown_1"),
                id("breakdown_2"),
                part,
                metric,
                at,
                value,
            ));
        }
    }
    points
}

/// The datapoints of a page of API v2, and its data. A dimension without a type has that of its place.
pub fn v2_points(text: &str) -> (Vec<Point>, Value) {
    let answer = json(text);
    assert_eq!(answer["completed"], true, "{text}");
    let data = &answer["data"];
    let mut points = Vec::new();
    for group in data["responseItems"].as_array().unwrap() {
        for item in group["items"].as_array().unwrap() {
            let places = item["dimensions"].as_array().unwrap();
            let header = group["dimensions"].as_array().unwrap();
            let dimension = |id: u64| {
                let mut both = places.iter().zip(header);
                let is = |(place, header): &(&Value, &Value)| {
                    place["type"]["id"].as_u64().or(header["id"].as_u64()) == Some(id)
                };
                both.find(is).and_then(|(place, _)| place["id"].as_u64())
            };
            let at = item["dateTime"].as_str().or(item["reportDate"].as_str());
            let at = epoch(at.unwrap());
            let (test, node) = (dimension(16).unwrap(), dimension(1).unwrap());
            let part = dimension(6).or(dimension(90));
            for (metric, value) in values(&group["metrics"], &item["values"]) {
                points.push((test, node, part, metric, at, value));
            }
        }
    }
    (points, data.clone())
}

fn epoch(text: &str) -> i64 {
    let text = text.trim_end_matches('Z');
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").unwrap();
    time.and_utc().timestamp()
}
