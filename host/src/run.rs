//! `run`: one collection, now.

use crate::api::{self, Report};
use crate::cli::Common;
use crate::progress::{Progress, say};
use crate::signals::Signals;
use crate::{USAGE, report};
use anyhow::Context;
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::instance::RunError;
use http::StatusCode;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

/// A part of the data was delivered.
const PARTIAL: u8 = 2;

/// Collects once and prints the report, or with `dry_run` the lines.
pub async fn run(app: App, common: &Common, json: bool, dry_run: bool) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let progress = Progress::new(common);
    let asked = async {
        let answer = api::collect(&app, dry_run);
        tokio::pin!(answer);
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                _ = second.tick() => progress.note(|| app.traffic().counts().words()),
            }
        }
    };
    let grace = Duration::from_secs(common.grace);
    let told = |_: &str| say("stopping after the current call; press Ctrl-C again to stop now");
    let answer = signals.stoppable(&app, grace, asked, told).await;
    drop(progress);
    let memory = app.peak_memory() >> 20;
    tracing::debug!("most linear memory: {memory} MiB");
    let answer = match answer {
        Err(error) if matches!(error.downcast_ref(), Some(RunError::Stopped)) => {
            let counts = app.traffic().counts();
            say(&format!(
                "stopped after {}; the next run continues",
                counts.words()
            ));
            return Ok(ExitCode::from(if counts.posts > 0 { PARTIAL } else { 1 }));
        }
        answer => answer?,
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
    let shown = if json || dry_run {
        answer.body
    } else {
        report::human(&answer.body)
    };
    if json || dry_run || code != 0 || !common.quiet {
        print(&shown)?;
    }
    Ok(ExitCode::from(code))
}

/// The component has listed what is wrong with the configuration.
pub fn refuse(errors: &str) -> ExitCode {
    say(errors);
    ExitCode::from(USAGE)
}

/// Prints to standard output; a reader that has seen enough is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
