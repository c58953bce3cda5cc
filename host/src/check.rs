//! `check`: what the component says of the configuration, and what the manifest adds to it. `tests`:
//! which tests Catchpoint has.

use crate::api::{self, Facts, ask};
use crate::terminal::{USAGE, print, refuse, say};
use catchpoint_graphite_host::app::App;
use chrono::{TimeDelta, Utc};
use http::{Method, StatusCode};
use std::process::ExitCode;

/// Prints what the configuration means, or what is wrong with it.
pub async fn check(app: &App, online: bool, json: bool) -> anyhow::Result<ExitCode> {
    let path = match (online, json) {
        (false, false) => "/check",
        (false, true) => "/check?format=json",
        (true, false) => "/check?online=1",
        (true, true) => "/check?online=1&format=json",
    };
    let answer = ask(app, Method::GET, path).await?;
    let is_wrong = answer.status == StatusCode::BAD_REQUEST;
    if is_wrong && !json {
        return Ok(refuse(&answer.body));
    }
    print(&answer.body)?;
    if is_wrong {
        return Ok(ExitCode::from(USAGE));
    }
    let problems = problems(app).await?;
    if !problems.is_empty() {
        return Ok(refuse(&problems.join("\n")));
    }
    Ok(match answer.status {
        StatusCode::OK => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Prints the tests that Catchpoint lists, or why there is no list.
pub async fn tests(app: &App, json: bool) -> anyhow::Result<ExitCode> {
    let path = match json {
        false => "/tests",
        true => "/tests?format=json",
    };
    let answer = ask(app, Method::GET, path).await?;
    match answer.status {
        StatusCode::OK => print(&answer.body).map(|()| ExitCode::SUCCESS),
        StatusCode::BAD_REQUEST => Ok(refuse(&answer.body)),
        // It says why in words.
        _ => {
            say(&answer.body);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// All that keeps the configuration from working; none if it is right.
pub async fn problems(app: &App) -> anyhow::Result<Vec<String>> {
    let answer = ask(app, Method::GET, "/check?format=json").await?;
    // Another version of the component may answer in words alone.
    let check = answer.json().unwrap_or_else(|_| api::Check {
        text: answer.body.clone(),
        facts: Facts::default(),
    });
    match answer.status {
        StatusCode::OK => Ok(contradictions(app, &check.facts)),
        StatusCode::BAD_REQUEST => Ok(vec![check.text]),
        _ => Err(answer.unexpected()),
    }
}

/// Where the manifest or a flag says something else than the configuration.
fn contradictions(app: &App, facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let manifest = app.manifest();
    let path = manifest.path.display();
    let every = facts.run_every_minutes.map(|minutes| minutes * 60);
    if let (Some(cron), Some(every)) = (&manifest.trigger.cron, every) {
        let schedule = &cron.schedule;
        let interval = schedule
            .shortest_interval(Utc::now())
            .map_or(0, |interval: TimeDelta| interval.num_seconds());
        if u64::try_from(interval) != Ok(every) {
            found.push(format!(
                "{path}: cron_expression = \"{}\" fires every {}, but run_every_minutes in \
                 config_catchpoint.yaml is {}: make them equal",
                schedule.expression(),
                minutes(interval),
                every / 60,
            ));
        }
    }
    let deadline = app.options().deadline;
    if let Some(seconds) = facts.run_deadline_seconds
        && seconds >= deadline
    {
        found.push(format!(
            "run_deadline_seconds is {seconds}, but a run is stopped after {deadline} s: lower it, or \
             raise --deadline"
        ));
    }
    found
}

fn minutes(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (minutes, 0) => format!("{minutes} min"),
        _ => format!("{seconds} s"),
    }
}
