//! How far a backfill is: a bar on a terminal, a line for each step elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Shows how far it is, on standard error.
pub struct Bar {
    /// None where there is no terminal.
    bar: Option<ProgressBar>,
    begun: Instant,
    /// Calls that were done before this program began.
    before: Option<u64>,
    last_line: String,
}

impl Bar {
    /// A bar that is shown at the first step.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {pos}/{len} calls  {msg}");
            ProgressBar::no_length()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            bar,
            begun: Instant::now(),
            before: None,
            last_line: String::new(),
        }
    }

    /// So many calls of so many are done. `note` says what happens now.
    pub fn show(&mut self, done: u64, total: u64, note: &str) {
        let before = *self.before.get_or_insert(done);
        let left = estimate(
            self.begun.elapsed(),
            done.saturating_sub(before),
            total.saturating_sub(done),
        );
        let left = left.map(|left| format!("about {} left", words(left)));
        let notes: Vec<&str> = [Some(note), left.as_deref()]
            .into_iter()
            .flatten()
            .filter(|note| !note.is_empty())
            .collect();
        let notes = notes.join(", ");
        match &self.bar {
            Some(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(notes);
                bar.tick();
            }
            None => {
                let line = format!("{done}/{total} calls  {notes}");
                if line != self.last_line {
                    eprintln!("{}", line.trim_end());
                    self.last_line = line;
                }
            }
        }
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
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
