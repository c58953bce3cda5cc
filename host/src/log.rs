//! How log lines look, and which there are.

use crate::cli::{Cli, Command, Format};
use crate::terminal;
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log on standard error, with what `RUST_LOG` says: a level, or levels by part. `run` prints
/// its report, and does not log it as well. All commands say what they wait for.
pub fn init(cli: &Cli) {
    let common = &cli.common;
    let default = match (&cli.command, common.quiet) {
        (Command::Run { .. }, true) => "error,component::report=off",
        (_, true) => "error",
        (Command::Up(_), _) => "info",
        (Command::Run { .. }, _) => "warn,component=info,component::report=off",
        _ => "warn,component=info,component::report=warn",
    };
    let wanted = std::env::var("RUST_LOG").ok();
    let wanted = wanted.filter(|text| !text.is_empty());
    let parsed = wanted.as_deref().unwrap_or(default).parse::<Targets>();
    let wrong = parsed.is_err();
    // The defaults are valid.
    let filter = parsed.or_else(|_| default.parse()).unwrap_or_default();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| AboveProgress)
        // It would panic when standard error is closed.
        .log_internal_errors(false);
    let lines = match common.log_format {
        Format::Text => lines
            .with_ansi(io::stderr().is_terminal() && !no_color)
            .with_target(false)
            .boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
    if wrong {
        tracing::warn!("RUST_LOG is not a level or a list of part=level; using {default}");
    }
}

/// Standard error, above what shows the progress.
struct AboveProgress;

impl Write for AboveProgress {
    /// The whole line comes at once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        terminal::above(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
