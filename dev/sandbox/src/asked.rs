//! A request, understood as far as it can be.

use std::collections::BTreeMap;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderName, USER_AGENT};
use http::{Method, Request};
use serde::{Deserialize, Serialize};

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// API v1: a token.
    Token,
    /// API v1: the last 15 minutes of some tests.
    LastRaw,
    /// API v1: a range of time of one test, or of several in a list.
    Ranged,
    /// API v2: a range of time of some tests.
    V2,
    /// Anything else, answered 404.
    Other,
}

/// One call.
pub(crate) struct Asked {
    pub kind: Kind,
    /// The test ids, each once; `None` if what stands there is no list of ids.
    ids: Option<Vec<u64>>,
    /// The query, or for [`Kind::Token`] the form.
    params: BTreeMap<String, String>,
    /// What follows `Bearer`.
    pub bearer: Option<String>,
    /// `scheme://host:port` that the caller spoke to, if it said so.
    pub origin: Option<String>,
    /// The path, as it was asked for.
    pub path: String,
    /// Whether a ranged call has its tests in a list and not in the path.
    pub is_list: bool,
    /// Whether the caller reads gzip.
    pub gzip: bool,
    /// What the caller calls itself.
    pub user_agent: String,
}

/// Where the two dialects live.
pub(crate) const TOKEN_PATH: &str = "/ui/api/token";
pub(crate) const RAW_PATH: &str = "/ui/api/v1/performance/raw";
/// The versions of the newer dialect, which all answer the same.
const V2_PATHS: [&str; 5] = [
    "/api/v2/tests/explorer/raw",
    "/api/v3/tests/explorer/raw",
    "/api/v3.3/tests/explorer/raw",
    "/api/v3.4/tests/explorer/raw",
    "/api/v4/tests/explorer/raw",
];

impl Asked {
    pub fn of(request: &Request<Vec<u8>>) -> Self {
        let path = request.uri().path();
        let is_ranged = ["startTime", "endTime"]
            .iter()
            .any(|name| query(request).contains_key(*name));
        let is_list = path == RAW_PATH;
        let kind = match *request.method() {
            Method::POST if path == TOKEN_PATH => Kind::Token,
            Method::GET if is_list && is_ranged => Kind::Ranged,
            Method::GET if is_list => Kind::LastRaw,
            Method::GET if V2_PATHS.contains(&path) => Kind::V2,
            Method::GET if path_id(path).is_some() => Kind::Ranged,
            _ => Kind::Other,
        };
        let params: BTreeMap<String, String> = match kind {
            Kind::Token => form_urlencoded::parse(request.body())
                .into_owned()
                .collect(),
            _ => query(request),
        };
        let list = match kind {
            Kind::LastRaw => params.get("tests").map(String::as_str),
            Kind::V2 => params.get("testIds").map(String::as_str),
            Kind::Ranged if is_list => params.get("tests").map(String::as_str),
            Kind::Ranged => path_id(path),
            Kind::Token | Kind::Other => None,
        };
        let ids = list.and_then(ids);
        Self {
            kind,
            ids,
            params,
            bearer: bearer(request),
            origin: origin(request),
            path: path.to_owned(),
            is_list,
            gzip: header(request, ACCEPT_ENCODING).contains("gzip"),
            user_agent: header(request, USER_AGENT).to_owned(),
        }
    }

    /// The test ids that were asked for, each once; none if they could not be read.
    pub fn tests(&self) -> &[u64] {
        self.ids.as_deref().unwrap_or_default()
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

/// The query of a request, decoded; of a name that is given twice the last one counts.
pub(crate) fn query(request: &Request<Vec<u8>>) -> BTreeMap<String, String> {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// What a ranged call has for an id.
fn path_id(path: &str) -> Option<&str> {
    path.strip_prefix(RAW_PATH)?.strip_prefix('/')
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
    let (scheme, token) = request
        .headers()
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

fn origin(request: &Request<Vec<u8>>) -> Option<String> {
    let uri = request.uri();
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(HOST)?.to_str().ok()?,
    };
    Some(format!("{}://{host}", uri.scheme_str().unwrap_or("http")))
}
