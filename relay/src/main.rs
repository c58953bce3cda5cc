//! The relay's program. Exit codes: 0 after a stop that was asked for, 1 when it cannot run, which
//! may pass, 64 for a wrong command line or configuration.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use catchpoint_graphite_relay::config::{ConfigError, Flags, Settings};
use catchpoint_graphite_relay::healthcheck::{HealthError, check_health};
use catchpoint_graphite_relay::recent_log;
use catchpoint_graphite_relay::relay::{Credentials, Relay, StartError, announce};
use catchpoint_graphite_relay::spool::disk::OsDisk;
use clap::{CommandFactory as _, Parser as _};
use clap_complete::{Shell, generate_to};
use sd_notify::{NotifyState, notify};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// Wrong usage, as in BSD's sysexits.h.
const USAGE: u8 = 64;
/// How often the relay looks whether all its parts are at work.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What is logged without `RUST_LOG`. rustls warns of what strangers send, as often as they send it;
/// the relay counts handshakes that fail.
const LOGGED: &str = "info,rustls=error";

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
            eprintln!("error: {error}");
            ExitCode::from(if error.is_usage() { USAGE } else { 1 })
        }
    }
}

/// Why the relay does not run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error("--generate: {0}")]
    Generate(std::io::Error),
    #[error("the runtime cannot start: {0}")]
    System(#[from] std::io::Error),
}

impl Failure {
    /// Whether it stays wrong until somebody changes something. A supervisor does not start the relay
    /// again then.
    fn is_usage(&self) -> bool {
        match self {
            Self::Config(error) => !error.may_pass(),
            Self::Start(StartError::File(error)) => !error.may_pass,
            _ => false,
        }
    }
}

fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    if let Some(folder) = &flags.generate {
        generate(folder).map_err(Failure::Generate)?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::load(flags)?;
    start_logging();
    if flags.check {
        Credentials::load(&settings).map_err(StartError::from)?;
        println!("{}", settings.explain());
        return Ok(ExitCode::SUCCESS);
    }
    if flags.probe {
        check_health(&settings.listen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(serve(settings));
    // What still runs is connections; their posts are stored or will be posted again.
    runtime.shutdown_background();
    code
}

/// Writes the manual page and completions, for packages.
fn generate(folder: &Path) -> std::io::Result<()> {
    let mut command = Flags::command();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut command, "catchpoint-graphite-relay", folder)?;
    }
    clap_mangen::generate_to(command, folder)
}

async fn serve(settings: Settings) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    announce(&settings);
    let mut relay = tokio::select! {
        // Takes long if there is much in the spool.
        relay = Relay::start(settings, Arc::new(OsDisk)) => relay?,
        () = signals.stop() => {
            info!("stopped before the spool was open");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let content = relay.content();
    info!(
        listen = %relay.address(), waiting_batches = content.waiting.batches,
        waiting_lines = content.waiting.lines,
        replay_batches = content.replaying.batches, "the relay accepts lines"
    );
    tell_systemd(NotifyState::Ready);
    if !signals.wait_for_stop(&mut relay).await {
        error!("a part of the relay has failed, so the relay stops");
        return Ok(ExitCode::FAILURE);
    }
    // From here on posts are refused; whoever reads the next line may count on it.
    relay.refuse();
    tell_systemd(NotifyState::Stopping);
    info!("stopping: sending what is in the spool first");
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

fn tell_systemd(state: NotifyState<'_>) {
    // Without systemd it goes nowhere.
    let _ = notify(&[state]);
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
    async fn wait_for_stop(&mut self, relay: &mut Relay) -> bool {
        // Twice as often as systemd asks for.
        let asked = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        let mut looks = interval(asked.map_or(LOOK_INTERVAL, |asked| asked.min(LOOK_INTERVAL)));
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return true,
                _ = self.interrupt.recv() => return true,
                _ = self.hangup.recv() => relay.reload(),
                _ = looks.tick() => {
                    if !relay.is_well() {
                        return false;
                    }
                    tell_systemd(NotifyState::Watchdog);
                }
            }
        }
    }
}

/// Text on a terminal, JSON otherwise; `RUST_LOG` chooses what is shown. The status page shows the last
/// warnings and errors in any case.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() {
        lines.with_filter(filter).boxed()
    } else {
        let lines = lines.json().flatten_event(true);
        lines.with_filter(filter).boxed()
    };
    let recent = recent_log::layer();
    tracing_subscriber::registry()
        .with(lines)
        .with(recent)
        .init();
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled, subscriber};

    use super::*;

    #[test]
    fn strangers_cannot_fill_the_log() {
        let logged = tracing_subscriber::registry().with(EnvFilter::new(LOGGED));
        subscriber::with_default(logged, || {
            assert!(!enabled!(target: "rustls::conn", Level::WARN));
            assert!(enabled!(Level::INFO));
        });
    }
}
