//! API v1: tokens, LastRaw, and ranges of time.

use std::iter::once;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::asked::Asked;
use crate::metrics;
use crate::reply::{Body, JSON, json, members, response, to_json};
use crate::results::{Item, Results, Window};
use crate::row::{Value, host_ip, values};
use crate::sandbox::Sandbox;
use crate::settings::{Empty, RangedLists, TimeZone};
use crate::record::Served;
use crate::stamp::{self, Form, SECOND};
use crate::test_type::TestType;
use crate::token::Refusal;
use crate::world::Test;

/// How far LastRaw looks back, in ticks.
const LAST: i64 = 15 * 60 * SECOND;

/// Trouble, as the API gateway says it.
#[derive(Serialize)]
pub(crate) struct Message<'a> {
    #[serde(rename = "Message")]
    pub message: &'a str,
}

/// Trouble, as the API itself says it, inside HTTP 200.
#[derive(Serialize)]
pub(crate) struct ErrorBody<'a> {
    pub error: &'a str,
}

#[derive(Serialize)]
struct Granted<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: u64,
}

pub(crate) fn token(
    sandbox: &Sandbox,
    asked: &Asked,
    now: DateTime<Utc>,
    access: Result<(), Refusal>,
) -> Response<Body> {
    if asked.param("grant_type") != Some("client_credentials") {
        return json(
            StatusCode::BAD_REQUEST,
            &ErrorBody {
                error: "unsupported_grant_type",
            },
        );
    }
    if access.is_err() {
        return json(
            StatusCode::UNAUTHORIZED,
            &ErrorBody {
                error: "invalid_client",
            },
        );
    }
    let lifetime = sandbox.settings.token_lifetime;
    let token = sandbox.tokens.issue(now, lifetime);
    let expires_in = lifetime.as_secs();
    json(
        StatusCode::OK,
        &Granted {
            access_token: &token,
            token_type: "bearer",
            expires_in,
        },
    )
}

/// The last 15 minutes of some tests of one type and one division.
pub(crate) fn last_raw(
    sandbox: &Sandbox,
    asked: &Asked,
    now: DateTime<Utc>,
    served: Option<&Arc<Served>>,
) -> Response<Body> {
    let now = stamp::ticks(now);
    let window = Window {
        from: now.saturating_sub(LAST),
        to: now,
    };
    raw(sandbox, asked, window, now, served)
}

/// A range of time of one test, or of a list of tests.
pub(crate) fn ranged(
    sandbox: &Sandbox,
    asked: &Asked,
    now: DateTime<Utc>,
    served: Option<&Arc<Served>>,
) -> Response<Body> {
    if asked.is_list {
        match sandbox.settings.ranged_lists {
            RangedLists::Answered => {}
            RangedLists::Refused => return error("startTime and endTime need one test id"),
            RangedLists::Ignored => return last_raw(sandbox, asked, now, served),
        }
    }
    let now = stamp::ticks(now);
    let time = |name| asked.param(name).map(stamp::read);
    match (time("startTime"), time("endTime").unwrap_or(Some(now))) {
        (Some(Some(from)), Some(to)) if from < to => {
            raw(sandbox, asked, Window { from, to }, now, served)
        }
        _ => error("startTime and endTime must be UTC times, the start before the end"),
    }
}

fn raw(
    sandbox: &Sandbox,
    asked: &Asked,
    window: Window,
    now: i64,
    served: Option<&Arc<Served>>,
) -> Response<Body> {
    let tests: Option<Vec<_>> = asked
        .tests()
        .iter()
        .map(|&id| sandbox.world.test(id).cloned())
        .collect();
    let Some(tests) = tests else {
        let error = "One or more tests are invalid or you do not have access to them";
        return json(sandbox.settings.unknown_test, &ErrorBody { error });
    };
    let Some(first) = tests.first() else {
        return error("A list of test ids is required");
    };
    if tests.iter().any(|test| test.kind != first.kind) {
        return error("All tests must be of the same type");
    }
    if tests.iter().any(|test| test.division != first.division) {
        return error("All tests must belong to the same division");
    }
    response(
        StatusCode::OK,
        JSON,
        body(sandbox, &tests, first.kind, window, now, served),
    )
}

fn error(error: &str) -> Response<Body> {
    json(StatusCode::OK, &ErrorBody { error })
}

fn body(
    sandbox: &Sandbox,
    tests: &[Arc<Test>],
    kind: TestType,
    window: Window,
    now: i64,
    served: Option<&Arc<Served>>,
) -> Body {
    let zone = sandbox.settings.time_zone.clone();
    let envelope = format!(
        r#"{{"start":"{}","end":"{}","timezone":{{"id":{},"name":"{}"}}"#,
        stamp::write(zone.local(window.from), Form::Fraction),
        stamp::write(zone.local(window.to), Form::Fraction),
        zone.id,
        zone.name,
    );
    let mut items = Results::of(tests, window.until(now))
        .shuffled(sandbox.world.seed)
        .filter(move |item| item.is_visible(now))
        .peekable();
    if items.peek().is_none() {
        let detail = match sandbox.settings.empty {
            Empty::Absent => "",
            Empty::Null => r#","detail":null"#,
        };
        return Body::whole(format!("{envelope}{detail}}}"));
    }
    let mut head = envelope.into_bytes();
    head.extend(br#","detail":{"fields":"#);
    head.extend(to_json(&Fields::of(kind)));
    head.extend(br#","items":["#);
    let served = served.cloned();
    let items = items.map(move |item| to_json(&Row::of(&item, served.as_deref(), &zone)));
    Body::chunks(
        once(head)
            .chain(members(items))
            .chain(once(b"]}}".to_vec())),
    )
}

#[derive(Serialize)]
struct Fields {
    synthetic_metrics: Vec<Column>,
    #[serde(rename = "host_Ip")]
    host_ip: bool,
    error: bool,
    breakdown_1: Named<'static>,
    breakdown_2: Named<'static>,
    dimension: Named<'static>,
}

/// A column of an answer; API v2 writes it the same.
#[derive(Serialize)]
pub(crate) struct Column {
    index: usize,
    name: &'static str,
}

pub(crate) fn columns(kind: TestType) -> Vec<Column> {
    metrics::of(kind)
        .iter()
        .enumerate()
        .map(|(index, metric)| Column {
            index,
            name: metric.name,
        })
        .collect()
}

/// An id with its name; API v2 writes it the same.
#[derive(Serialize)]
pub(crate) struct Named<'a> {
    pub id: u64,
    pub name: &'a str,
}

impl Fields {
    fn of(kind: TestType) -> Self {
        Self {
            synthetic_metrics: columns(kind),
            host_ip: kind != TestType::Custom,
            error: true,
            breakdown_1: Named {
                id: 1,
                name: "Test",
            },
            breakdown_2: Named {
                id: 2,
                name: "Node",
            },
            dimension: Named {
                id: 0,
                name: "Time",
            },
        }
    }
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(rename = "host_Ip", skip_serializing_if = "Option::is_none")]
    host_ip: Option<String>,
    synthetic_metrics: Vec<Value>,
    /// A string, as the API has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hop_number: Option<u32>,
    dimension: Dimension,
    breakdown_1: Named<'a>,
    breakdown_2: Named<'a>,
}

#[derive(Serialize)]
struct Dimension {
    id: i64,
    name: String,
}

impl<'a> Row<'a> {
    fn of(item: &'a Item, served: Option<&Served>, zone: &TimeZone) -> Self {
        let time = zone.local(item.time());
        Self {
            host_ip: host_ip(item),
            synthetic_metrics: values(item, served),
            step: item.step().map(|step| step.to_string()),
            hop_number: item.hop(),
            dimension: Dimension {
                id: stamp::dotnet(time),
                name: stamp::write(time, item.test.form),
            },
            breakdown_1: Named {
                id: item.test.id,
                name: &item.test.name,
            },
            breakdown_2: Named {
                id: item.node.id,
                name: &item.node.name,
            },
        }
    }
}
