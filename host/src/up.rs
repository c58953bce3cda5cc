//! `up`: fires the cron trigger now and on its schedule and serves HTTP, until a signal.

use crate::cli::{Common, Up};
use crate::signals::{Signals, sleep_until};
use crate::terminal::refuse;
use crate::{api, check, server};
use anyhow::{Context, bail};
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::error::Error;
use catchpoint_graphite_host::schedule::Schedule;
use chrono::Utc;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub async fn up(app: App, flags: &Up, common: &Common) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new(common.grace)?;
    let checked = signals.stoppable(&app, check::problems(&app)).await?;
    let Some(problems) = checked else {
        return Ok(ExitCode::FAILURE);
    };
    if !problems.is_empty() {
        return Ok(refuse(&problems.join("\n")));
    }
    let manifest = app.manifest();
    let schedule = manifest.trigger.cron.as_ref().map(|cron| &cron.schedule);
    let schedule = schedule.cloned();
    if schedule.is_none() && manifest.variables.value(api::TOKEN_VARIABLE).is_empty() {
        return Ok(refuse(&format!(
            "{}: there is no [[trigger.cron]], and /collect is closed: nothing would ever be \
             collected. Add a [[trigger.cron]], or set SPIN_VARIABLE_COLLECT_TOKEN",
            manifest.path.display()
        )));
    }
    let (name, version) = (&manifest.application.name, &manifest.application.version);
    tracing::info!("{name} {version}");
    for line in manifest.variables.describe() {
        tracing::info!("variable {line}");
    }
    let listener = TcpListener::bind(flags.listen).await.with_context(|| {
        let address = flags.listen;
        format!("cannot listen on {address}; choose another one with --listen")
    })?;
    tracing::info!("serving http://{}", listener.local_addr()?);

    let stop = CancellationToken::new();
    let app = Arc::new(app);
    tokio::spawn(server::serve(app.clone(), listener, stop.clone()));
    if let Some(schedule) = schedule {
        if !flags.no_first_run {
            fire(&app);
        }
        let firing = keep_firing(app.clone(), schedule);
        tokio::spawn(stop.clone().run_until_cancelled_owned(firing));
    }

    let name = tokio::select! {
        name = signals.next() => name,
        () = app.left_behind() => bail!(
            "a run computes without an end, and cannot be stopped alone. This process ends; start it \
             again, as systemd does. Please report it with the log lines above"
        ),
    };
    tracing::info!("{name}: no new runs");
    stop.cancel();
    let stopped = signals.stop(&app).await;
    if stopped == 0 {
        tracing::info!("stopped");
    } else {
        tracing::warn!("stopped; {stopped} run(s) did not finish; the next run continues");
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins a run. Runs may overlap, as in Spin; the component sees to it that one works at a time.
fn fire(app: &Arc<App>) {
    let app = app.clone();
    tokio::spawn(async move {
        let now = u64::try_from(Utc::now().timestamp()).unwrap_or(0);
        match app.fire_cron(now).await {
            Ok(()) => tracing::debug!("run ended"),
            Err(error @ Error::Stopped) => tracing::info!("{error}"),
            Err(error) => tracing::error!("{error}"),
        }
    });
}

/// Fires at each time of the schedule. Missed times are not made up for, as in Spin; one that came
/// while the machine slept is used when it wakes.
async fn keep_firing(app: Arc<App>, schedule: Schedule) {
    while let Some(due) = schedule.next_after(Utc::now()) {
        tracing::info!("next run at {}", due.format("%Y-%m-%dT%H:%M:%SZ"));
        sleep_until(due).await;
        fire(&app);
    }
    tracing::error!("`{}` never fires again", schedule.expression());
}
