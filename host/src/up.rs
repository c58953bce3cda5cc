//! `up`: fires the cron triggers on their schedules and serves the HTTP routes, until a signal.

use crate::cli::Up;
use anyhow::Context;
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::http;
use catchpoint_graphite_host::manifest::CronTrigger;
use chrono::Utc;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The longest sleep before the clock is read again: a laptop that was closed, or a clock that was
/// set, is noticed this soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

pub async fn up(app: App, flags: &Up) -> anyhow::Result<ExitCode> {
    let app = Arc::new(app);
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;

    let manifest = app.manifest();
    tracing::info!(manifest = %manifest.path.display(), "{} {}", manifest.name, manifest.version);
    for line in app.variables().describe() {
        tracing::info!("variable {line}");
    }
    if !manifest.routes.is_empty() {
        let listener = TcpListener::bind(flags.listen).await.with_context(|| {
            format!(
                "cannot listen on {}; choose another `--listen`",
                flags.listen
            )
        })?;
        tracing::info!("serving http://{}", listener.local_addr()?);
        tokio::spawn(http::serve(app.clone(), listener, stop.clone()));
    }
    for trigger in &manifest.crons {
        tokio::spawn(keep_firing(app.clone(), trigger.clone(), stop.clone()));
    }

    tokio::select! {
        _ = interrupt.recv() => tracing::info!("SIGINT: no new runs"),
        _ = terminate.recv() => tracing::info!("SIGTERM: no new runs"),
    }
    stop.cancel();
    let drained = app.drain(Duration::from_secs(flags.grace));
    let cut_off = tokio::select! {
        cut_off = drained => cut_off,
        // Whoever asks twice does not want to wait.
        _ = interrupt.recv() => app.drain(Duration::ZERO).await,
        _ = terminate.recv() => app.drain(Duration::ZERO).await,
    };
    if cut_off == 0 {
        tracing::info!("stopped; nothing was running");
    } else {
        tracing::warn!("stopped; {cut_off} running tasks were cut off, the next run goes on");
    }
    Ok(ExitCode::SUCCESS)
}

/// Fires `trigger` whenever it is due. Firings may overlap and missed ones are not made up for, as
/// in Spin; a firing that came due while the machine slept takes place when it wakes.
async fn keep_firing(app: Arc<App>, trigger: CronTrigger, stop: CancellationToken) {
    let component = trigger.component.clone();
    while let Some(due) = trigger.schedule.next_after(Utc::now()) {
        tracing::info!(
            component,
            "next run at {}",
            due.format("%Y-%m-%dT%H:%M:%SZ")
        );
        // The difference is none any more once it is negative.
        while let Ok(left) = (due - Utc::now()).to_std() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
            }
        }
        let (app, trigger) = (app.clone(), trigger.clone());
        tokio::spawn(async move {
            let now = u64::try_from(Utc::now().timestamp()).unwrap_or(0);
            match app.fire(&trigger, now).await {
                Ok(()) => tracing::debug!(component = trigger.component, "run ended"),
                Err(error) => tracing::error!("{error}"),
            }
        });
    }
    tracing::error!(
        component,
        "`{}` never fires again",
        trigger.schedule.expression()
    );
}
