//! `check`: what the component says of the configuration, and what the manifest adds to it.

use crate::USAGE;
use crate::api::{self, Facts};
use crate::run::{print, refuse};
use catchpoint_graphite_host::app::App;
use chrono::{TimeDelta, Utc};
use http::StatusCode;
use std::process::ExitCode;

/// Prints what the configuration means, or what is wrong with it.
pub async fn check(app: &App, online: bool, json: bool) -> anyhow::Result<ExitCode> {
    let answer = api::check(app, online, json).await?;
    if answer.status == StatusCode::BAD_REQUEST && !json {
        return Ok(refuse(&answer.body));
    }
    print(&answer.body)?;
    if answer.status == StatusCode::BAD_REQUEST {
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

/// All that keeps the configuration from working; none if it is right.
pub async fn problems(app: &App) -> anyhow::Result<Vec<String>> {
    let words = api::check(app, false, false).await?;
    match words.status {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST => return Ok(vec![words.body]),
        _ => return Err(words.unexpected()),
    }
    let facts = api::facts(app).await?;
    Ok(contradictions(app, &facts))
}

/// Where the manifest or a flag says something else than the configuration.
fn contradictions(app: &App, facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let manifest = app.manifest();
    let path = manifest.path.display();
    let every = facts.run_every_minutes.map(|minutes| minutes * 60);
    if let (Some(schedule), Some(every)) = (&manifest.cron, every) {
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
    if let Some(catchpoint) = &facts.catchpoint
        && !app.allows(catchpoint)
    {
        found.push(format!(
            "{path}: allowed_outbound_hosts has no {catchpoint}, which config_catchpoint.yaml names: \
             set SPIN_VARIABLE_CATCHPOINT_HOST={catchpoint}"
        ));
    }
    let deadline = app.limits().deadline.as_secs();
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
