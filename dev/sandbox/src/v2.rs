//! API v2, and 3, 3.3, 3.4 and 4, which answer the same: a range of time of some tests, page by page.
//!
//! From the vendor's OpenAPI document: the shape, the parameters, `next` as a string. Our reading:
//! one response item for each test type, as only tests of one type have the same metrics; pages by
//! `pageNumber` (from 1) and `pageSize`, as the vendor's guide to API v2 has them; without
//! `dimensionIds` the dimensions are test, node, and step or hop. A page is a fixed slice of the
//! results, so that one which shows up late between two calls moves none to another page: a page may
//! hold fewer results than its size, even none, while there are more.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::asked::Asked;
use crate::limits::Usage;
use crate::noise::mix;
use crate::reply::{self, Body};
use crate::results::{Item, Window, shuffled};
use crate::row::{Value, host_ip, values};
use crate::sandbox::Sandbox;
use crate::settings::NextLink;
use crate::stamp::{self, Form, SECOND};
use crate::test_type::TestType;
use crate::v1::{Column, Named, columns};
use crate::world::Test;

/// A dimension by which results are told apart; the number is the vendor's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dimension {
    Node = 1,
    Step = 6,
    Test = 16,
    HostIP = 19,
    HopNumber = 90,
}

impl Dimension {
    fn named(self) -> Named {
        Named::new(self as u64, &format!("{self:?}"))
    }

    fn of(kind: TestType, wanted: Option<&str>) -> Vec<Self> {
        let part = match kind {
            TestType::Transaction | TestType::Api => Some(Self::Step),
            TestType::Traceroute => Some(Self::HopNumber),
            _ => None,
        };
        let all = [Some(Self::Test), Some(Self::Node), part, Some(Self::HostIP)];
        let is_wanted = |dimension: &Self| match wanted {
            None => *dimension != Self::HostIP,
            Some(ids) => {
                let id = (*dimension as u64).to_string();
                ids.split(',').any(|wanted| wanted.trim() == id)
            }
        };
        all.into_iter().flatten().filter(is_wanted).collect()
    }
}

pub(crate) fn raw(sandbox: &Sandbox, asked: &Asked, now: DateTime<Utc>) -> Response<Body> {
    let fail = |message: &str| failure(sandbox, now, StatusCode::OK, message, None);
    let tests = match sandbox.tests(asked) {
        None => return fail("One or more tests are invalid or you do not have access to them"),
        Some(tests) if tests.is_empty() => return fail("testIds must be a list of test ids"),
        Some(tests) => tests,
    };
    match Query::of(asked, stamp::ticks(now), sandbox.settings.page_size.max(1)) {
        Err(message) => fail(&message),
        Ok(query) => reply::json(StatusCode::OK, &page(sandbox, asked, &query, tests, now)),
    }
}

fn page(
    sandbox: &Sandbox,
    asked: &Asked,
    query: &Query<'_>,
    tests: Vec<Arc<Test>>,
    now: DateTime<Utc>,
) -> Envelope {
    let mut types: BTreeMap<TestType, Vec<Arc<Test>>> = BTreeMap::new();
    for test in tests {
        types.entry(test.kind).or_default().push(test);
    }
    let from = (query.page - 1).saturating_mul(query.size);
    let to = from.saturating_add(query.size);
    let mut response_items = Vec::new();
    // The results of all types, one type after the other, are what the pages slice.
    let mut before = 0;
    for (kind, tests) in types {
        let items = shuffled(tests, query.window, sandbox.world.seed);
        let after = before + items.len() as u64;
        if before < to && from < after {
            let places = (before..).zip(items);
            let slice = places.filter(|(place, _)| (from..to).contains(place));
            let slice = slice.map(|(_, item)| item);
            response_items.push(Group::of(sandbox, kind, query, after > to, slice, now));
        }
        before = after;
    }
    let base = match sandbox.settings.next_link {
        NextLink::Absolute => asked.origin.clone().unwrap_or_default() + &asked.path,
        NextLink::Relative => asked.path.clone(),
        NextLink::Short => asked.path.replacen("/api", "", 1),
        NextLink::Null => String::new(),
    };
    let link = |page| (!base.is_empty()).then(|| query.link(page, &base));
    let has_more = before > to;
    let data = Data {
        response_items,
        has_more,
        next: has_more.then(|| link(query.page + 1)).flatten(),
        previous: (query.page > 1).then(|| link(query.page - 1)).flatten(),
    };
    Envelope::of(sandbox, now, Ok(data), None)
}

/// HTTP of any status with an error in it; 200 is what the API likes best.
pub(crate) fn failure(
    sandbox: &Sandbox,
    now: DateTime<Utc>,
    status: StatusCode,
    message: &str,
    exceeded: Option<&str>,
) -> Response<Body> {
    let envelope = Envelope::of(sandbox, now, Err(message), exceeded);
    reply::json(status, &envelope)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    data: Option<Data>,
    messages: [(); 0],
    errors: Vec<Failure>,
    completed: bool,
    trace_id: String,
    usage_limits: UsageLimits,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    response_items: Vec<Group>,
    has_more: bool,
    next: Option<String>,
    previous: Option<String>,
}

#[derive(Serialize)]
struct Failure {
    id: &'static str,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageLimits {
    limits: Usage,
    runs: Usage,
    exceeded_message: Option<String>,
}

impl Envelope {
    fn of(
        sandbox: &Sandbox,
        now: DateTime<Utc>,
        data: Result<Data, &str>,
        exceeded: Option<&str>,
    ) -> Self {
        let micros = now.timestamp_micros().cast_unsigned();
        let failure = data.as_ref().err().map(|message| Failure {
            id: "SandboxError",
            message: (*message).to_owned(),
        });
        Self {
            messages: [],
            completed: failure.is_none(),
            errors: failure.into_iter().collect(),
            trace_id: format!("{:016x}", mix(sandbox.world.seed, &[60, micros])),
            usage_limits: UsageLimits {
                limits: sandbox.gate.limits(),
                runs: sandbox.gate.usage(now),
                exceeded_message: exceeded.map(str::to_owned),
            },
            data: data.ok(),
        }
    }
}

/// The results of one test type.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    start_time_utc: String,
    end_time_utc: String,
    has_more_records: bool,
    #[serde(rename = "timeZoneOffSet", skip_serializing_if = "Option::is_none")]
    time_zone_offset: Option<f64>,
    dimensions: Vec<Named>,
    metrics: Vec<Column>,
    items: Vec<Row>,
}

impl Group {
    fn of(
        sandbox: &Sandbox,
        kind: TestType,
        query: &Query<'_>,
        has_more_records: bool,
        results: impl Iterator<Item = Item>,
        now: DateTime<Utc>,
    ) -> Self {
        let dimensions = Dimension::of(kind, query.dimensions);
        let now = stamp::ticks(now);
        Self {
            start_time_utc: time(query.window.from),
            end_time_utc: time(query.window.to),
            has_more_records,
            time_zone_offset: sandbox.settings.time_zone.hours(),
            dimensions: dimensions.iter().map(|it| it.named()).collect(),
            metrics: columns(kind),
            items: results
                .filter(|item| item.is_visible(now))
                .map(|item| Row::of(sandbox, &item, &dimensions))
                .collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    date_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_date: Option<String>,
    values: Vec<Value>,
    dimensions: Vec<Place>,
    indicators: [(); 0],
    tracepoints: [(); 0],
}

#[derive(Serialize)]
struct Place {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Named>,
    #[serde(flatten)]
    named: Named,
}

impl Row {
    fn of(sandbox: &Sandbox, item: &Item, dimensions: &[Dimension]) -> Self {
        let settings = &sandbox.settings;
        let place = |&dimension: &Dimension| {
            let part = |part: u32| Named::new(u64::from(part), &part.to_string());
            let named = match dimension {
                Dimension::Test => Named::new(item.test.id, &item.test.name),
                Dimension::Node => Named::new(item.node.id, &item.node.name),
                Dimension::Step => part(item.step()?),
                Dimension::HopNumber => part(item.hop()?),
                Dimension::HostIP => Named::new(0, &host_ip(item)?),
            };
            let kind = settings.dimension_types.then(|| dimension.named());
            Some(Place { kind, named })
        };
        let time = stamp::write(settings.time_zone.local(item.time()), item.test.form);
        let (date_time, report_date) = match settings.report_date {
            true => (None, Some(time)),
            false => (Some(time), None),
        };
        Self {
            date_time,
            report_date,
            values: values(item, &sandbox.served),
            dimensions: dimensions.iter().filter_map(place).collect(),
            indicators: [],
            tracepoints: [],
        }
    }
}

/// How far the API looks back if it is not told, in ticks.
const LAST: i64 = 3600 * SECOND;

/// What is asked for, understood.
struct Query<'a> {
    window: Window,
    ids: &'a [u64],
    dimensions: Option<&'a str>,
    /// From 1.
    page: u64,
    /// Results on a page, at least one.
    size: u64,
}

impl<'a> Query<'a> {
    /// Reads it; the error is what the API answers.
    fn of(asked: &'a Asked, now: i64, most: u64) -> Result<Self, String> {
        let time = |name: &str, or: i64| match asked.param(name) {
            None => Ok(or),
            Some(text) => {
                stamp::read(text).ok_or_else(|| format!("{name} must be YYYY-MM-DDThh:mm:ss"))
            }
        };
        let to = time("endTimeUtc", now)?;
        let from = time("startTimeUtc", to.saturating_sub(LAST))?;
        if from >= to || (Window { from, to }).is_too_long() {
            return Err("startTimeUtc must be before endTimeUtc, and not long".into());
        }
        let number = |name: &str, or: u64| match asked.param(name).map(str::parse) {
            None => Ok(or),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => Err(format!("{name} must be a whole number from 1")),
        };
        Ok(Self {
            window: Window { from, to }.until(now),
            ids: asked.tests(),
            dimensions: asked.param("dimensionIds"),
            page: number("pageNumber", 1)?,
            size: number("pageSize", most)?.min(most),
        })
    }

    /// The link to a page of the same results, whatever the time will be then.
    fn link(&self, page: u64, base: &str) -> String {
        let ids: Vec<String> = self.ids.iter().map(u64::to_string).collect();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("testIds", &ids.join(","));
        query.append_pair("startTimeUtc", &time(self.window.from));
        query.append_pair("endTimeUtc", &time(self.window.to));
        if let Some(dimensions) = self.dimensions {
            query.append_pair("dimensionIds", dimensions);
        }
        query.append_pair("pageNumber", &page.to_string());
        query.append_pair("pageSize", &self.size.to_string());
        format!("{base}?{}", query.finish())
    }
}

/// A time as API v2 writes it; a fraction is written only if there is one.
fn time(ticks: i64) -> String {
    let is_whole = ticks % SECOND == 0;
    stamp::write(ticks, if is_whole { Form::Bare } else { Form::Fraction })
}
