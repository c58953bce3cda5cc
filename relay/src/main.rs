//! The relay's program. Exit codes: 0 after a stop that was asked for, 1 when it cannot run, which
//! may pass, 64 for a wrong command line or configuration.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use catchpoint_graphite_relay::config::{ConfigError, Flags, Settings};
use catchpoint_graphite_relay::probe::probe;
use catchpoint_graphite_relay::relay::{Relay, StartError, announce};
use catchpoint_graphite_relay::{access::Access, systemd};
use clap::Parser as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// Wrong usage, as in BSD's sysexits.h.
const USAGE: u8 = 64;
/// How often the relay looks whether all its parts are at work.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            // Nothing can be done if the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match run(&flags) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if is_usage(&error) { USAGE } else { 1 })
        }
    }
}

/// Whether it stays wrong until somebody mends it. A supervisor does not start the relay again then.
fn is_usage(error: &anyhow::Error) -> bool {
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        return !error.may_pass();
    }
    matches!(error.downcast_ref(), Some(StartError::Access(error)) if !error.may_pass())
}

fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(flags)?;
    start_logging();
    if flags.check {
        Access::load(&settings).map_err(StartError::from)?;
        println!("{}", settings.explain());
        return Ok(ExitCode::SUCCESS);
    }
    if flags.probe {
        probe(&settings.listen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let code = runtime.block_on(serve(settings));
    // What still runs is connections; their posts are stored or will be posted again.
    runtime.shutdown_background();
    code
}

async fn serve(settings: Settings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("signals cannot be handled")?;
    announce(&settings);
    let relay = Relay::start(settings).await?;
    let content = relay.content();
    info!(
        listen = %relay.address(), waiting_batches = content.waiting.batches,
        waiting_lines = content.waiting.lines,
        replay_batches = content.replaying.batches, "the relay takes lines"
    );
    systemd::ready();
    if !signals.wait_for_stop(&relay).await {
        error!("a part of the relay has failed, it cannot go on");
        return Ok(ExitCode::FAILURE);
    }
    // From here on posts are refused; whoever reads the next line may count on it.
    relay.refuse();
    systemd::stopping();
    info!("stopping: what is in the spool is sent first");
    let left = tokio::select! {
        left = relay.stop() => left,
        () = signals.stop() => {
            warn!("stopped at once by a second signal: what waits stays in the spool");
            return Ok(ExitCode::FAILURE);
        }
    };
    info!(
        waiting_batches = left.waiting.batches,
        waiting_lines = left.waiting.lines,
        waiting_bytes = left.waiting.bytes,
        replay_batches = left.replaying.batches + left.confirmed.batches,
        "stopped: what waits stays in the spool and is sent at the next start"
    );
    Ok(ExitCode::SUCCESS)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Reloads on SIGHUP, tells systemd that the relay is well, and returns at a signal to stop;
    /// false when the relay is not well.
    async fn wait_for_stop(&mut self, relay: &Relay) -> bool {
        let look =
            systemd::watchdog_interval().map_or(LOOK_INTERVAL, |asked| asked.min(LOOK_INTERVAL));
        let mut looks = interval(look);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return true,
                _ = self.interrupt.recv() => return true,
                _ = self.hangup.recv() => relay.reload(),
                _ = looks.tick() => {
                    if !relay.is_well() {
                        return false;
                    }
                    systemd::alive();
                }
            }
        }
    }
}

/// Text on a terminal, JSON otherwise; `RUST_LOG` chooses what is shown.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init();
    }
}
