//! Saying what happens and how long it took: a spinner with the elapsed time on a terminal, plain
//! lines anywhere else.

use std::{
    io::{IsTerminal as _, stderr},
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// One step under way; tell it what it is doing.
pub struct Step {
    title: String,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Shows a figure that changes often; only a terminal shows it.
    pub fn count(&self, figure: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(figure.to_owned());
        }
    }

    /// Shows what the step is doing now.
    pub fn say(&self, detail: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(detail.to_owned()),
            None => eprintln!("  {}: {detail}", self.title),
        }
    }
}

/// Runs one step of a chore under its title.
pub fn step<T>(title: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let bar = stderr().is_terminal().then(|| spinner(title));
    if bar.is_none() {
        eprintln!("- {title}");
    }
    let step = Step {
        title: title.to_owned(),
        bar,
    };
    let result = work(&step);
    if let Some(bar) = &step.bar {
        bar.finish_and_clear();
        let mark = if result.is_ok() { '✓' } else { '✗' };
        eprintln!("{mark} {title} ({})", seconds(start.elapsed()));
    } else if result.is_ok() {
        eprintln!("  {title}: done ({})", seconds(start.elapsed()));
    }
    result
}

/// A duration as people say it: `0.4 s`, `12 s`, `3 min 20 s`.
pub fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..120 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

fn spinner(title: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(title.to_owned());
    // The template is checked by the test below; a plain spinner will do if it is wrong.
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

const TEMPLATE: &str = "{spinner} {prefix} {elapsed} {wide_msg:.dim}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_is_right() {
        ProgressStyle::with_template(TEMPLATE).unwrap();
    }

    #[test]
    fn times_are_readable() {
        let check = |millis, expect: &str| {
            assert_eq!(seconds(Duration::from_millis(millis)), expect);
        };
        check(0, "0.0 s");
        check(420, "0.4 s");
        check(12_900, "12 s");
        check(119_000, "119 s");
        check(200_000, "3 min 20 s");
    }
}
