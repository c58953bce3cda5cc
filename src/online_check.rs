//! Tries what a configuration needs: the token, one call, the relay and carbon.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::catchpoint::error::{Call, Kind};
use crate::catchpoint::query::WINDOW;
use crate::catchpoint::{CallError, Client, Query};
use crate::config::catchpoint::ApiVersion;
use crate::config::{Settings, variable};
use crate::host::body::{DeadlineReader, excerpt, read_text};
use crate::host::{Host, Request};
use crate::relay::{RelayError, authorization};
use crate::retry::later;
use crate::state::{Lease, Priority, under_way};
use crate::time_range::TimeRange;

/// What to do about a carbon that takes nothing.
const CARBON_HINT: &str = "check that carbon runs at carbon_server and carbon_port of config_graphite.yaml, and see the relay's log";

/// Longest wait for an answer of the relay.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often the relay is asked again what it knows of carbon, and how long after each answer.
const CARBON_TRIES: u32 = 4;
const CARBON_PAUSE: Duration = Duration::from_millis(500);

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

fn step(name: &'static str, result: Result<String, Failed>) -> Step {
    let hint = result.as_ref().err().map(|(_, hint)| hint.clone());
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
    let lease = match Lease::take(host, &run, Priority::Run) {
        Ok(lease) => Rc::new(lease),
        Err(until) => {
            let hint = "nothing is wrong: try again when it has ended".to_owned();
            return vec![step("call", Err((under_way(until), hint)))];
        }
    };
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
    let failed =
        |error: &CallError| Err((error.to_string(), error.class().hint.advice.into_owned()));
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
    let relay = Relay { host, settings };
    let state = match relay.let_in().and_then(|()| relay.state()) {
        Ok(state) => state,
        Err(failed) => return vec![step("relay", Err(failed))],
    };
    let url = &settings.relay_url;
    let trouble = state.trouble();
    let takes = trouble.map_or(Ok(()), Err);
    let mut steps = vec![step("relay", takes.map(|()| format!("{url} takes lines")))];
    if !state.starting && !state.draining {
        steps.push(step("carbon", relay.carbon(state)));
    }
    steps
}

/// What is wrong, and what to do about it.
type Failed = (String, String);

/// The relay that a configuration names.
struct Relay<'r> {
    host: &'r dyn Host,
    settings: &'r Settings,
}

/// What the relay's `/readyz` says.
#[derive(Deserialize)]
struct State {
    ready: bool,
    #[serde(default)]
    starting: bool,
    #[serde(default)]
    draining: bool,
    #[serde(default)]
    spool_writable: bool,
    #[serde(default)]
    spool_bytes: u64,
    #[serde(default)]
    spool_max_bytes: u64,
    #[serde(default)]
    carbon: String,
}

impl State {
    /// Why it takes no lines now.
    fn trouble(&self) -> Option<Failed> {
        let (what, hint) = match self {
            Self { ready: true, .. } => return None,
            Self { starting: true, .. } => (
                "it is starting and has not opened its spool yet".to_owned(),
                "try again in some seconds; if it stays so, see the relay's log",
            ),
            Self { draining: true, .. } => ("it is stopping".to_owned(), "start it again"),
            Self {
                spool_writable: false,
                ..
            } => (
                "the disk of its spool takes no data".to_owned(),
                "see the relay's log; the disk may be full, read-only or broken",
            ),
            Self {
                spool_bytes,
                spool_max_bytes,
                ..
            } => (
                format!(
                    "its spool is full: {spool_bytes} of {spool_max_bytes} bytes wait for carbon"
                ),
                "start carbon, or raise relay.spool_max_bytes in config_graphite.yaml",
            ),
        };
        Some((what, hint.to_owned()))
    }
}

impl Relay<'_> {
    /// Whether it lets this component in: it looks at the token of a post before the lines, and of a
    /// post without lines it stores nothing.
    fn let_in(&self) -> Result<(), Failed> {
        let headers: Vec<_> = authorization(self.settings).into_iter().collect();
        match self.ask("/v1/lines", Some(b""), &headers)? {
            // It misses the lines, or cannot take any now, which its state tells.
            (400 | 503, _) => Ok(()),
            (status, text) => {
                let text = excerpt(&text);
                Err(failed(&RelayError::Refused { status, text }))
            }
        }
    }

    fn state(&self) -> Result<State, Failed> {
        let (status, text) = self.ask("/readyz", None, &[])?;
        serde_json::from_str(&text).map_err(|_| {
            let (url, text) = (&self.settings.relay_url, excerpt(&text));
            (
                format!("{url} is not a relay: /readyz answers HTTP {status}: {text}"),
                format!("set {} to the relay's address", variable("relay_url")),
            )
        })
    }

    /// What the relay knows of carbon. It connects when it starts, so that it soon knows.
    fn carbon(&self, mut state: State) -> Result<String, Failed> {
        for _ in 0..CARBON_TRIES {
            if state.carbon != "unknown" {
                break;
            }
            self.host.sleep(CARBON_PAUSE);
            state = self.state()?;
        }
        let what = match state.carbon.as_str() {
            "up" => return Ok("it confirmed the last delivery".to_owned()),
            "down" => "the relay cannot deliver to it, and keeps all lines until it can",
            _ => "it has not confirmed anything yet",
        };
        Err((what.to_owned(), CARBON_HINT.to_owned()))
    }

    /// GET without a body, POST with one: status and text of the answer.
    fn ask(
        &self,
        path: &str,
        body: Option<&[u8]>,
        headers: &[(&'static str, String)],
    ) -> Result<(u16, String), Failed> {
        let url = format!("{}{path}", self.settings.relay_url);
        let sent = self.host.send(&Request {
            body,
            url: &url,
            headers,
            timeout: TIMEOUT,
        });
        let response = sent.map_err(|error| {
            let url = self.settings.relay_url.clone();
            failed(&RelayError::Unreachable { url, error })
        })?;
        let until = later(self.host.now(), TIMEOUT);
        let body = DeadlineReader::new(response.body, self.host, until, &|| {});
        Ok((response.status, read_text(body)))
    }
}

fn failed(error: &RelayError) -> Failed {
    (error.to_string(), error.hint().advice.into_owned())
}
