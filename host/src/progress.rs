//! What a person sees who waits: a line that changes on a terminal, nothing elsewhere.

use crate::cli::Common;
use crate::log::Format;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is on the terminal now. Log lines come from anywhere and have to go above it.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Writes something to standard error, above what shows the progress.
pub fn above<T>(write: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes a line to standard error; when that is closed there is nobody to tell.
pub fn say(line: &str) {
    let _ = above(|| writeln!(io::stderr(), "{}", line.trim_end()));
}

/// Shows how far it is, until it is dropped.
pub struct Progress {
    /// None where there is no terminal.
    bar: Option<ProgressBar>,
    began: Instant,
    /// How much was done at the first step.
    before: Option<u64>,
    /// Without a terminal, each step is a line that differs from the one before.
    line: Option<String>,
}

impl Progress {
    /// Nothing is shown with `--quiet` or in JSON logs.
    pub fn new(common: &Common) -> Self {
        let wanted = !common.quiet && common.log_format == Format::Text;
        let bar = (wanted && io::stderr().is_terminal()).then(ProgressBar::no_length);
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(200));
            let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
            *shown = Some(bar.clone());
        }
        Self {
            line: (wanted && bar.is_none()).then(String::new),
            bar,
            began: Instant::now(),
            before: None,
        }
    }

    /// What happens now, with no end in sight.
    pub fn note(&self, words: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_style(style("{spinner} {elapsed} {msg}"));
            bar.set_message(words());
        }
    }

    /// So much of so much is done; `note` says what happens now.
    pub fn step(&mut self, done: u64, total: u64, note: &str) {
        let before = *self.before.get_or_insert(done);
        let Some(bar) = &self.bar else {
            let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
            let line = format!("{percent} %  {note}");
            if self.line.as_ref().is_some_and(|last| *last != line) {
                say(&line);
                self.line = Some(line);
            }
            return;
        };
        let (done_here, left) = (done.saturating_sub(before), total.saturating_sub(done));
        let left = estimate(self.began.elapsed(), done_here, left);
        let left = left.map(|left| format!("about {} left", words(left)));
        let notes: Vec<&str> = [note, left.as_deref().unwrap_or("")]
            .into_iter()
            .filter(|note| !note.is_empty())
            .collect();
        bar.set_style(style("{bar:32} {percent} %  {msg}"));
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(notes.join(", "));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How long what is left takes, at the pace so far, waits included. None before the first call.
fn estimate(elapsed: Duration, done: u64, left: u64) -> Option<Duration> {
    if done == 0 || left == 0 {
        return None;
    }
    Duration::try_from_secs_f64(elapsed.as_secs_f64() / done as f64 * left as f64).ok()
}

fn words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::{estimate, words};
    use std::time::Duration;

    #[test]
    fn estimates_at_the_pace_so_far() {
        let check = |elapsed, done, left, expect: Option<&str>| {
            let found = estimate(Duration::from_secs(elapsed), done, left).map(words);
            assert_eq!(found.as_deref(), expect);
        };
        check(10, 0, 5, None);
        check(10, 5, 0, None);
        check(10, 5, 20, Some("40 s"));
        check(60, 20, 100, Some("5 min"));
        check(3600, 500, 5000, Some("10 h"));
    }
}
