//! `run`: one collection, now.

use crate::api::{Answer, Report, ask};
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
        return Ok(ExitCode::from(if figures.taken > 0 { PARTIAL } else { 1 }));
    };
    if answer.status == StatusCode::BAD_REQUEST {
        return Ok(refuse(&answer.body));
    }
    if dry_run {
        return print_lines(&answer);
    }
    let Report { outcome, notes, .. } = answer.json().unwrap_or_default();
    let code = match outcome.as_str() {
        "ok" => 0,
        "skipped" => {
            say(&notes.join("\n"));
            0
        }
        "partial" => PARTIAL,
        "failed" => 1,
        _ => return Err(answer.unexpected()),
    };
    if json {
        print(&answer.body)?;
    } else if outcome != "skipped" && (code != 0 || !common.quiet) {
        print(&report::human(&answer.body))?;
    }
    Ok(ExitCode::from(code))
}

/// Prints the lines of a dry run, and nothing else where a pipe may lead to carbon: the summary behind
/// them goes to standard error.
fn print_lines(answer: &Answer) -> anyhow::Result<ExitCode> {
    let code = match answer.status {
        StatusCode::OK | StatusCode::CONFLICT => ExitCode::SUCCESS,
        StatusCode::BAD_GATEWAY => ExitCode::FAILURE,
        _ => return Err(answer.unexpected()),
    };
    let body = answer.body.trim_end();
    let (lines, last) = body.rsplit_once('\n').unwrap_or(("", body));
    if !lines.is_empty() {
        print(lines)?;
    }
    say(last.trim_start_matches("# "));
    Ok(code)
}
