//! SIGINT and SIGTERM: the first one asks for an end, the second one does not wait for it.

use crate::terminal::say;
use anyhow::Context;
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::error::Error;
use chrono::{DateTime, Utc};
use std::convert::Infallible;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The longest sleep before the clock is read again: a laptop that was closed, or a clock that was
/// set, is noticed this soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

/// Both signals.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// How long a run may still take after the first one.
    grace: Duration,
    /// Whether one has come.
    pub seen: bool,
}

impl Signals {
    pub fn new(grace: u64) -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            grace: Duration::from_secs(grace),
            seen: false,
        })
    }

    /// Waits for the next one; its name.
    pub async fn next(&mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        };
        self.seen = true;
        name
    }

    /// Does the work. After a signal the instances stop, and the answer is none if they had to.
    pub async fn stoppable<T>(
        &mut self,
        app: &App,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Option<T>> {
        let stop = async {
            self.next().await;
            say("stopping after the current call; press Ctrl-C again to stop now");
            self.stop(app).await;
            std::future::pending::<Infallible>().await
        };
        let done = tokio::select! {
            done = work => done,
            never = stop => match never {},
        };
        match done {
            Err(error) if matches!(error.downcast_ref(), Some(Error::Stopped)) => Ok(None),
            done => done.map(Some),
        }
    }

    /// Has the instances stop before their next call to Catchpoint, and those that still run after
    /// the grace or another signal at once: so many.
    pub async fn stop(&mut self, app: &App) -> usize {
        let grace = self.grace;
        tokio::select! {
            () = app.stop_soon() => 0,
            _ = self.next() => app.stop_now().await,
            () = tokio::time::sleep(grace) => app.stop_now().await,
        }
    }
}

/// Sleeps until a time of the clock.
pub async fn sleep_until(time: DateTime<Utc>) {
    // The difference is none any more once it is negative.
    while let Ok(left) = (time - Utc::now()).to_std() {
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}
