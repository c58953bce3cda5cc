//! API v2, and 3, 3.3, 3.4 and 4: a range of time of some tests, page by page.
//!
//! From the vendor's OpenAPI document: the shape, the parameters, `next` as a string. Our reading:
//! one response item for each test type, as only tests of one type have the same metrics; pages by
//! `pageNumber` (from 1) and `pageSize`, as the vendor's guide to API v2 has them; without
//! `dimensionIds` the dimensions are test, node, and step or hop. A page is a fixed slice of the
//! results, so that one which shows up late between two calls moves none to another page: a page may
//! hold fewer results than its size, even none, while there are more.
//!
//! The versions differ in what the document leaves open, as their clients show: `next` is a whole
//! address in v2 and a path in v3 to v3.4; v4 leaves out all that may be null, so that `pageNumber`
//! has to be counted up, and the place of a dimension says what it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Serialize;

use crate::api::Api;
use crate::limits::Limits;
use crate::noise::mix;
use crate::reply::{self, Body};
use crate::results::{Item, Window, shuffled};
use crate::row::{Value, values};
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
        let is_wanted = |dimension: &Self| {
            let id = (*dimension as u64).to_string();
            wanted.is_none_or(|ids| ids.split(',').any(|wanted| wanted.trim() == id))
        };
        let all = [Some(Self::Test), Some(Self::Node), part];
        all.into_iter().flatten().filter(is_wanted).collect()
    }
}

pub(crate) fn raw(api: &Api<'_>) -> Response<Body> {
    let fail = |message: &str| failure(api, StatusCode::OK, message);
    let tests = match api.tests() {
        None => return fail("One or more tests are invalid or you do not have access to them"),
        Some(tests) if tests.is_empty() => return fail("testIds must be a list of test ids"),
        Some(tests) => tests,
    };
    match Query::of(api) {
        Err(message) => fail(&message),
        Ok(query) => success(api, page(api, &query, tests)),
    }
}

fn page(api: &Api<'_>, query: &Query<'_>, tests: Vec<Arc<Test>>) -> Data {
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
        let items = shuffled(tests, query.window, api.world.seed);
        let after = before + items.len() as u64;
        if before < to && from < after {
            let places = (before..).zip(items);
            let slice = places.filter(|(place, _)| (from..to).contains(place));
            let slice = slice.map(|(_, item)| item);
            response_items.push(Group::of(api, kind, query, after > to, slice));
        }
        before = after;
    }
    let has_more = before > to;
    Data {
        response_items,
        has_more,
        next: has_more.then(|| query.link(query.page + 1)).flatten(),
        previous: None,
    }
}

/// HTTP of any status with an error in it; 200 is what the API likes best.
pub(crate) fn failure(api: &Api<'_>, status: StatusCode, message: &str) -> Response<Body> {
    let exceeded = (status == StatusCode::TOO_MANY_REQUESTS).then_some(message);
    reply::json(status, &Envelope::<()>::of(api, Err(message), exceeded))
}

/// HTTP 200 with data in it.
pub(crate) fn success(api: &Api<'_>, data: impl Serialize) -> Response<Body> {
    reply::json(StatusCode::OK, &Envelope::of(api, Ok(data), None))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<D> {
    data: Option<D>,
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
    /// Nobody goes back.
    previous: Option<()>,
}

#[derive(Serialize)]
struct Failure {
    id: &'static str,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageLimits {
    limits: Limits,
    runs: Limits,
    exceeded_message: Option<String>,
}

impl<D> Envelope<D> {
    fn of(api: &Api<'_>, data: Result<D, &str>, exceeded: Option<&str>) -> Self {
        let micros = api.now.timestamp_micros().cast_unsigned();
        let failure = data.as_ref().err().map(|message| Failure {
            id: "SandboxError",
            message: (*message).to_owned(),
        });
        Self {
            messages: [],
            completed: failure.is_none(),
            errors: failure.into_iter().collect(),
            trace_id: format!("{:016x}", mix(api.world.seed, &[60, micros])),
            usage_limits: UsageLimits {
                limits: api.gate.limits.unwrap_or(Limits::of([0; 4])),
                runs: api.gate.usage(api.now),
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
    /// Hours; nothing for UTC.
    #[serde(rename = "timeZoneOffSet", skip_serializing_if = "Option::is_none")]
    time_zone_offset: Option<f64>,
    dimensions: Vec<Named>,
    metrics: Vec<Column>,
    items: Vec<Row>,
}

impl Group {
    fn of(
        api: &Api<'_>,
        kind: TestType,
        query: &Query<'_>,
        has_more_records: bool,
        results: impl Iterator<Item = Item>,
    ) -> Self {
        let dimensions = Dimension::of(kind, query.dimensions);
        let now = stamp::ticks(api.now);
        let offset = api.settings.utc_offset_minutes;
        Self {
            start_time_utc: time(query.window.from),
            end_time_utc: time(query.window.to),
            has_more_records,
            time_zone_offset: (offset != 0).then(|| f64::from(offset) / 60.0),
            dimensions: dimensions.iter().map(|it| it.named()).collect(),
            metrics: columns(kind),
            items: results
                .filter(|item| item.is_visible(now))
                .map(|item| Row::of(&item, offset, &dimensions, query.is_v4()))
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
    fn of(item: &Item, offset: i32, dimensions: &[Dimension], is_bare: bool) -> Self {
        let place = |&dimension: &Dimension| {
            let part = |part: u32| Named::new(u64::from(part), &part.to_string());
            let named = match dimension {
                Dimension::Test => Named::new(item.test.id, &item.test.name),
                Dimension::Node => Named::new(item.node.id, &item.node.name),
                Dimension::Step => part(item.step()?),
                Dimension::HopNumber => part(item.hop()?),
            };
            let kind = (!is_bare).then(|| dimension.named());
            Some(Place { kind, named })
        };
        let time = stamp::write(stamp::local(item.time(), offset), item.test.form);
        let (date_time, report_date) = match is_bare {
            true => (None, Some(time)),
            false => (Some(time), None),
        };
        Self {
            date_time,
            report_date,
            values: values(item).collect(),
            dimensions: dimensions.iter().filter_map(place).collect(),
            indicators: [],
            tracepoints: [],
        }
    }
}

/// How far the API looks back if it is not told, in ticks.
const LAST: i64 = 3600 * SECOND;
/// The most results on a page.
const MOST: u64 = 5_000;

/// What is asked for, understood.
struct Query<'a> {
    api: &'a Api<'a>,
    window: Window,
    dimensions: Option<&'a str>,
    /// From 1.
    page: u64,
    /// Results on a page, at least one.
    size: u64,
}

impl<'a> Query<'a> {
    /// Reads it; the error is what the API answers.
    fn of(api: &'a Api<'a>) -> Result<Self, String> {
        let time = |name: &str, or: i64| match api.asked.param(name) {
            None => Ok(or),
            Some(text) => {
                stamp::read(text).ok_or_else(|| format!("{name} must be YYYY-MM-DDThh:mm:ss"))
            }
        };
        let now = stamp::ticks(api.now);
        let to = time("endTimeUtc", now)?;
        let from = time("startTimeUtc", to.saturating_sub(LAST))?;
        if from >= to || (Window { from, to }).is_too_long() {
            return Err("startTimeUtc must be before endTimeUtc, and not long".into());
        }
        let number = |name: &str, or: u64| match api.asked.param(name).map(str::parse) {
            None => Ok(or),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => Err(format!("{name} must be a whole number from 1")),
        };
        Ok(Self {
            api,
            window: Window { from, to }.until(now),
            dimensions: api.asked.param("dimensionIds"),
            page: number("pageNumber", 1)?,
            size: number("pageSize", MOST)?.min(MOST),
        })
    }

    fn is_v4(&self) -> bool {
        self.api.asked.path.starts_with("/api/v4/")
    }

    /// The link to a page of the same results, whatever the time will be then.
    fn link(&self, page: u64) -> Option<String> {
        let asked = self.api.asked;
        let origin = match asked.path.starts_with("/api/v2/") {
            true => &asked.origin,
            false => "",
        };
        let ids: Vec<String> = asked.tests.iter().map(u64::to_string).collect();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("testIds", &ids.join(","));
        query.append_pair("startTimeUtc", &time(self.window.from));
        query.append_pair("endTimeUtc", &time(self.window.to));
        if let Some(dimensions) = self.dimensions {
            query.append_pair("dimensionIds", dimensions);
        }
        query.append_pair("pageNumber", &page.to_string());
        query.append_pair("pageSize", &self.size.to_string());
        (!self.is_v4()).then(|| format!("{origin}{}?{}", asked.path, query.finish()))
    }
}

/// A time as API v2 writes it; a fraction is written only if there is one.
fn time(ticks: i64) -> String {
    let is_whole = ticks % SECOND == 0;
    stamp::write(ticks, if is_whole { Form::Bare } else { Form::Fraction })
}
