//! SIGINT and SIGTERM: the first one asks for an end, the second one does not wait for it.

use anyhow::Context;
use catchpoint_graphite_host::app::App;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    seen: bool,
}

impl Signals {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
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

    /// Whether one has come.
    pub fn seen(&self) -> bool {
        self.seen
    }

    /// Does the work. After a signal its instances stop before their next call to Catchpoint, after
    /// `grace` or a second signal at once; `told` is called at the first.
    pub async fn stoppable<T>(
        &mut self,
        app: &App,
        grace: Duration,
        work: impl Future<Output = T>,
        told: impl FnOnce(&str),
    ) -> T {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            name = self.next() => told(name),
        }
        app.stop_soon();
        tokio::select! {
            done = &mut work => return done,
            _ = self.next() => {}
            () = tokio::time::sleep(grace) => {}
        }
        app.stop_now();
        work.await
    }
}
