//! The HTTP interface of the component. The host program's commands use it, too.
//!
//! | request | does | answers |
//! |---|---|---|
//! | `GET\|POST /collect` | one run | its report; 502 if nothing was delivered, 409 if another run is under way |
//! | `GET\|POST /collect?dry_run=1` | the regular calls of a run, and no more: nothing is sent to the relay, no coverage changes | the lines, and `# ` and the report as the last line |
//! | `GET /status` | nothing | the report of the last run, 404 before the first |
//! | `GET /check` | nothing | what the configuration means, 400 if it cannot work; with `online=1` tries the token, one call, the relay and carbon, 502 if one of them fails; with `format=json` as JSON: `ok`, `facts` (what the host must agree with), `text`, `learned` (limits in force), `online` (a list of steps) |
//! | `GET /tests` | nothing | the tests that Catchpoint lists: those that the key `tests` asks for, else all; with `format=json` as JSON; 409 if a run is under way, 502 if there is no list |
//! | `POST /backfill?from=…&to=…` | requests a past time range: the runs fill it when they have calls left. The same request again changes nothing while it is under way. With `calls=N` it makes up to N of its calls at once | [`Backfill`](backfill::Backfill); 409 if a run is under way, 502 if nothing could be filled |
//! | `GET /backfill` | nothing | `{"backfills": […]}`, a [`Progress`](run::report::Progress) for each request |
//! | `DELETE /backfill?from=…&to=…` | cancels what is requested in the range; without `from` and `to`, all of it | as `GET`, 409 if a run is under way |
//!
//! | `POST /webhook` | takes a result that Catchpoint pushes | [`Received`](webhook::Received), when its lines are on the relay's disk; 400 and the reason if the body can never be used, 413 if it is larger than 1 MiB, 503 if the relay does not take it or the configuration is wrong, so that the node posts it again |
//!
//! A report has an `outcome`: `ok`, `partial` (200 as well), `failed` or `skipped`. A wrong
//! configuration or a wrong parameter is a 400 with a text; `/check?format=json` has it in `text`, with `ok`
//! alone beside it.
//!
//! `/webhook` needs the `webhook_token`, as a bearer or in the header `X-Webhook-Token`. It is never
//! taken from the address, which logs show. The others need the `collect_token`, as a bearer or,
//! because scheduled GETs often cannot set headers, as `?key=`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::catchpoint::Poll;
use crate::config::secret::Secret;
use crate::config::{self, Settings};
use crate::host::{Host, Level};
use crate::run::report::{Outcome, Report};
use crate::run::{backfill, discovery};
use crate::time_range::{self, TimeRange};
use crate::webhook::{self, MOST_BODY, Refused};
use crate::{check, online_check, run};

/// A request, as far as it matters here. It has no `Debug`, because it holds credentials.
#[derive(Clone, Copy, Default)]
pub struct Call<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, and the query behind it if there is one.
    pub path_and_query: &'a str,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `X-Webhook-Token` header.
    pub webhook_token: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
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

/// What a path does with the host and the query.
type Handler = fn(&dyn Host, &str) -> Result<Answer, Answer>;

fn handler(method: &str, path: &str) -> Option<Handler> {
    Some(match (method, path) {
        ("GET" | "POST", "/collect") => collect,
        ("GET", "/status") => status,
        ("GET", "/check") => check,
        ("GET", "/tests") => tests,
        ("POST", "/backfill") => request_backfill,
        ("GET", "/backfill") => backfills,
        ("DELETE", "/backfill") => cancel_backfill,
        _ => return None,
    })
}

/// Serves one call that has the token of its path.
pub fn serve(host: &dyn Host, call: &Call<'_>) -> Answer {
    let (path, query) = split(call.path_and_query);
    if (call.method, path) == ("POST", "/webhook") {
        return receive(host, call).unwrap_or_else(|refused| refused);
    }
    let authorized = match handler(call.method, path) {
        Some(_) => {
            let key = value(query, "key");
            let given = bearer(call).or(key.as_deref());
            authorize(host, "collect_token", given, "as `?key=…`")
        }
        None => Ok(()),
    };
    match authorized {
        Ok(()) => serve_trusted(host, call.method, call.path_and_query),
        Err(refused) => refused,
    }
}

/// Serves a call of the program that runs the component, which needs no token.
pub fn serve_trusted(host: &dyn Host, method: &str, path_and_query: &str) -> Answer {
    let (path, query) = split(path_and_query);
    let Some(handler) = handler(method, path) else {
        let paths = "not found; there are GET|POST /collect, GET|POST|DELETE /backfill, GET /status, GET /check, GET /tests and POST /webhook\n";
        return text(404, paths);
    };
    handler(host, query).unwrap_or_else(|refused| refused)
}

fn split(path_and_query: &str) -> (&str, &str) {
    path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""))
}

fn settings(host: &dyn Host) -> Result<Settings, Answer> {
    let settings = Settings::load(host).map_err(|problems| text(400, format!("{problems}\n")))?;
    Ok(discovery::with_found(host, settings))
}

fn collect(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    let settings = settings(host)?;
    if is_set(query, "dry_run") {
        let (report, lines) = run::collect_dry(host, &settings);
        return Ok(of_run(&report, text(200, format!("{lines}# {report}\n"))));
    }
    let report = run::collect(host, &settings);
    Ok(of_run(&report, json(200, &report)))
}

fn status(host: &dyn Host, _: &str) -> Result<Answer, Answer> {
    let report = run::last_report(host);
    let none = || text(404, "no run yet; POST /collect starts one\n");
    Ok(as_json(200, report.ok_or_else(none)?))
}

/// What `GET /check?format=json` answers with.
#[derive(Serialize)]
struct Checked {
    ok: bool,
    facts: check::Facts,
    text: String,
    learned: Vec<String>,
    online: Option<Vec<online_check::Step>>,
}

fn check(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    let wanted = |answer: Answer| match wants_json(query) {
        true => json(
            answer.status,
            &serde_json::json!({ "ok": false, "text": answer.body }),
        ),
        false => answer,
    };
    let settings = settings(host).map_err(wanted)?;
    // What the host lets through to Catchpoint, if it tells.
    let allowed = host.variable("catchpoint_host").ok().flatten();
    let announced = run::announce(host, &settings);
    let words = check::check(&settings, announced, allowed.as_deref());
    let can_work = words.is_ok();
    let mut words = words.unwrap_or_else(|words| words);
    if settings.catchpoint.poll == Poll::Gaps && !webhook::is_open(host) {
        let token = config::variable("webhook_token");
        words += &format!(
            "warning      poll: gaps needs push, but {token} is not set: results come 4 hours late\n"
        );
    }
    let online = is_set(query, "online") && can_work;
    let steps = online.then(|| online_check::online_check(host, &settings));
    let works = steps.iter().flatten().all(|step| step.ok);
    let status = match (can_work, works) {
        (false, _) => 400,
        (true, false) => 502,
        (true, true) => 200,
    };
    let learned = run::learned_limits(host);
    if wants_json(query) {
        let answer = Checked {
            ok: status == 200,
            facts: check::facts(&settings),
            text: words,
            learned,
            online: steps,
        };
        return Ok(json(status, &answer));
    }
    for line in learned {
        words += &format!("learned      {line}\n");
    }
    for step in steps.iter().flatten() {
        words += &format!("{step}\n");
    }
    Ok(text(status, words))
}

fn tests(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    // Who looks for ids has none yet.
    let settings = Settings::load_for(host, false);
    let settings = settings.map_err(|problems| text(400, format!("{problems}\n")))?;
    let tests = discovery::list(host, &settings);
    let tests = tests.map_err(|(status, words)| text(status, words + "\n"))?;
    if wants_json(query) {
        let tests = tests.iter().map(|test| {
            let (id, name, folder) = (test.id, &test.name, test.folder);
            serde_json::json!({ "id": id, "type": test.test_type, "name": name, "folder": folder })
        });
        let tests: serde_json::Value = tests.collect();
        return Ok(json(200, &serde_json::json!({ "tests": tests })));
    }
    let mut lines = format!("{:>10}  {:<12}  {:>8}  name\n", "id", "type", "folder");
    for test in tests {
        let folder = test
            .folder
            .map_or("-".to_owned(), |folder| folder.to_string());
        let (id, test_type, name) = (test.id, test.test_type, test.name);
        lines += &format!("{id:>10}  {test_type:<12}  {folder:>8}  {name}\n");
    }
    Ok(text(200, lines))
}

fn request_backfill(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    let range = range(host, query)?;
    let calls = value(query, "calls").map_or(Ok(0), |calls| calls.parse());
    let calls = calls.map_err(|_| text(400, "`calls` must be a whole number\n"))?;
    let backfill = backfill::backfill(host, &settings(host)?, range, calls);
    Ok(of_run(&backfill.report, json(200, &backfill)))
}

fn backfills(host: &dyn Host, _: &str) -> Result<Answer, Answer> {
    let backfills = backfill::progress(host, &settings(host)?);
    Ok(json(200, &BTreeMap::from([("backfills", backfills)])))
}

fn cancel_backfill(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    let all = value(query, "from").is_none() && value(query, "to").is_none();
    let range = if all {
        TimeRange::ALL
    } else {
        range(host, query)?
    };
    let left = backfill::cancel(host, &settings(host)?, range);
    let left = left.map_err(|skipped| text(409, skipped.notes.join("\n") + "\n"))?;
    Ok(json(200, &BTreeMap::from([("backfills", left)])))
}

/// A result that Catchpoint pushes. Whatever a later post of the same body may change is a 503; all
/// else has the node post the body again, too, but in vain.
fn receive(host: &dyn Host, call: &Call<'_>) -> Result<Answer, Answer> {
    // A proxy may need the other header for itself.
    let given = call.webhook_token.or(bearer(call));
    authorize(host, "webhook_token", given, "as `X-Webhook-Token: …`")?;
    if call.body.len() > MOST_BODY {
        return Err(text(413, "the body is larger than 1 MiB\n"));
    }
    let settings = Settings::load(host).map_err(|problems| {
        let line = format!("webhook: the configuration is wrong\n{problems}");
        host.log(Level::Error, &line);
        text(503, "the configuration is wrong; the log says how\n")
    })?;
    let received = webhook::receive(host, &settings, call.body);
    let received = received.map_err(|refused| {
        let status = match refused {
            Refused::Unusable(_) => 400,
            Refused::Relay(_) => 503,
        };
        text(status, format!("{refused}\n"))
    })?;
    Ok(json(200, &received))
}

/// The range between `from` and `to`.
fn range(host: &dyn Host, query: &str) -> Result<TimeRange, Answer> {
    // The `+` of a time zone that was not escaped has become a space.
    let time = |name| value(query, name).map(|time| time.trim().replace(' ', "+"));
    time_range::parse_range(time("from").as_deref(), time("to").as_deref(), host.now())
        .map_err(|words| text(400, format!("{words}\n")))
}

/// The answer of a run: how it ended is in the status, too.
fn of_run(report: &Report, answer: Answer) -> Answer {
    Answer {
        status: match report.outcome {
            Outcome::Ok | Outcome::Partial => 200,
            Outcome::Failed => 502,
            Outcome::Skipped => 409,
        },
        exit_code: report.outcome.exit_code(),
        ..answer
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

fn wants_json(query: &str) -> bool {
    value(query, "format").is_some_and(|format| format == "json")
}

/// A bearer in the `Authorization` header.
fn bearer<'c>(call: &Call<'c>) -> Option<&'c str> {
    let (scheme, token) = call.authorization?.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| token.trim())
}

/// Lets nobody in without the token of a variable, and nobody at all while it is not set.
fn authorize(
    host: &dyn Host,
    variable: &str,
    given: Option<&str>,
    way: &str,
) -> Result<(), Answer> {
    let token = host.variable(variable).map_err(|error| {
        let words = format!("variable {variable}: cannot be read: {error}\n");
        text(500, words)
    })?;
    let Some(token) = token.as_deref().and_then(Secret::new) else {
        let closed = format!(
            "closed: set {} to open this path\n",
            config::variable(variable)
        );
        return Err(text(403, closed));
    };
    match given {
        Some(given) if token.matches(given.trim()) => Ok(()),
        _ => Err(text(
            401,
            format!(
                "wrong or no token: send the {variable} as `Authorization: Bearer …` or {way}\n"
            ),
        )),
    }
}

fn json(status: u16, value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => as_json(status, body),
        Err(error) => text(
            500,
            format!("the answer cannot be written as JSON: {error}\n"),
        ),
    }
}

fn as_json(status: u16, body: String) -> Answer {
    Answer {
        content_type: "application/json",
        ..text(status, body)
    }
}

fn text(status: u16, body: impl Into<String>) -> Answer {
    Answer {
        status,
        content_type: "text/plain; charset=utf-8",
        body: body.into(),
        exit_code: match status {
            200..300 => 0,
            400 => 64,
            _ => 1,
        },
    }
}
