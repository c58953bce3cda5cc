//! API v1: LastRaw, and ranges of time.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::api::Api;
use crate::metrics;
use crate::reply::{self, Body};
use crate::results::{Item, Window, shuffled};
use crate::row::{Value, host_ip, values};
use crate::settings::RangedLists;
use crate::stamp::{self, Form, SECOND};
use crate::test_type::TestType;
use crate::world::Test;

/// How far LastRaw looks back, in ticks.
const LAST: i64 = 15 * 60 * SECOND;

/// A failure, as the API gateway says it.
pub(crate) fn message(status: StatusCode, message: &str) -> Response<Body> {
    reply::json(status, &json!({ "Message": message }))
}

/// A failure, as the API itself says it, with HTTP 200 as a rule.
pub(crate) fn error(status: StatusCode, error: &str) -> Response<Body> {
    reply::json(status, &json!({ "error": error }))
}

fn fail(text: &str) -> Response<Body> {
    error(StatusCode::OK, text)
}

/// The last 15 minutes of some tests of one type.
pub(crate) fn last_raw(api: &Api<'_>) -> Response<Body> {
    let to = stamp::ticks(api.now);
    let from = to.saturating_sub(LAST);
    raw(api, Window { from, to })
}

/// A range of time of one test, or of a list of tests.
pub(crate) fn ranged(api: &Api<'_>) -> Response<Body> {
    match api.settings.ranged_lists {
        RangedLists::Refused if api.asked.is_list() => {
            return fail("startTime and endTime need one test id");
        }
        RangedLists::Ignored if api.asked.is_list() => return last_raw(api),
        _ => {}
    }
    let time = |name| api.asked.param(name).map(stamp::read);
    let now = Some(stamp::ticks(api.now));
    match (time("startTime"), time("endTime").unwrap_or(now)) {
        (Some(Some(from)), Some(to)) if from < to => raw(api, Window { from, to }),
        _ => fail("startTime and endTime must be UTC times, the start before the end"),
    }
}

fn raw(api: &Api<'_>, window: Window) -> Response<Body> {
    let Some(tests) = api.tests() else {
        return fail("One or more tests are invalid or you do not have access to them");
    };
    let Some(kind) = tests.first().map(|test| test.kind) else {
        return fail("A list of test ids is required");
    };
    if tests.iter().any(|test| test.kind != kind) {
        return fail("All tests must be of the same type");
    }
    if window.is_too_long() {
        return fail("The time range is too long");
    }
    reply::json(StatusCode::OK, &Answer::of(api, tests, kind, window))
}

/// Without results there is no `detail`.
#[derive(Serialize)]
struct Answer {
    start: String,
    end: String,
    timezone: Named,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
}

#[derive(Serialize)]
struct Detail {
    fields: Fields,
    items: Vec<Row>,
}

impl Answer {
    fn of(api: &Api<'_>, tests: Vec<Arc<Test>>, kind: TestType, window: Window) -> Self {
        let now = stamp::ticks(api.now);
        let offset = api.settings.utc_offset_minutes;
        let items: Vec<Row> = shuffled(tests, window.until(now), api.world.seed)
            .into_iter()
            .filter(|item| item.is_visible(now))
            .map(|item| Row::of(&item, offset))
            .collect();
        let fields = Fields::of(kind);
        let local = |time| stamp::write(stamp::local(time, offset), Form::Fraction);
        let hours = format!("{:+03}:{:02}", offset / 60, offset.abs() % 60);
        Self {
            start: local(window.from),
            end: local(window.to),
            timezone: match offset {
                0 => Named::new(4, "UTC"),
                _ => Named::new(1, &format!("UTC{hours}")),
            },
            detail: (!items.is_empty()).then_some(Detail { fields, items }),
        }
    }
}

#[derive(Serialize)]
struct Fields {
    synthetic_metrics: Vec<Column>,
    #[serde(rename = "host_Ip")]
    host_ip: bool,
    error: bool,
    breakdown_1: Named,
    breakdown_2: Named,
    dimension: Named,
}

/// A column of an answer; API v2 writes it the same.
#[derive(Serialize)]
pub(crate) struct Column {
    index: usize,
    name: &'static str,
}

pub(crate) fn columns(kind: TestType) -> Vec<Column> {
    let names = metrics::of(kind).iter().map(|metric| metric.name);
    let columns = names.enumerate();
    columns
        .map(|(index, name)| Column { index, name })
        .collect()
}

/// An id with its name; API v2 writes it the same.
#[derive(Serialize)]
pub(crate) struct Named {
    pub id: i64,
    pub name: String,
}

impl Named {
    /// An id of the API with its name.
    pub fn new(id: u64, name: &str) -> Self {
        let (id, name) = (id.cast_signed(), name.to_owned());
        Self { id, name }
    }
}

impl Fields {
    fn of(kind: TestType) -> Self {
        Self {
            synthetic_metrics: columns(kind),
            host_ip: kind != TestType::Custom,
            error: true,
            breakdown_1: Named::new(1, "Test"),
            breakdown_2: Named::new(2, "Node"),
            dimension: Named::new(0, "Time"),
        }
    }
}

#[derive(Serialize)]
struct Row {
    #[serde(rename = "host_Ip", skip_serializing_if = "Option::is_none")]
    host_ip: Option<String>,
    synthetic_metrics: Vec<Value>,
    /// A string, as the API has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hop_number: Option<u32>,
    dimension: Named,
    breakdown_1: Named,
    breakdown_2: Named,
}

impl Row {
    fn of(item: &Item, offset: i32) -> Self {
        let time = stamp::local(item.time(), offset);
        Self {
            host_ip: host_ip(item),
            synthetic_metrics: values(item).collect(),
            step: item.step().map(|step| step.to_string()),
            hop_number: item.hop(),
            dimension: Named {
                id: stamp::dotnet(time),
                name: stamp::write(time, item.test.form),
            },
            breakdown_1: Named::new(item.test.id, &item.test.name),
            breakdown_2: Named::new(item.node.id, &item.node.name),
        }
    }
}
