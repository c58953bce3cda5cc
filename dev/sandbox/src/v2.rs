//! API v2: a range of time of some tests, page by page.
//!
//! From the vendor's OpenAPI document: the shape, the parameters, `next` as a string. Our reading:
//! one response item for each test type, as only tests of one type have the same metrics; pages by
//! `pageNumber` (from 1) and `pageSize`, as the vendor's guide to API v2 has them; without
//! `dimensionIds` the dimensions are test, node, and step or hop. A page is a fixed slice of the
//! results, so that one which shows up late between two calls moves none to another page: a page may
//! hold fewer results than its size, even none, while there are more.

use std::collections::BTreeMap;
use std::iter::once;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::asked::Asked;
use crate::limits::Usage;
use crate::noise::mix;
use crate::reply::{Body, JSON, json, members, response, to_json};
use crate::results::{Item, Results, Window};
use crate::row::{Value, host_ip, values};
use crate::sandbox::Sandbox;
use crate::settings::{NextLink, Settings};
use crate::record::Served;
use crate::stamp::{self, Form, SECOND};
use crate::test_type::TestType;
use crate::v1::{Named, columns};
use crate::world::Test;

/// A dimension by which results are told apart.
#[derive(Clone, Copy, PartialEq)]
enum Dimension {
    Test,
    Node,
    Step,
    HopNumber,
    HostIp,
}

impl Dimension {
    /// The id and the name, from the vendor's enumeration.
    fn named(self) -> Named<'static> {
        let (id, name) = match self {
            Self::Test => (16, "Test"),
            Self::Node => (1, "Node"),
            Self::Step => (6, "Step"),
            Self::HopNumber => (90, "HopNumber"),
            Self::HostIp => (19, "HostIP"),
        };
        Named { id, name }
    }

    fn of(kind: TestType, wanted: Option<&str>) -> Vec<Self> {
        let part = match kind {
            TestType::Transaction | TestType::Api => Some(Self::Step),
            TestType::Traceroute => Some(Self::HopNumber),
            _ => None,
        };
        let all = [Some(Self::Test), Some(Self::Node), part, Some(Self::HostIp)]
            .into_iter()
            .flatten();
        match wanted {
            None => all.filter(|&dimension| dimension != Self::HostIp).collect(),
            Some(ids) => {
                let ids: Vec<&str> = ids.split(',').map(str::trim).collect();
                all.filter(|it| ids.contains(&it.named().id.to_string().as_str()))
                    .collect()
            }
        }
    }
}

pub(crate) fn raw(
    sandbox: &Sandbox,
    asked: &Asked,
    now: DateTime<Utc>,
    served: Option<&Arc<Served>>,
) -> Response<Body> {
    let fail = |message: &str| failure(sandbox, now, StatusCode::OK, message, None);
    let tests: Option<Vec<_>> = asked
        .tests()
        .iter()
        .map(|&id| sandbox.world.test(id).cloned())
        .collect();
    let tests = match tests {
        None => return fail("One or more tests are invalid or you do not have access to them"),
        Some(tests) if tests.is_empty() => return fail("testIds must be a list of test ids"),
        Some(tests) => tests,
    };
    match Query::of(asked, stamp::ticks(now), sandbox.settings.page_size.max(1)) {
        Err(message) => fail(&message),
        Ok(query) => {
            let body = page(sandbox, asked, &query, tests, now, served);
            response(StatusCode::OK, JSON, body)
        }
    }
}

fn page(
    sandbox: &Sandbox,
    asked: &Asked,
    query: &Query<'_>,
    tests: Vec<Arc<Test>>,
    now: DateTime<Utc>,
    served: Option<&Arc<Served>>,
) -> Body {
    let mut types: BTreeMap<TestType, Vec<Arc<Test>>> = BTreeMap::new();
    for test in tests {
        types.entry(test.kind).or_default().push(test);
    }
    let from = (query.page - 1).saturating_mul(query.size);
    let to = from.saturating_add(query.size);
    let mut groups = Vec::new();
    // The results of all types, one type after the other, are what the pages slice.
    let mut before: u64 = 0;
    for (kind, tests) in types {
        let results = Results::of(&tests, query.window).shuffled(sandbox.world.seed);
        let after = before.saturating_add(results.total());
        if before < to && from < after {
            let more = after > to;
            let slice = results.slice(from.saturating_sub(before), to - before);
            let dimensions = Dimension::of(kind, query.dimensions);
            groups.push(group(
                kind,
                &dimensions,
                query.window,
                more,
                slice,
                (now, served, &sandbox.settings),
            ));
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
    let more = before > to;
    let tail = Tail {
        has_more: more,
        next: more.then(|| link(query.page + 1)).flatten(),
        previous: (query.page > 1).then(|| link(query.page - 1)).flatten(),
    };
    let mut end = b"],".to_vec();
    // The members of the tail belong to the object that the groups are in.
    end.extend(to_json(&tail).split_off(1));
    end.push(b',');
    end.extend(to_json(&Envelope::of(sandbox, now, &[], None)).split_off(1));
    let groups = groups.into_iter().enumerate().flat_map(|(n, group)| {
        let comma = if n > 0 { b",".to_vec() } else { Vec::new() };
        once(comma).chain(group)
    });
    Body::chunks(
        once(br#"{"data":{"responseItems":["#.to_vec())
            .chain(groups)
            .chain(once(end)),
    )
}

/// The results of one test type.
fn group(
    kind: TestType,
    dimensions: &[Dimension],
    window: Window,
    more: bool,
    results: Results,
    (now, served, settings): (DateTime<Utc>, Option<&Arc<Served>>, &Settings),
) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
    let head = Group {
        start_time_utc: time(window.from),
        end_time_utc: time(window.to),
        has_more_records: more,
        time_zone_offset: settings.time_zone.hours(),
        dimensions: dimensions
            .iter()
            .map(|dimension| dimension.named())
            .collect(),
        metrics: columns(kind),
    };
    let mut head = to_json(&head);
    head.pop();
    head.extend(br#","items":["#);
    let (now, served, dimensions) = (stamp::ticks(now), served.cloned(), dimensions.to_vec());
    let settings = settings.clone();
    let items = results
        .filter(move |item| item.is_visible(now))
        .map(move |item| to_json(&Row::of(&item, &dimensions, served.as_deref(), &settings)));
    once(head).chain(members(items)).chain(once(b"]}".to_vec()))
}

/// HTTP of any status with an error in it; 200 is what the API likes best.
pub(crate) fn failure(
    sandbox: &Sandbox,
    now: DateTime<Utc>,
    status: StatusCode,
    message: &str,
    exceeded: Option<&str>,
) -> Response<Body> {
    let errors = [Trouble {
        id: "SandboxError",
        message,
    }];
    let envelope = Envelope::of(sandbox, now, &errors, exceeded);
    json(status, &Failure { data: (), envelope })
}

#[derive(Serialize)]
struct Failure<'a> {
    /// Null.
    data: (),
    #[serde(flatten)]
    envelope: Envelope<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    start_time_utc: String,
    end_time_utc: String,
    has_more_records: bool,
    #[serde(rename = "timeZoneOffSet", skip_serializing_if = "Option::is_none")]
    time_zone_offset: Option<f64>,
    dimensions: Vec<Named<'static>>,
    metrics: Vec<crate::v1::Column>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tail {
    has_more: bool,
    next: Option<String>,
    previous: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    messages: [(); 0],
    errors: &'a [Trouble<'a>],
    completed: bool,
    trace_id: String,
    usage_limits: UsageLimits<'a>,
}

#[derive(Serialize)]
struct Trouble<'a> {
    id: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageLimits<'a> {
    limits: Usage,
    runs: Usage,
    exceeded_message: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    fn of(
        sandbox: &Sandbox,
        now: DateTime<Utc>,
        errors: &'a [Trouble<'a>],
        exceeded_message: Option<&'a str>,
    ) -> Self {
        let runs = sandbox.gate.usage(now);
        let trace = mix(
            sandbox.world.seed,
            &[60, now.timestamp_micros().cast_unsigned()],
        );
        Self {
            messages: [],
            errors,
            completed: errors.is_empty(),
            trace_id: format!("{trace:016x}"),
            usage_limits: UsageLimits {
                limits: sandbox.gate.limits(),
                runs,
                exceeded_message,
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    date_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_date: Option<String>,
    values: Vec<Value>,
    dimensions: Vec<Place<'a>>,
    indicators: [(); 0],
    tracepoints: [(); 0],
}

#[derive(Serialize)]
struct Place<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Named<'static>>,
    id: u64,
    name: std::borrow::Cow<'a, str>,
}

impl<'a> Row<'a> {
    fn of(
        item: &'a Item,
        dimensions: &[Dimension],
        served: Option<&Served>,
        settings: &Settings,
    ) -> Self {
        let time = stamp::write(settings.time_zone.local(item.time()), item.test.form);
        let (date_time, report_date) = if settings.report_date {
            (None, Some(time))
        } else {
            (Some(time), None)
        };
        let place = |&dimension: &Dimension| {
            let part = |part: u32| (u64::from(part), part.to_string().into());
            let (id, name) = match dimension {
                Dimension::Test => (item.test.id, item.test.name.as_str().into()),
                Dimension::Node => (item.node.id, item.node.name.as_str().into()),
                Dimension::Step => part(item.step()?),
                Dimension::HopNumber => part(item.hop()?),
                Dimension::HostIp => (0, host_ip(item)?.into()),
            };
            Some(Place {
                kind: settings.dimension_types.then(|| dimension.named()),
                id,
                name,
            })
        };
        Self {
            date_time,
            report_date,
            values: values(item, served),
            dimensions: dimensions.iter().filter_map(place).collect(),
            indicators: [],
            tracepoints: [],
        }
    }
}

/// How far the API looks back if it is not told, in ticks.
const LAST: i64 = 3600 * SECOND;

/// Parameters that would change the results, and that the sandbox does not know.
const UNKNOWN: [&str; 5] = [
    "metricIds",
    "subSourceTypeId",
    "tracepointIds",
    "zoneTypeIds",
    "availabilityFilter",
];

/// What is asked for, understood.
pub(crate) struct Query<'a> {
    pub window: Window,
    ids: &'a [u64],
    pub dimensions: Option<&'a str>,
    /// From 1.
    pub page: u64,
    /// Results on a page, at least one.
    pub size: u64,
}

impl<'a> Query<'a> {
    /// Reads it; the error is what the API answers.
    pub fn of(asked: &'a Asked, now: i64, most: u64) -> Result<Self, String> {
        if let Some(name) = UNKNOWN
            .into_iter()
            .find(|&name| asked.param(name).is_some())
        {
            return Err(format!("The sandbox does not support {name}"));
        }
        let time = |name: &str, or: i64| match asked.param(name) {
            None => Ok(or),
            Some(text) => {
                stamp::read(text).ok_or_else(|| format!("{name} must be YYYY-MM-DDThh:mm:ss"))
            }
        };
        let to = time("endTimeUtc", now)?;
        let from = time("startTimeUtc", to.saturating_sub(LAST))?;
        if from >= to {
            return Err("startTimeUtc must be before endTimeUtc".into());
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
    pub fn link(&self, page: u64, base: &str) -> String {
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
pub(crate) fn time(ticks: i64) -> String {
    let form = if ticks % SECOND == 0 {
        Form::Bare
    } else {
        Form::Fraction
    };
    stamp::write(ticks, form)
}
