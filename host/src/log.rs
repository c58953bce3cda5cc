//! How log lines look, and which there are.

use crate::cli::{Cli, Command};
use crate::progress;
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Time, level, message.
    Text,
    /// An object on each line: `timestamp`, `level`, `target`, `message`.
    Json,
}

/// Starts the log on standard error, with what `RUST_LOG` says: a level, or levels by part.
pub fn init(cli: &Cli) {
    let default = match (&cli.command, cli.common.quiet) {
        (_, true) => "error",
        (Command::Up(_), false) => "info",
        _ => "warn",
    };
    let wanted = std::env::var("RUST_LOG").ok();
    let wanted = wanted.filter(|text| !text.is_empty());
    let parsed = wanted.as_deref().unwrap_or(default).parse::<Targets>();
    let wrong = parsed.is_err();
    // The defaults are valid.
    let filter = parsed.or_else(|_| default.parse()).unwrap_or_default();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(AboveProgress);
    let lines = match cli.common.log_format {
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
#[derive(Clone, Copy)]
struct AboveProgress;

impl<'a> MakeWriter<'a> for AboveProgress {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for AboveProgress {
    /// The whole line comes at once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::above(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
