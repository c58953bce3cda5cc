//! `backfill`: requests a past time range, and asks for its calls one by one until it is fetched.
//!
//! The request stays in the component's state: when this program stops, the regular runs go on with
//! it.

use crate::api::{self, Piece, ask};
use crate::cli::{Backfill, Common};
use crate::signals::{Signals, sleep_until};
use crate::terminal::{Progress, percent, print, refuse, say};
use anyhow::bail;
use catchpoint_graphite_host::app::App;
use chrono::Utc;
use http::{Method, StatusCode};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::ExitCode;

/// After so many requests in a row that failed and brought nothing it stops.
const MOST_FAILED: u32 = 3;

/// Fetches the range, and tells the result.
pub async fn backfill(app: App, flags: &Backfill, common: &Common) -> anyhow::Result<ExitCode> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, time) in [("from", &flags.from), ("to", &flags.to)] {
        if let Some(time) = time {
            query.append_pair(name, time);
        }
    }
    let query = query.finish();
    if flags.cancel {
        return cancel(&app, &query).await;
    }
    let path = format!("/backfill?{query}&calls=1");
    let mut signals = Signals::new(common.grace)?;
    let mut progress = Progress::new(common);
    let mut told = BTreeSet::new();
    let (mut accepted, mut rejected, mut failed) = (0, 0, 0);
    let mut last: Option<Piece> = None;
    let why = loop {
        let asked = ask(&app, Method::POST, &path);
        let Some(answer) = signals.stoppable(&app, asked).await? else {
            break Some("stopped");
        };
        let piece: Piece = match answer.status {
            StatusCode::OK | StatusCode::BAD_GATEWAY | StatusCode::CONFLICT => answer.json()?,
            StatusCode::BAD_REQUEST => {
                drop(progress);
                return Ok(refuse(&answer.body));
            }
            _ => return Err(answer.unexpected()),
        };
        accepted += piece.report.lines_accepted;
        rejected += piece.report.lines_rejected;
        for failure in piece.report.failures.iter().map(api::Failure::words) {
            if told.insert(failure.clone()) {
                say(&failure);
            }
        }
        let pause = piece.continue_at.map(|time| (time - Utc::now()).to_std());
        let pause = pause.and_then(Result::ok).unwrap_or_default();
        progress.step(piece.done, piece.total, &piece.note(), pause);
        let before = last.as_ref().map_or(0, |last| last.done);
        let progressed = piece.done > before || piece.report.lines_accepted > 0;
        failed = match (progressed, piece.report.failures.is_empty()) {
            (true, _) => 0,
            (false, true) => failed,
            (false, false) => failed + 1,
        };
        let (finished, waits_for_limit) = (piece.finished, piece.waits_for_limit());
        // What has failed may succeed now; with no progress at all it is no use.
        let again = piece.continue_at.or_else(|| progressed.then(Utc::now));
        last = Some(piece);
        let again = match again {
            _ if finished => break None,
            _ if signals.seen => break Some("stopped"),
            Some(_) if flags.no_wait && waits_for_limit => {
                break Some("the API's limits leave no calls now");
            }
            Some(time) if failed < MOST_FAILED => time,
            _ => break Some("nothing can be fetched now"),
        };
        tokio::select! {
            () = sleep_until(again) => {}
            _ = signals.next() => break Some("stopped"),
        }
    };
    drop(progress);
    let Some(piece) = last else {
        bail!("stopped before the first call; the regular runs continue with the request");
    };
    if !common.quiet || why.is_some() {
        let until = piece.done_until;
        let until = until.map(|time| time.format(", all of it up to %Y-%m-%dT%H:%M:%SZ"));
        print(&format!(
            "{} of the range fetched{}; {accepted} lines delivered to the relay",
            percent(piece.done, piece.total),
            until.map(|until| until.to_string()).unwrap_or_default(),
        ))?;
    }
    if rejected > 0 {
        say(&format!(
            "the relay rejected {rejected} lines; its log says why"
        ));
    }
    if let Some(why) = why {
        say(&format!(
            "{why}; the regular runs continue with the range; repeat the command to continue now, \
             with --cancel to end it"
        ));
    }
    let good = piece.finished && told.is_empty() && rejected == 0;
    Ok(ExitCode::from(u8::from(!good)))
}

async fn cancel(app: &App, query: &str) -> anyhow::Result<ExitCode> {
    let path = format!("/backfill?{query}");
    let answer = ask(app, Method::DELETE, path.trim_end_matches('?')).await?;
    match answer.status {
        StatusCode::OK => {
            let left: Value = answer.json()?;
            let left = left.get("backfills").and_then(Value::as_array);
            let left = left.map_or(0, Vec::len);
            print(&format!("cancelled; {left} requested ranges are left"))?;
            Ok(ExitCode::SUCCESS)
        }
        StatusCode::BAD_REQUEST => Ok(refuse(&answer.body)),
        StatusCode::CONFLICT => {
            say(&answer.body);
            Ok(ExitCode::FAILURE)
        }
        _ => Err(answer.unexpected()),
    }
}
