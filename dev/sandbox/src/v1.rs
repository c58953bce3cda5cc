//! API v1: tokens, LastRaw, and ranges of time.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::asked::Asked;
use crate::metrics;
use crate::reply::{self, Body};
use crate::results::{Item, Window, shuffled};
use crate::row::{Value, host_ip, values};
use crate::sandbox::Sandbox;
use crate::settings::{Empty, RangedLists, TimeZone};
use crate::stamp::{self, Form, SECOND};
use crate::test_type::TestType;
use crate::token::Refusal;
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

pub(crate) fn token(
    sandbox: &Sandbox,
    asked: &Asked,
    now: DateTime<Utc>,
    access: Result<(), Refusal>,
) -> Response<Body> {
    #[derive(Serialize)]
    struct Granted {
        access_token: String,
        token_type: &'static str,
        expires_in: u64,
    }
    if asked.param("grant_type") != Some("client_credentials") {
        return error(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    if access.is_err() {
        return error(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let lifetime = sandbox.settings.token_lifetime;
    let granted = Granted {
        access_token: sandbox.tokens.issue(now, lifetime),
        token_type: "bearer",
        expires_in: lifetime.as_secs(),
    };
    reply::json(StatusCode::OK, &granted)
}

/// The last 15 minutes of some tests of one type and one division.
pub(crate) fn last_raw(sandbox: &Sandbox, asked: &Asked, now: DateTime<Utc>) -> Response<Body> {
    let now = stamp::ticks(now);
    let window = Window {
        from: now.saturating_sub(LAST),
        to: now,
    };
    raw(sandbox, asked, window, now)
}

/// A range of time of one test, or of a list of tests.
pub(crate) fn ranged(sandbox: &Sandbox, asked: &Asked, now: DateTime<Utc>) -> Response<Body> {
    let fail = |text| error(StatusCode::OK, text);
    if asked.is_list {
        match sandbox.settings.ranged_lists {
            RangedLists::Answered => {}
            RangedLists::Refused => return fail("startTime and endTime need one test id"),
            RangedLists::Ignored => return last_raw(sandbox, asked, now),
        }
    }
    let now = stamp::ticks(now);
    let time = |name| asked.param(name).map(stamp::read);
    match (time("startTime"), time("endTime").unwrap_or(Some(now))) {
        (Some(Some(from)), Some(to)) if from < to => raw(sandbox, asked, Window { from, to }, now),
        _ => fail("startTime and endTime must be UTC times, the start before the end"),
    }
}

fn raw(sandbox: &Sandbox, asked: &Asked, window: Window, now: i64) -> Response<Body> {
    let Some(tests) = sandbox.tests(asked) else {
        let text = "One or more tests are invalid or you do not have access to them";
        return error(sandbox.settings.unknown_test, text);
    };
    let fail = |text| error(StatusCode::OK, text);
    let Some(first) = tests.first() else {
        return fail("A list of test ids is required");
    };
    if tests.iter().any(|test| test.kind != first.kind) {
        return fail("All tests must be of the same type");
    }
    if tests.iter().any(|test| test.division != first.division) {
        return fail("All tests must belong to the same division");
    }
    if window.is_too_long() {
        return fail("The time range is too long");
    }
    let kind = first.kind;
    reply::json(StatusCode::OK, &answer(sandbox, tests, kind, window, now))
}

fn answer(
    sandbox: &Sandbox,
    tests: Vec<Arc<Test>>,
    kind: TestType,
    window: Window,
    now: i64,
) -> Answer {
    let zone = &sandbox.settings.time_zone;
    let items = shuffled(tests, window.until(now), sandbox.world.seed);
    let items: Vec<Row> = items
        .into_iter()
        .filter(|item| item.is_visible(now))
        .map(|item| Row::of(sandbox, &item))
        .collect();
    let detail = match sandbox.settings.empty {
        _ if !items.is_empty() => Some(Some(Detail {
            fields: Fields::of(kind),
            items,
        })),
        Empty::Absent => None,
        Empty::Null => Some(None),
    };
    Answer {
        start: stamp::write(zone.local(window.from), Form::Fraction),
        end: stamp::write(zone.local(window.to), Form::Fraction),
        timezone: zone.clone(),
        detail,
    }
}

#[derive(Serialize)]
struct Answer {
    start: String,
    end: String,
    timezone: TimeZone,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Option<Detail>>,
}

#[derive(Serialize)]
struct Detail {
    fields: Fields,
    items: Vec<Row>,
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
    fn of(sandbox: &Sandbox, item: &Item) -> Self {
        let time = sandbox.settings.time_zone.local(item.time());
        Self {
            host_ip: host_ip(item),
            synthetic_metrics: values(item, &sandbox.served),
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
