//! A request, understood as far as it can be.

use std::collections::BTreeMap;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderName};
use http::{Method, Request};
use serde::Serialize;

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// API v1: a token.
    Token,
    /// API v1: the last 15 minutes of some tests.
    LastRaw,
    /// API v1: a range of time of one test, or of several in a list.
    Ranged,
    /// API v2 or later: a range of time of some tests.
    V2,
    /// API v2 or later: which tests there are.
    List,
    /// Anything else, answered 404.
    Other,
}

/// One call.
pub(crate) struct Asked {
    pub kind: Kind,
    /// The test ids, each once; none if what stands there is no list of ids.
    pub tests: Vec<u64>,
    /// The query, or for [`Kind::Token`] the form.
    params: BTreeMap<String, String>,
    /// What follows `Bearer`.
    pub bearer: Option<String>,
    /// `scheme://host:port` that the caller spoke to; empty if it did not say so.
    pub origin: String,
    /// The path, as it was asked for.
    pub path: String,
    /// Whether the caller reads gzip.
    pub gzip: bool,
}

const TOKEN_PATH: &str = "/ui/api/token";
const RAW_PATH: &str = "/ui/api/v1/performance/raw";
/// The versions of the newer API: `/api/VERSION/tests/explorer/raw`.
const VERSIONS: [&str; 5] = ["v2", "v3", "v3.3", "v3.4", "v4"];

impl Asked {
    pub fn of(request: &Request<Vec<u8>>) -> Self {
        let path = request.uri().path();
        let query = query(request);
        let is_ranged = query.contains_key("startTime") || query.contains_key("endTime");
        let of_v1 = path.strip_prefix(RAW_PATH);
        let of_v2 = path.strip_prefix("/api/");
        let of_v2 = of_v2.and_then(|path| path.strip_suffix("/tests/explorer/raw"));
        let kind = match *request.method() {
            Method::POST if path == TOKEN_PATH => Kind::Token,
            Method::GET if of_v1 == Some("") && !is_ranged => Kind::LastRaw,
            Method::GET if of_v1.is_some_and(|id| id.is_empty() || id.starts_with('/')) => {
                Kind::Ranged
            }
            Method::GET if VERSIONS.iter().any(|it| path == format!("/api/{it}/tests")) => {
                Kind::List
            }
            Method::GET if of_v2.is_some_and(|version| VERSIONS.contains(&version)) => Kind::V2,
            _ => Kind::Other,
        };
        let params = match kind {
            Kind::Token => decoded(request.body()),
            _ => query,
        };
        // A range of one test has its id in the path.
        let in_path = of_v1.and_then(|id| id.strip_prefix('/'));
        let in_query = params.get(if kind == Kind::V2 { "testIds" } else { "tests" });
        let list = in_path.or(in_query.map(String::as_str));
        Self {
            kind,
            tests: list.and_then(ids).unwrap_or_default(),
            bearer: bearer(request),
            origin: origin(request),
            path: path.to_owned(),
            gzip: header(request, ACCEPT_ENCODING).contains("gzip"),
            params,
        }
    }

    /// Whether it speaks the newer API.
    pub fn is_v2(&self) -> bool {
        matches!(self.kind, Kind::V2 | Kind::List)
    }

    /// Whether a ranged call has its tests in a list and not in the path.
    pub fn is_list(&self) -> bool {
        self.path == RAW_PATH
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

/// The query of a request.
pub(crate) fn query(request: &Request<Vec<u8>>) -> BTreeMap<String, String> {
    decoded(request.uri().query().unwrap_or_default().as_bytes())
}

/// Of a name that is given twice the last one counts.
fn decoded(form: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(form).into_owned().collect()
}

/// A comma-separated list of ids.
fn ids(list: &str) -> Option<Vec<u64>> {
    let mut ids = Vec::new();
    for id in list.split(',') {
        let id = id.trim().parse().ok()?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Some(ids)
}

/// A header's text; empty if it is not there or no text.
fn header(request: &Request<Vec<u8>>, name: HeaderName) -> &str {
    let value = request.headers().get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn bearer(request: &Request<Vec<u8>>) -> Option<String> {
    let (scheme, token) = header(request, AUTHORIZATION).split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| token.trim().to_owned())
}

fn origin(request: &Request<Vec<u8>>) -> String {
    let uri = request.uri();
    let authority = uri.authority().map(|authority| authority.as_str());
    let host = authority.unwrap_or_else(|| header(request, HOST));
    match host {
        "" => String::new(),
        _ => format!("{}://{host}", uri.scheme_str().unwrap_or("http")),
    }
}
