//! `up`: fires the cron trigger now and on its schedule and serves HTTP, until a signal.

use crate::cli::{Common, Up};
use crate::metrics::Counters;
use crate::run::refuse;
use crate::server::Server;
use crate::signals::Signals;
use crate::{api, check};
use anyhow::Context;
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::instance::RunError;
use catchpoint_graphite_host::schedule::Schedule;
use chrono::Utc;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The longest sleep before the clock is read again: a laptop that was closed, or a clock that was
/// set, is noticed this soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

pub async fn up(app: App, flags: &Up, common: &Common) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let grace = Duration::from_secs(common.grace);
    let problems = signals
        .stoppable(&app, grace, check::problems(&app), |_| {})
        .await?;
    if !problems.is_empty() {
        return Ok(refuse(&problems.join("\n")));
    }
    let manifest = app.manifest();
    if manifest.cron.is_none() && !app.variables().is_set(api::TOKEN_VARIABLE) {
        return Ok(refuse(&format!(
            "{}: there is no [[trigger.cron]], and /collect is closed: nothing would ever be \
             collected. Add a [[trigger.cron]], or set SPIN_VARIABLE_COLLECT_TOKEN",
            manifest.path.display()
        )));
    }
    tracing::info!("{} {}", manifest.name, manifest.version);
    for line in app.variables().describe() {
        tracing::info!("variable {line}");
    }
    let listener = TcpListener::bind(flags.listen).await.with_context(|| {
        let address = flags.listen;
        format!("cannot listen on {address}; choose another one with --listen")
    })?;
    tracing::info!("serving http://{}", listener.local_addr()?);

    let stop = CancellationToken::new();
    let (app, counters) = (Arc::new(app), Arc::new(Counters::default()));
    let server = Arc::new(Server {
        app: app.clone(),
        counters: counters.clone(),
    });
    tokio::spawn(server.serve(listener, stop.clone()));
    if let Some(schedule) = app.manifest().cron.clone() {
        if !flags.no_first_run {
            fire(&app, &counters);
        }
        tokio::spawn(keep_firing(app.clone(), counters, schedule, stop.clone()));
    }

    let name = signals.next().await;
    tracing::info!("{name}: no new runs");
    stop.cancel();
    let stopped = tokio::select! {
        stopped = app.drain(grace) => stopped,
        // Whoever asks twice does not want to wait.
        _ = signals.next() => app.drain(Duration::ZERO).await,
    };
    if stopped == 0 {
        tracing::info!("stopped");
    } else {
        tracing::warn!("stopped, {stopped} run(s) before their end; the next run continues");
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins a run. Runs may overlap, as in Spin; the component sees to it that one works at a time.
fn fire(app: &Arc<App>, counters: &Arc<Counters>) {
    let (app, counters) = (app.clone(), counters.clone());
    counters.runs.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        let now = u64::try_from(Utc::now().timestamp()).unwrap_or(0);
        match app.fire_cron(now).await {
            Ok(()) => tracing::debug!("run ended"),
            Err(error @ RunError::Stopped) => tracing::info!("{error}"),
            Err(error) => {
                counters.broken.fetch_add(1, Ordering::Relaxed);
                tracing::error!("{error}");
            }
        }
    });
}

/// Fires at each time of the schedule. Missed times are not made up for, as in Spin; one that came
/// while the machine slept is used when it wakes.
async fn keep_firing(
    app: Arc<App>,
    counters: Arc<Counters>,
    schedule: Schedule,
    stop: CancellationToken,
) {
    while let Some(due) = schedule.next_after(Utc::now()) {
        tracing::info!("next run at {}", due.format("%Y-%m-%dT%H:%M:%SZ"));
        // The difference is none any more once it is negative.
        while let Ok(left) = (due - Utc::now()).to_std() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
            }
        }
        fire(&app, &counters);
    }
    tracing::error!("`{}` never fires again", schedule.expression());
}
