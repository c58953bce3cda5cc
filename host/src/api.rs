//! All that is asked of the component: requests to its HTTP handler, without a socket.
//!
//! The component opens its paths only to whoever knows `collect_token`; each request here is for one
//! instance, which gets a random one.

use anyhow::{Context, bail};
use bytes::Bytes;
use catchpoint_graphite_host::app::App;
use chrono::{DateTime, Utc};
use http::{Method, Request, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The variable whose value opens the component's paths.
pub const TOKEN_VARIABLE: &str = "collect_token";

/// An answer of the component.
pub struct Answer {
    /// 200, 400 if the configuration is wrong, 409 if another run is under way, 502 if something failed.
    pub status: StatusCode,
    /// JSON or text.
    pub body: String,
}

/// `GET /check?format=json`.
#[derive(Debug, Deserialize)]
pub struct Check {
    /// What the configuration means, or what is wrong with it.
    #[serde(default)]
    pub text: String,
    #[serde(default)]
    pub facts: Facts,
}

/// What the manifest can be compared with. What the component does not tell is not checked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Facts {
    pub run_every_minutes: Option<u64>,
    pub run_deadline_seconds: Option<u64>,
}

/// A part of a run report.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    /// `ok`, `partial`, `failed`, `skipped`.
    pub outcome: String,
    pub started: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    pub samples: u64,
    pub lines_accepted: u64,
    pub lines_rejected: u64,
    pub failures: Vec<Failure>,
    pub notes: Vec<String>,
}

/// One thing that went wrong.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Failure {
    pub what: String,
    pub tests: Vec<u64>,
    pub cause: String,
    pub hint: String,
}

/// How far a backfill is. `total` and `done` are seconds of a test.
#[derive(Debug, Deserialize)]
pub struct Piece {
    pub done_until: Option<DateTime<Utc>>,
    pub total: u64,
    pub done: u64,
    pub finished: bool,
    /// When to ask again; none if it is finished, or if something failed.
    pub continue_at: Option<DateTime<Utc>>,
    /// `run`, `minute`, `hour` or `day`.
    pub waits_for: Option<String>,
    pub report: Report,
}

impl Piece {
    /// Whether it waits for the calls of the next hour or day.
    pub fn waits_for_limit(&self) -> bool {
        matches!(self.waits_for.as_deref(), Some("hour" | "day"))
    }

    /// What happens until the next request.
    pub fn note(&self) -> String {
        let time = match self.continue_at {
            Some(time) if !self.finished => time.format("%H:%M:%S UTC"),
            _ => return String::new(),
        };
        match self.waits_for.as_deref() {
            Some("run") => format!("a regular run goes first, continues at {time}"),
            Some(limit) => format!("no calls left in this {limit}, continues at {time}"),
            None => String::new(),
        }
    }
}

impl Failure {
    /// In one line.
    pub fn words(&self) -> String {
        let tests: Vec<String> = self.tests.iter().map(u64::to_string).collect();
        let of = if tests.is_empty() { "" } else { " of tests " };
        let tests = tests.join(",");
        format!("{}{of}{tests}: {}; {}", self.what, self.cause, self.hint)
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.body).context("the component's answer cannot be read")
    }

    /// The error of an answer that is not expected here.
    pub fn unexpected(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "the component answered {}: {}",
            self.status,
            self.body.trim()
        )
    }
}

/// The report of the last run, if there is one.
pub async fn last_report(app: &App) -> anyhow::Result<Option<Report>> {
    let answer = ask(app, Method::GET, "/status").await?;
    match answer.status {
        StatusCode::OK => answer.json().map(Some),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(answer.unexpected()),
    }
}

/// Asks the component, which this opens for the one request.
pub async fn ask(app: &App, method: Method, path: &str) -> anyhow::Result<Answer> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut variables = app.manifest().variables.clone();
    if !variables.set(TOKEN_VARIABLE, &token) {
        bail!("the manifest declares no variable `{TOKEN_VARIABLE}`, which opens {path}");
    }
    let request = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Bytes::new())?;
    let (head, body) = app.http(variables, request).await?.into_parts();
    Ok(Answer {
        status: head.status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
