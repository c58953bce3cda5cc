//! The paths under `/sandbox/`, for tests and people in another process:
//!
//! * `GET /sandbox/truth?from=EPOCH&to=EPOCH`: every datapoint of that time, a JSON object a line
//! * `GET /sandbox/served`: what was served, by test type
//! * `GET /sandbox/calls`: the calls so far, and the most that each window ever held
//! * `GET`, `PUT` and `DELETE /sandbox/faults`: the rules of the faults
//!
//! They need no credentials, count for no limit, are not recorded and never fail by a fault.

use http::{Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::asked::query;
use crate::faults::Rule;
use crate::limits::Peak;
use crate::record::Call;
use crate::reply::{Body, json, response, to_json};
use crate::sandbox::Sandbox;
use crate::v1::error;

#[derive(Serialize)]
struct Calls {
    peak: Peak,
    calls: Vec<Call>,
}

/// Answers a call of the control paths; any other is not ours.
pub(crate) fn handle(sandbox: &Sandbox, request: &Request<Vec<u8>>) -> Option<Response<Body>> {
    let path = request.uri().path().strip_prefix("/sandbox/")?;
    Some(match (request.method(), path) {
        (&Method::GET, "truth") => truth(sandbox, request),
        (&Method::GET, "served") => json(StatusCode::OK, &sandbox.served()),
        (&Method::GET, "calls") => {
            let calls = Calls {
                peak: sandbox.peak(),
                calls: sandbox.calls(),
            };
            json(StatusCode::OK, &calls)
        }
        (&Method::GET, "faults") => json(StatusCode::OK, &sandbox.faults.all()),
        (&Method::PUT, "faults") => match serde_json::from_slice::<Vec<Rule>>(request.body()) {
            Ok(rules) => {
                sandbox.set_faults(rules);
                done()
            }
            Err(wrong) => error(
                StatusCode::BAD_REQUEST,
                &format!("no list of fault rules: {wrong}"),
            ),
        },
        (&Method::DELETE, "faults") => {
            sandbox.set_faults(Vec::new());
            done()
        }
        (_, "truth" | "served" | "calls" | "faults") => {
            error(StatusCode::METHOD_NOT_ALLOWED, "no such method")
        }
        _ => error(
            StatusCode::NOT_FOUND,
            "no such path: truth, served, calls and faults are known",
        ),
    })
}

fn done() -> Response<Body> {
    response(StatusCode::NO_CONTENT, "text/plain", "")
}

fn truth(sandbox: &Sandbox, request: &Request<Vec<u8>>) -> Response<Body> {
    let query = query(request);
    let time = |name: &str| query.get(name)?.parse::<i64>().ok();
    let (Some(from), Some(to)) = (time("from"), time("to")) else {
        let text = "from and to must be seconds since 1970: /sandbox/truth?from=0&to=900";
        return error(StatusCode::BAD_REQUEST, text);
    };
    let mut lines = Vec::new();
    for datapoint in sandbox.truth(from, to) {
        lines.extend(to_json(&datapoint));
        lines.push(b'\n');
    }
    response(StatusCode::OK, "application/x-ndjson", lines)
}
