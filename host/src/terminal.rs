//! What a person sees: lines on both outputs, and while they wait a line that changes on a terminal.

use crate::cli::{Common, Format};
use anyhow::Context;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Wrong usage or configuration, as in `sysexits.h`.
pub const USAGE: u8 = 64;

/// What is on the terminal now. Log lines come from anywhere and have to go above it.
static BAR: LazyLock<ProgressBar> = LazyLock::new(ProgressBar::hidden);

/// Writes something to standard error, above what shows the progress.
pub fn above<T>(write: impl FnOnce() -> T) -> T {
    BAR.suspend(write)
}

/// Writes a line to standard error; when that is closed there is nobody to tell.
pub fn say(line: &str) {
    let _ = above(|| writeln!(io::stderr(), "{}", line.trim_end()));
}

/// The component has listed what is wrong with the configuration.
pub fn refuse(errors: &str) -> ExitCode {
    say(errors);
    ExitCode::from(USAGE)
}

/// Prints to standard output; a reader that has seen enough is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Shows how far it is, until it is dropped: nothing with `--quiet` or in JSON logs, a bar on a
/// terminal, lines elsewhere.
pub struct Progress {
    began: Instant,
    /// How much was done at the first step.
    before: Option<u64>,
    /// Without a terminal, each step is a line that differs from this one before.
    line: Option<String>,
}

impl Progress {
    pub fn new(common: &Common) -> Self {
        let wanted = !common.quiet && common.log_format == Format::Text;
        if wanted {
            BAR.set_style(style("{spinner} {elapsed} {msg}"));
            // Hidden where there is no terminal.
            BAR.set_draw_target(ProgressDrawTarget::stderr());
            BAR.enable_steady_tick(Duration::from_millis(200));
        }
        Self {
            began: Instant::now(),
            before: None,
            line: (wanted && BAR.is_hidden()).then(String::new),
        }
    }

    /// What happens now, with no end in sight.
    pub fn note(&self, words: String) {
        BAR.set_message(words);
    }

    /// So much of so much is done; `note` says what happens now, and for how long nothing will.
    pub fn step(&mut self, done: u64, total: u64, note: &str, pause: Duration) {
        if let Some(last) = &mut self.line {
            let line = format!("{}  {note}", percent(done, total));
            if *last != line {
                say(&line);
                *last = line;
            }
            return;
        }
        let before = *self.before.get_or_insert(done);
        let (done_here, left) = (done.saturating_sub(before), total.saturating_sub(done));
        let left = estimate(self.began.elapsed() + pause, done_here, left);
        let left = left.map(|left| format!("about {} left", HumanDuration(left)));
        let mut notes = vec![note.to_owned(), left.unwrap_or_default()];
        notes.retain(|note| !note.is_empty());
        BAR.set_style(style("{bar:32} {percent} %  {msg}"));
        BAR.set_length(total);
        BAR.set_position(done);
        BAR.set_message(notes.join(", "));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        BAR.finish_and_clear();
        BAR.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// How much of it is done.
pub fn percent(done: u64, total: u64) -> String {
    let percent = done.saturating_mul(100).checked_div(total);
    format!("{} %", percent.unwrap_or(100))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How long the rest takes, at the pace so far, pauses included. None before the first call.
fn estimate(elapsed: Duration, done: u64, left: u64) -> Option<Duration> {
    if done == 0 || left == 0 {
        return None;
    }
    Duration::try_from_secs_f64(elapsed.as_secs_f64() / done as f64 * left as f64).ok()
}

#[cfg(test)]
mod tests {
    use super::estimate;
    use std::time::Duration;

    #[test]
    fn estimates_at_the_pace_so_far() {
        for (elapsed, done, left, expect) in [
            (10, 0, 5, None),
            (10, 5, 0, None),
            (10, 5, 20, Some(40)),
            (3600, 500, 5000, Some(36_000)),
        ] {
            let found = estimate(Duration::from_secs(elapsed), done, left);
            assert_eq!(found, expect.map(Duration::from_secs));
        }
    }
}
