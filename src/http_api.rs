//! The HTTP interface of the component: start a run, ask for the last one, fill what lies back.

use chrono::TimeDelta;

use crate::config::Settings;
use crate::config::secret::Secret;
use crate::host::Host;
use crate::run::backfill;
use crate::run::report::Outcome;
use crate::time_range;
use crate::{check, run};

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
}

/// Serves one call.
///
/// - `GET|POST /collect` runs a collection and answers with its report: 200, 502 if something
///   failed, 409 if another run is under way, 400 with a text if the configuration is wrong
/// - `POST /backfill?from=…&to=…` does a piece of a backfill and answers with how far it is: 200, 502
///   if something failed, 409 if a run is under way, 400 with a text if a time or the configuration
///   is wrong; with `&seconds=…` it ends about so soon
/// - `GET /status` answers with the last report
/// - `GET /check` answers with what the configuration means, or 400
///
/// All of them need the `collect_token`, as a bearer or, because scheduled GETs often cannot set
/// headers, as `?key=`.
pub fn serve(host: &dyn Host, call: &Call<'_>) -> Answer {
    answer(host, call).unwrap_or_else(|refused| refused)
}

fn answer(host: &dyn Host, call: &Call<'_>) -> Result<Answer, Answer> {
    let (path, query) = call
        .path_and_query
        .split_once('?')
        .unwrap_or((call.path_and_query, ""));
    let known = matches!(
        (call.method, path),
        ("GET" | "POST", "/collect") | ("POST", "/backfill") | ("GET", "/status" | "/check")
    );
    if !known {
        return Err(text(
            404,
            "not found; there are GET|POST /collect, POST /backfill, GET /status and GET /check\n"
                .to_owned(),
        ));
    }
    authorize(host, call, query)?;
    match path {
        "/collect" => collect(host),
        "/backfill" => backfill(host, query),
        "/status" => match run::last_report(host) {
            Some(body) => Ok(answer_json(200, body)),
            None => Err(text(
                404,
                "no run yet; POST /collect starts one\n".to_owned(),
            )),
        },
        _ => match check::check(&settings(host)?, allowed(host).as_deref()) {
            Ok(words) => Ok(text(200, words)),
            Err(words) => Err(text(400, words)),
        },
    }
}

fn settings(host: &dyn Host) -> Result<Settings, Answer> {
    Settings::load(host).map_err(|problems| text(400, format!("{problems}\n")))
}

/// What the host lets through to Catchpoint, if it tells.
fn allowed(host: &dyn Host) -> Option<String> {
    host.variable("catchpoint_host").ok().flatten()
}

fn collect(host: &dyn Host) -> Result<Answer, Answer> {
    let report = run::collect(host, &settings(host)?);
    Ok(json(status(report.outcome), &report))
}

fn backfill(host: &dyn Host, query: &str) -> Result<Answer, Answer> {
    let settings = settings(host)?;
    // The `+` of a time zone that was not escaped has become a space.
    let time = |name| value(query, name).map(|time| time.trim().replace(' ', "+"));
    let span = time_range::span(time("from").as_deref(), time("to").as_deref(), host.now());
    let seconds = value(query, "seconds").map(|text| text.parse::<u32>());
    match (span, seconds.transpose()) {
        (Ok(span), Ok(seconds)) => {
            let at_most = seconds.map(|seconds| TimeDelta::seconds(seconds.into()));
            let piece = backfill::fill(host, &settings, span, at_most);
            Ok(json(status(piece.report.outcome), &piece))
        }
        (Err(words), _) => Err(text(400, format!("{words}\n"))),
        (_, Err(_)) => Err(text(400, "`seconds` must be a whole number\n".to_owned())),
    }
}

fn status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Ok => 200,
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

/// Lets nobody in without the token, and nobody at all while none is set.
fn authorize(host: &dyn Host, call: &Call<'_>, query: &str) -> Result<(), Answer> {
    let token = host.variable("collect_token").map_err(|error| {
        text(
            500,
            format!("variable collect_token: cannot be read: {error}\n"),
        )
    })?;
    let Some(token) = token.as_deref().and_then(Secret::new) else {
        let closed = "closed: set the variable collect_token to open this path\n";
        return Err(text(403, closed.to_owned()));
    };
    let bearer = call.authorization.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned())
    });
    match bearer.or_else(|| value(query, "key")) {
        Some(given) if token.matches(&given) => Ok(()),
        _ => Err(text(
            401,
            "wrong or no token: send the collect_token as `Authorization: Bearer …` or as `?key=…`\n".to_owned(),
        )),
    }
}

fn json(status: u16, value: &impl serde::Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => answer_json(status, body),
        Err(error) => text(
            500,
            format!("the report cannot be written as JSON: {error}\n"),
        ),
    }
}

fn answer_json(status: u16, body: String) -> Answer {
    Answer {
        status,
        content_type: "application/json",
        body,
    }
}

fn text(status: u16, body: String) -> Answer {
    Answer {
        status,
        content_type: "text/plain; charset=utf-8",
        body,
    }
}
