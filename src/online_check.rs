//! Tries what a configuration needs: the token, one call, the relay and carbon.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::catchpoint::error::{Call, Kind};
use crate::catchpoint::query::WINDOW;
use crate::catchpoint::{CallError, Client, Query};
use crate::config::Settings;
use crate::config::catchpoint::ApiVersion;
use crate::host::body::{DeadlineReader, excerpt, read_text};
use crate::host::{Host, Request};
use crate::retry::later;
use crate::state::{Lease, Priority};
use crate::time_range::TimeRange;

/// What to do about a carbon that takes nothing.
const CARBON_HINT: &str = "check that carbon runs at carbon_server and carbon_port of config_graphite.yaml, and see the relay's log";

/// Longest wait for the relay's health.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `token`, `call`, `relay` or `carbon`.
    pub name: &'static str,
    /// Whether it works.
    pub ok: bool,
    /// What came of it.
    pub result: String,
    /// What to do about it, if it does not work.
    pub hint: Option<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.ok { "ok" } else { "FAILED" };
        write!(f, "{:<12} {word}: {}", self.name, self.result)?;
        match &self.hint {
            Some(hint) => write!(f, "\n             {hint}"),
            None => Ok(()),
        }
    }
}

/// Tries everything, and says of each what came of it.
pub fn online_check(host: &dyn Host, settings: &Settings) -> Vec<Step> {
    let mut steps = catchpoint(host, settings);
    steps.extend(relay(host, settings));
    steps
}

fn step(name: &'static str, result: Result<String, (String, &str)>) -> Step {
    let hint = result.as_ref().err().map(|(_, hint)| (*hint).to_owned());
    Step {
        name,
        ok: result.is_ok(),
        result: result.unwrap_or_else(|(result, _)| result),
        hint,
    }
}

/// One call for the first test. With v1 it takes a token.
fn catchpoint(host: &dyn Host, settings: &Settings) -> Vec<Step> {
    let catchpoint = &settings.catchpoint;
    let run = format!("{:016x}", host.random());
    let test = catchpoint.test_ids().next();
    let Ok(lease) = Lease::take(host, &run, Priority::Run) else {
        let result = "not tried: a run is under way".to_owned();
        let hint = "try again when it has ended; `status` shows what it did";
        return vec![step("call", Err((result, hint)))];
    };
    let lease = Rc::new(lease);
    let to = host.now().timestamp();
    let last = TimeRange {
        from: to - WINDOW,
        to,
    };
    let credentials = match catchpoint.version {
        ApiVersion::V1 => "client_id and client_secret",
        ApiVersion::Explorer(_) => "the API key",
    };
    let query = match (catchpoint.version, test) {
        (ApiVersion::V1, Some(test)) => Query::LastRaw(vec![test]),
        (ApiVersion::Explorer(_), Some(test)) => Query::Explorer(vec![test], last),
        // Before the first run, if Catchpoint is to list them.
        (_, None) => Query::Tests(String::new()),
    };
    let deadline = host.now() + catchpoint.run_deadline;
    let fetched =
        Client::new(host, catchpoint, Rc::clone(&lease), deadline).fetch_page(&query, None);
    lease.release();
    let token = Ok(format!("{} accepts {credentials}", catchpoint.origin()));
    let failed = |error: &CallError| Err((error.to_string(), error.class().hint));
    match fetched {
        Ok(fetched) => {
            let rows = fetched.page.rows();
            let result = match test {
                Some(test) => format!("test {test} has {rows} results in the last 15 minutes"),
                None => format!("the first page of the list of tests has {rows}"),
            };
            vec![step("token", token), step("call", Ok(result))]
        }
        Err(error) => match (error.call, error.kind) {
            (Call::Token, _) | (_, Kind::Credentials) => vec![step("token", failed(&error))],
            (_, Kind::Refused | Kind::Forbidden) => {
                vec![step("token", token), step("call", failed(&error))]
            }
            // Whether the credentials are accepted has not been said.
            _ => vec![step("call", failed(&error))],
        },
    }
}

/// The relay, and carbon as the relay sees it.
fn relay(host: &dyn Host, settings: &Settings) -> Vec<Step> {
    let url = &settings.relay_url;
    let get = |path: &str| {
        let request = Request {
            body: None,
            url: &format!("{url}{path}"),
            headers: &[],
            timeout: TIMEOUT,
        };
        let response = host.send(&request).map_err(|error| error.to_string())?;
        let body = DeadlineReader::new(response.body, host, later(host.now(), TIMEOUT), &|| {});
        Ok::<_, String>((response.status, read_text(body)))
    };
    let health = match get("/healthz") {
        Ok((200, _)) => Ok(format!("{url} answers")),
        Ok((status, text)) => Err((
            format!("{url} answers HTTP {status}: {}", excerpt(&text)),
            "set the variable relay_url to the address of the relay",
        )),
        Err(error) => Err((
            format!("no relay answers at {url}: {error}"),
            "start the relay, or set the variable relay_url to where it listens",
        )),
    };
    if health.is_err() {
        return vec![step("relay", health)];
    }
    let ready = match get("/readyz") {
        // The relay is ready without carbon, too.
        Ok((200, text)) => {
            let state: Value = serde_json::from_str(&text).unwrap_or_default();
            match state.get("carbon").and_then(Value::as_str) {
                Some("up") => Ok("it confirmed the last delivery".to_owned()),
                Some("down") => Err((
                    "it did not confirm the last delivery; the relay keeps the lines".to_owned(),
                    CARBON_HINT,
                )),
                _ => Ok("not tried yet: the relay connects when the first lines come".to_owned()),
            }
        }
        Ok((status, text)) => Err((
            format!("the relay answers HTTP {status}: {}", excerpt(&text)),
            CARBON_HINT,
        )),
        Err(error) => Err((error, "see the relay's log")),
    };
    vec![step("relay", health), step("carbon", ready)]
}
