//! The paths under `/sandbox/`, for tests and people in another process:
//!
//! * `GET /sandbox/truth?from=EPOCH&to=EPOCH`: every datapoint of that time, a JSON object a line
//! * `GET /sandbox/calls`: the calls so far
//!
//! They need no credentials, count for no limit, are not recorded and never fail by a fault.

use http::{Request, Response, StatusCode};

use crate::asked::query;
use crate::reply::{Body, json, response};
use crate::sandbox::Sandbox;

/// Answers a call of the control paths; any other is not ours.
pub(crate) fn handle(sandbox: &Sandbox, request: &Request<Vec<u8>>) -> Option<Response<Body>> {
    Some(match request.uri().path().strip_prefix("/sandbox/")? {
        "truth" => truth(sandbox, request).unwrap_or_else(|| {
            wrong("from and to must be seconds since 1970: /sandbox/truth?from=0&to=900")
        }),
        "calls" => json(StatusCode::OK, &sandbox.calls()),
        _ => wrong("no such path: truth and calls are known"),
    })
}

fn truth(sandbox: &Sandbox, request: &Request<Vec<u8>>) -> Option<Response<Body>> {
    let query = query(request);
    let time = |name: &str| query.get(name)?.parse().ok();
    let mut lines = Vec::new();
    for datapoint in sandbox.truth(time("from")?, time("to")?) {
        serde_json::to_writer(&mut lines, &datapoint).ok()?;
        lines.push(b'\n');
    }
    Some(response(StatusCode::OK, "application/x-ndjson", lines))
}

fn wrong(text: &str) -> Response<Body> {
    response(StatusCode::BAD_REQUEST, "text/plain", text)
}
