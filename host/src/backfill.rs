//! `backfill`: requests a past time range, and asks for its calls one by one until it is fetched.
//!
//! The request stays in the component's state: when this program stops, the regular runs go on with
//! it.

use crate::api::{self, Piece};
use crate::cli::{Backfill, Common};
use crate::progress::{Progress, say};
use crate::run::{print, refuse};
use crate::signals::Signals;
use anyhow::bail;
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::instance::RunError;
use chrono::{DateTime, Utc};
use http::StatusCode;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

/// After so many requests in a row that failed and brought nothing it stops.
const MOST_FAILED: u32 = 3;
/// The longest sleep before the clock is read again.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

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
    let mut signals = Signals::new()?;
    let mut progress = Progress::new(common);
    let mut told = BTreeSet::new();
    let (mut accepted, mut rejected, mut failed) = (0, 0, 0);
    let mut last: Option<Piece> = None;
    let why = loop {
        let asked = api::backfill(&app, &query);
        let grace = Duration::from_secs(common.grace);
        let stopping =
            |_: &str| say("stopping after the current call; press Ctrl-C again to stop now");
        let answer = match signals.stoppable(&app, grace, asked, stopping).await {
            Err(error) if matches!(error.downcast_ref(), Some(RunError::Stopped)) => {
                break Some("stopped");
            }
            answer => answer?,
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
        progress.step(piece.done, piece.total, &piece.note());
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
            _ if signals.seen() => break Some("stopped"),
            Some(_) if flags.no_wait && waits_for_limit => {
                break Some("the API's limits leave no calls now");
            }
            Some(time) if failed < MOST_FAILED => time,
            _ => break Some("nothing can be fetched now"),
        };
        if !sleep_until(&mut signals, again).await {
            break Some("stopped");
        }
    };
    drop(progress);
    let Some(piece) = last else {
        bail!("stopped before the first call; the regular runs continue with the request");
    };
    if !common.quiet || why.is_some() {
        print(&format!(
            "{} of the range fetched{}; {accepted} lines delivered to the relay",
            piece.percent(),
            match piece.done_until {
                Some(time) => format!(", all of it up to {}", time.format("%Y-%m-%dT%H:%M:%SZ")),
                None => String::new(),
            },
        ))?;
    }
    if rejected > 0 {
        say(&format!(
            "the relay rejected {rejected} lines; its log says why"
        ));
    }
    if let Some(why) = why {
        say(&format!(
            "{why}; the regular runs continue with the range, and so does the same command; --cancel \
             ends that"
        ));
    }
    let good = piece.finished && told.is_empty() && rejected == 0;
    Ok(ExitCode::from(u8::from(!good)))
}

async fn cancel(app: &App, query: &str) -> anyhow::Result<ExitCode> {
    let answer = api::cancel_backfill(app, query).await?;
    match answer.status {
        StatusCode::OK => {
            let left = answer.json::<api::Backfills>()?.backfills.len();
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

/// Sleeps; false if a signal came.
async fn sleep_until(signals: &mut Signals, time: DateTime<Utc>) -> bool {
    // The difference is none any more once it is negative.
    while let Ok(left) = (time - Utc::now()).to_std() {
        tokio::select! {
            () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
            _ = signals.next() => return false,
        }
    }
    true
}
