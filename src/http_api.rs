//! The HTTP interface of the component. The host program's commands use it, too.
//!
//! | request | does | answers |
//! |---|---|---|
//! | `GET\|POST /collect` | one run | its report; 502 if nothing was delivered, 409 if another run is under way |
//! | `GET\|POST /collect?dry_run=1` | the regular calls of a run, and no more: nothing is sent to the relay, no coverage changes | the lines, and `# ` and the report as the last line |
//! | `GET /status` | nothing | the report of the last run, 404 before the first |
//! | `GET /check` | nothing | what the configuration means, 400 if it cannot work; with `online=1` tries the token, one call, the relay and carbon, 502 if one of them fails; with `format=json` as JSON |
//! | `POST /backfill?from=…&to=…` | requests a past time range: the runs fill it when they have calls left. The same request again changes nothing while it is under way. With `calls=N` it makes up to N of its calls at once | [`Backfill`]; 409 if a run is under way, 502 if nothing could be filled |
//! | `GET /backfill` | nothing | `{"backfills": […]}`, a [`Progress`] for each request |
//! | `DELETE /backfill?from=…&to=…` | cancels what is requested in the range; without `from` and `to`, all of it | as `GET`, 409 if a run is under way |
//!
//! A report has an `outcome`: `ok`, `partial` (200 as well), `failed` or `skipped`. A wrong
//! configuration or a wrong parameter is a 400 with a text.
//!
//! All of them need the `collect_token`, as a bearer or, because scheduled GETs often cannot set
//! headers, as `?key=`.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::Settings;
use crate::config::secret::Secret;
use crate::host::Host;
use crate::run::report::{Outcome, Progress, Report};
use crate::time_range::{self, TimeRange};
use crate::{check, online_check, run};

/// A request, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, and the query behind it if there is one.
    pub path_and_query: &'a str,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `application/json` or `text/plain`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// The exit code of a command that asks for the same: 0 all good, 2 some tests failed, 1 nothing
    /// was delivered, 64 wrong usage or configuration.
    pub exit_code: u8,
}

/// What `POST /backfill` answers with.
///
/// To fill a range at once, repeat the request with `calls=1`: at `continue_at`, until `finished`.
/// Without `continue_at` something failed, which `report` tells; it may succeed when it is asked for
/// again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backfill {
    /// How far it is: `from`, `to`, `done_until`, `total`, `done`, `finished`. `total` and `done` are
    /// seconds of a test: an hour of three tests is 10800.
    #[serde(flatten)]
    pub progress: Progress,
    /// When to ask again; none if it is finished, or if something failed.
    pub continue_at: Option<DateTime<Utc>>,
    /// What it waits for: `run`, or the calls of the `minute`, `hour` or `day`.
    pub waits_for: Option<&'static str>,
    /// What the calls of this request did.
    pub report: Report,
}

/// Serves one call that has the `collect_token`.
pub fn serve(host: &dyn Host, call: &Call<'_>) -> Answer {
    let (path, query) = split(call.path_and_query);
    if !is_known(call.method, path) {
        return not_found();
    }
    match authorize(host, call, query) {
        Ok(()) => serve_trusted(host, call.method, call.path_and_query),
        Err(refused) => refused,
    }
}

/// Serves a call of the program that runs the component, which needs no token.
pub fn serve_trusted(host: &dyn Host, method: &str, path_and_query: &str) -> Answer {
    let (path, query) = split(path_and_query);
    let answer = match (method, path) {
        ("GET" | "POST", "/collect") => collect(host, query),
        ("GET", "/status") => status(host),
        ("GET", "/check") => check(host, query),
        ("POST", "/backfill") => request_backfill(host, query),
        ("GET", "/backfill") => backfills(host),
        ("DELETE", "/backfill") => cancel_backfill(host, query),
        _ => Err(not_found()),
    };
    answer.unwrap_or_else(|refused| refused)
}

fn split(path_and_query: &str) -> (&str, &str) {
    path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""))
}

fn is_known(method: &str, path: &str) -> bool {
    matches!(
        (method, path),
        ("GET" | "POST", "/collect")
            | ("GET", "/status" | "/check")
            | ("GET" | "POST" | "DELETE", "/backfill")
    )
}

fn not_found() -> Answer {
    let paths = "not found; there are GET|POST /collect, GET|POST|DELETE /backfill, GET /status and GET /check\n";
    text(404, paths.to_owned())
}

fn settings(host: &dyn Host) -> Result<Settings, Answer> {
    Settings::load(host).map_err(|problems| text(400, format!("{problems}\n")))
}

fn collect(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    let settings = settings(host)?;
    if is_set(query, "dry_run") {
        let (report, lines) = run::collect_dry(host, &settings);
        let body = format!("{lines}# {report}\n");
        return Ok(Answer {
            exit_code: report.outcome.exit_code(),
            ..text(status_of(report.outcome), body)
        });
    }
    let report = run::collect(host, &settings);
    Ok(of_run(&report, &report))
}

fn status(host: &dyn Host) -> Result<Answer, Answer> {
    let report = run::last_report(host);
    report
        .map(|body| answer_json(200, body))
        .ok_or_else(|| text(404, "no run yet; POST /collect starts one\n".to_owned()))
}

fn check(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    let settings = settings(host)?;
    // What the host lets through to Catchpoint, if it tells.
    let allowed = host.variable("catchpoint_host").ok().flatten();
    let words = check::check(&settings, allowed.as_deref());
    let as_json = value(query, "format").is_some_and(|format| format == "json");
    let online = is_set(query, "online") && words.is_ok();
    let steps = online.then(|| online_check::online_check(host, &settings));
    let works = steps.iter().flatten().all(|step| step.ok);
    let status = match (&words, works) {
        (Err(_), _) => 400,
        (Ok(_), false) => 502,
        (Ok(_), true) => 200,
    };
    let ok = words.is_ok();
    let mut words = words.unwrap_or_else(|words| words);
    if as_json {
        let answer = serde_json::json!({ "ok": ok && works, "text": words, "online": steps });
        return Ok(Answer { exit_code: text(status, String::new()).exit_code, ..json(status, &answer) });
    }
    words += &online_check::text(&steps.unwrap_or_default());
    Ok(text(status, words))
}

fn request_backfill(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    let range = range(host, query).map_err(|words| text(400, format!("{words}\n")))?;
    let calls = value(query, "calls").map_or(Ok(0), |calls| calls.parse::<u32>());
    let calls = calls.map_err(|_| text(400, "`calls` must be a whole number\n".to_owned()))?;
    let backfill = run::backfill(host, &settings(host)?, range, calls);
    Ok(of_run(&backfill.report, &backfill))
}

fn backfills(host: &dyn Host) -> Result<Answer, Answer> {
    let backfills = run::requests::progress(host, &settings(host)?);
    Ok(json(200, &serde_json::json!({ "backfills": backfills })))
}

fn cancel_backfill(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    let all = value(query, "from").is_none() && value(query, "to").is_none();
    let range = if all {
        TimeRange { from: i64::MIN, to: i64::MAX }
    } else {
        range(host, query).map_err(|words| text(400, format!("{words}\n")))?
    };
    let left = run::requests::cancel(host, &settings(host)?, range);
    let left = left.map_err(|until| {
        let until = until.format("%H:%M:%S UTC");
        text(409, format!("another run is under way, until {until} at the latest; try again\n"))
    })?;
    Ok(json(200, &serde_json::json!({ "backfills": left })))
}

/// The range between `from` and `to`.
fn range(host: &dyn Host, query: &str) -> Result<TimeRange, String> {
    // The `+` of a time zone that was not escaped has become a space.
    let time = |name| value(query, name).map(|time| time.trim().replace(' ', "+"));
    time_range::parse_range(time("from").as_deref(), time("to").as_deref(), host.now())
}

fn of_run(report: &Report, value: &impl Serialize) -> Answer {
    Answer {
        exit_code: report.outcome.exit_code(),
        ..json(status_of(report.outcome), value)
    }
}

fn status_of(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Ok | Outcome::Partial => 200,
        Outcome::Failed => 502,
        Outcome::Skipped => 409,
    }
}

/// A value of a query string.
fn value(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn is_set(query: &str, name: &str) -> bool {
    value(query, name).is_some_and(|value| !matches!(value.as_str(), "0" | "false"))
}

/// Lets nobody in without the token, and nobody at all while none is set.
fn authorize(host: &dyn Host, call: &Call<'_>, query: &str) -> Result<(), Answer> {
    let token = host.variable("collect_token").map_err(|error| {
        text(500, format!("variable collect_token: cannot be read: {error}\n"))
    })?;
    let Some(token) = token.as_deref().and_then(Secret::new) else {
        let closed = "closed: set the variable collect_token to open this path\n";
        return Err(text(403, closed.to_owned()));
    };
    let bearer = call.authorization.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        is_bearer.then(|| token.trim().to_owned())
    });
    match bearer.or_else(|| value(query, "key")) {
        Some(given) if token.matches(&given) => Ok(()),
        _ => Err(text(
            401,
            "wrong or no token: send the collect_token as `Authorization: Bearer …` or as `?key=…`\n".to_owned(),
        )),
    }
}

fn json(status: u16, value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => answer_json(status, body),
        Err(error) => text(500, format!("the answer cannot be written as JSON: {error}\n")),
    }
}

fn answer_json(status: u16, body: String) -> Answer {
    Answer {
        content_type: "application/json",
        ..text(status, body)
    }
}

fn text(status: u16, body: String) -> Answer {
    Answer {
        status,
        content_type: "text/plain; charset=utf-8",
        body,
        exit_code: match status {
            200..300 => 0,
            400..500 => 64,
            _ => 1,
        },
    }
}
