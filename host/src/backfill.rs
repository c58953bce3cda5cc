//! `backfill`: one piece after the other, as the component says, until the span is filled.

use crate::bar::Bar;
use crate::cli::Backfill;
use crate::once::{ask, print, refuse};
use anyhow::{Context, bail};
use catchpoint_graphite_host::app::App;
use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a piece goes on beginning calls, in seconds: so often the bar moves, and so long
/// Ctrl-C waits for more than the call that is under way.
const PIECE: u32 = 5;

/// After so many pieces that failed and brought nothing it stops.
const MOST_BARREN: u32 = 3;

/// The longest sleep before the clock is read again.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

/// How far it is: the component's answer, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Piece {
    done_until: Option<DateTime<Utc>>,
    total: u64,
    done: u64,
    finished: bool,
    continue_at: Option<DateTime<Utc>>,
    waits_for: Option<String>,
    report: Report,
}

#[derive(Debug, Deserialize)]
struct Report {
    lines_accepted: u64,
    lines_rejected: u64,
    failures: Vec<Failure>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    what: String,
    tests: Vec<u64>,
    cause: String,
    mend: String,
}

/// Fills the span, and says what came of it.
pub async fn backfill(app: &App, flags: &Backfill) -> anyhow::Result<ExitCode> {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("from", &flags.from)
        .append_pair("to", &flags.to)
        .append_pair("seconds", &PIECE.to_string())
        .finish();
    let path = format!("/backfill?{query}");
    let mut signals = Signals::new()?;
    let mut bar = Bar::new();
    let (mut accepted, mut rejected) = (0, 0);
    let mut said = BTreeSet::new();
    let (mut done_before, mut barren) = (None, 0);
    let (piece, why) = loop {
        let Some(answer) = signals.unless_twice(ask(app, Method::POST, &path)).await else {
            bar.end();
            bail!(
                "cut off; what was filled is remembered, and the same command goes on from there"
            );
        };
        let (status, body) = answer?;
        let piece: Piece = match status {
            StatusCode::OK | StatusCode::BAD_GATEWAY | StatusCode::CONFLICT => {
                serde_json::from_str(&body).context("the component's answer is not understood")?
            }
            StatusCode::BAD_REQUEST => {
                bar.end();
                return Ok(refuse(&body));
            }
            _ => bail!("the component answered {status}: {}", body.trim()),
        };
        accepted += piece.report.lines_accepted;
        rejected += piece.report.lines_rejected;
        for failure in piece.report.failures.iter().map(Failure::line) {
            if said.insert(failure.clone()) {
                bar.say(&failure);
            }
        }
        bar.show(piece.done, piece.total, &piece.note());
        let progressed = match done_before.replace(piece.done) {
            Some(before) => piece.done > before,
            None => piece.report.lines_accepted > 0,
        };
        barren = match (progressed, piece.report.failures.is_empty()) {
            (true, _) => 0,
            (false, true) => barren,
            (false, false) => barren + 1,
        };
        let wait_until = match piece.continue_at {
            _ if piece.finished => break (piece, None),
            _ if signals.seen => break (piece, Some("stopped")),
            Some(_) if flags.no_wait && piece.waits_for_limit() => {
                break (
                    piece,
                    Some("the API's limits leave no calls but those of the regular runs"),
                );
            }
            Some(time) if barren < MOST_BARREN => time,
            // What has failed may succeed now; with no progress at all it is no use.
            None if progressed => Utc::now(),
            _ => break (piece, Some("nothing more can be filled now")),
        };
        if !signals.sleep_until(wait_until).await {
            break (piece, Some("stopped"));
        }
    };
    bar.end();
    let left = piece.total.saturating_sub(piece.done);
    print(&format!(
        "{} of {} calls done{}; {accepted} lines handed to the relay",
        piece.done,
        piece.total,
        match piece.done_until {
            Some(time) => format!(", all filled up to {}", time.format("%Y-%m-%dT%H:%M:%SZ")),
            None => String::new(),
        },
    ))?;
    if rejected > 0 {
        eprintln!("the relay rejected {rejected} lines; see its log for the reasons");
    }
    if let Some(why) = why {
        eprintln!("{why}; {left} calls are left, and the same command goes on from there");
    } else if !piece.report.failures.is_empty() {
        eprintln!("not all tests could be filled; the same command tries those again");
    }
    let whole = piece.finished && piece.report.failures.is_empty() && rejected == 0;
    Ok(ExitCode::from(u8::from(!whole)))
}

impl Piece {
    /// Whether it is the API's limits that it waits for.
    fn waits_for_limit(&self) -> bool {
        matches!(self.waits_for.as_deref(), Some("hour" | "day"))
    }

    /// What happens until the next piece.
    fn note(&self) -> String {
        let time = match self.continue_at {
            Some(time) if !self.finished => time.format("%H:%M:%S UTC"),
            _ => return String::new(),
        };
        match self.waits_for.as_deref() {
            Some("run") => format!("a regular run goes first, on at {time}"),
            Some(limit) => format!("the {limit}'s calls are used up, on at {time}"),
            None => String::new(),
        }
    }
}

impl Failure {
    fn line(&self) -> String {
        let tests: Vec<String> = self.tests.iter().map(u64::to_string).collect();
        let of = if tests.is_empty() { "" } else { " of tests " };
        let tests = tests.join(",");
        format!("{}{of}{tests}: {}; {}", self.what, self.cause, self.mend)
    }
}

/// SIGINT and SIGTERM: the first one lets the piece under way end, the second one cuts it off.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    seen: bool,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            seen: false,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.seen = true;
    }

    /// Does the work; none if it was cut off.
    async fn unless_twice<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let first = !self.seen;
            tokio::select! {
                done = &mut work => return Some(done),
                () = self.next() => {
                    if !first {
                        return None;
                    }
                    eprintln!("stopping after the call that is under way; once more cuts it off");
                }
            }
        }
    }

    /// Sleeps; false if a signal came.
    async fn sleep_until(&mut self, time: DateTime<Utc>) -> bool {
        // The difference is none any more once it is negative.
        while let Ok(left) = (time - Utc::now()).to_std() {
            tokio::select! {
                () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
                () = self.next() => return false,
            }
        }
        true
    }
}
