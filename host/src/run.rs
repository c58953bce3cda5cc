//! `run`: one collection, now.

use crate::api::{Report, ask};
use crate::cli::Common;
use crate::report;
use crate::signals::Signals;
use crate::terminal::{Progress, print, refuse, say};
use catchpoint_graphite_host::app::App;
use http::{Method, StatusCode};
use std::process::ExitCode;
use std::time::Duration;

/// A part of the data was delivered.
const PARTIAL: u8 = 2;

/// Collects once and prints the report, or with `dry_run` the lines.
pub async fn run(app: App, common: &Common, json: bool, dry_run: bool) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new(common.grace)?;
    let progress = Progress::new(common);
    let path = match dry_run {
        true => "/collect?dry_run=1",
        false => "/collect",
    };
    let asked = async {
        let answer = ask(&app, Method::POST, path);
        tokio::pin!(answer);
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                _ = second.tick() => progress.note(app.figures().words()),
            }
        }
    };
    let answer = signals.stoppable(&app, asked).await;
    drop(progress);
    let memory = app.figures().peak_memory >> 20;
    tracing::debug!("most linear memory: {memory} MiB");
    let Some(answer) = answer? else {
        let figures = app.figures();
        say(&format!(
            "stopped after {}; the next run continues",
            figures.words()
        ));
        return Ok(ExitCode::from(if figures.posts > 0 { PARTIAL } else { 1 }));
    };
    if answer.status == StatusCode::BAD_REQUEST {
        return Ok(refuse(&answer.body));
    }
    let outcome = answer.json::<Report>().unwrap_or_default().outcome;
    let code = match (outcome.as_str(), answer.status) {
        ("ok", _) => 0,
        ("skipped", _) => {
            say("another run is active; this one did nothing");
            0
        }
        ("partial", _) => PARTIAL,
        ("failed", _) => 1,
        // The lines of a dry run.
        (_, StatusCode::OK) => 0,
        _ => return Err(answer.unexpected()),
    };
    if json || dry_run {
        print(&answer.body)?;
    } else if code != 0 || !common.quiet {
        print(&report::human(&answer.body))?;
    }
    Ok(ExitCode::from(code))
}
