//! Running programs: shown, quietly, or with a bar and an estimate.

use std::{
    cell::RefCell,
    env,
    ffi::OsStr,
    fmt,
    io::{BufReader, Read as _},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{target_dir, workspace};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

/// The cargo that runs this program, with arguments, none of which has a blank in it, in the root of
/// the workspace. It finds the subcommands of `target/tools` too.
pub fn cargo(arguments: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let tools = target_dir().join("tools/bin");
    let path = env::var("PATH").unwrap_or_default();
    command
        .args(arguments.split_whitespace())
        .current_dir(workspace())
        .env("PATH", format!("{}:{path}", tools.display()))
        // Messages that tests compare must not depend on the user's language.
        .env("LC_ALL", "C.UTF-8")
        // Set by `cargo xtask` for this program alone; build scripts must not see them change.
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_PKG_NAME");
    command
}

/// Prints a command and runs it; what it prints is shown as it comes.
pub fn shown(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("\n$ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command silently and gives what it prints; all of it is shown when it fails.
pub fn quiet(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if !output.status.success() {
        bail!("`{line}` failed ({}):\n{out}{err}", output.status);
    }
    Ok(out)
}

/// Several steps at once, each with a line: a bar with an estimate on a terminal, and elsewhere a
/// line of text when something happens.
pub struct Steps {
    bars: MultiProgress,
}

impl Steps {
    /// Nothing yet.
    pub fn new() -> Self {
        let bars = MultiProgress::new();
        Self { bars }
    }

    /// Does something under a title.
    pub fn step<T>(&self, title: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
        let step = Step {
            title: title.to_owned(),
            said: RefCell::default(),
            bar: self.bars.add(ProgressBar::new_spinner()),
        };
        step.style("{spinner} {prefix} {elapsed} {wide_msg:.dim}");
        step.bar.set_prefix(step.title.clone());
        step.bar.enable_steady_tick(Duration::from_millis(120));
        if step.bar.is_hidden() {
            eprintln!("- {title}");
        }
        let start = Instant::now();
        let result = work(&step);
        step.bar.finish_and_clear();
        let mark = if result.is_ok() { "✓" } else { "✗" };
        self.print(&format!("{mark} {title} ({})", time(start.elapsed())));
        result
    }

    fn print(&self, line: &str) {
        // A terminal's bars must move down; elsewhere they draw nothing, and take no lines.
        if self.bars.is_hidden() || self.bars.println(line).is_err() {
            eprintln!("{line}");
        }
    }
}

/// One step under way.
pub struct Step {
    title: String,
    said: RefCell<String>,
    bar: ProgressBar,
}

impl Step {
    /// Says what the step is doing now. What differs from before in its figures alone is for a
    /// terminal.
    pub fn say(&self, detail: &str) {
        self.bar.set_message(detail.to_owned());
        let words: String = detail
            .chars()
            .filter(|char| !char.is_ascii_digit())
            .collect();
        if self.bar.is_hidden() && self.said.replace(words.clone()) != words {
            eprintln!("  {}: {detail}", self.title);
        }
    }

    fn style(&self, template: &str) {
        // A plain spinner will do if the template is wrong; a test says so.
        if let Ok(style) = ProgressStyle::with_template(template) {
            let style = style.with_key("left", |state: &ProgressState, to: &mut dyn fmt::Write| {
                let left = left(state.elapsed(), state.pos(), state.len().unwrap_or(0));
                // The bar is a line of text, and writing to it does not fail.
                let _ = to.write_str(&time(left));
            });
            self.bar.set_style(style.progress_chars("━╸ "));
        }
    }

    /// Runs a cargo that compiles, and moves the bar as cargo counts.
    pub fn compile(&self, command: &mut Command) -> Result<()> {
        let line = line(command);
        let mut child = command
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", "100")
            .env("CARGO_TERM_COLOR", "never")
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{line}`"))?;
        let mut said = String::new();
        let mut told = Instant::now();
        if let Some(stderr) = child.stderr.take() {
            let mut text = Vec::new();
            for byte in BufReader::new(stderr).bytes() {
                let byte = byte.with_context(|| format!("`{line}` cannot be read"))?;
                if byte != b'\r' && byte != b'\n' {
                    text.push(byte);
                    continue;
                }
                let part = String::from_utf8_lossy(&text).into_owned();
                text.clear();
                if let Some((done, all)) = counted(&part) {
                    self.count(done, all, &mut told);
                } else if !part.trim().is_empty() {
                    said += &part;
                    said.push('\n');
                }
            }
        }
        let status = child.wait().with_context(|| format!("`{line}` is lost"))?;
        if !status.success() {
            bail!("`{line}` failed ({status}):\n{said}");
        }
        Ok(())
    }

    fn count(&self, done: u64, all: u64, told: &mut Instant) {
        if self.bar.length() != Some(all) {
            self.bar.set_length(all);
            self.style("{spinner} {prefix} {bar:24} {pos}/{len} {elapsed}, about {left} left");
        }
        self.bar.set_position(done);
        if self.bar.is_hidden() && told.elapsed() > Duration::from_secs(30) {
            *told = Instant::now();
            let left = time(left(self.bar.elapsed(), done, all));
            eprintln!("  {}: {done} of {all}, about {left} left", self.title);
        }
    }
}

/// `12/390` of a line such as `Building [==>   ] 12/390: serde, syn`.
fn counted(line: &str) -> Option<(u64, u64)> {
    let (_, behind) = line.split_once("Building [")?.1.split_once("] ")?;
    let (done, all) = behind.split(':').next()?.split_once('/')?;
    Some((done.trim().parse().ok()?, all.trim().parse().ok()?))
}

/// How long it takes to the end, if the rest is like what is done: one crate takes much longer than
/// all others, and an estimate from the last ones jumps.
fn left(elapsed: Duration, done: u64, all: u64) -> Duration {
    elapsed.mul_f64(all.saturating_sub(done) as f64 / done.max(1) as f64)
}

/// A duration as people say it: `0.4 s`, `12 s`, `3 min 20 s`.
pub fn time(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..120 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

/// A command as one would type it: the program by its name.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_counts_what_it_compiles() {
        let check = |line, expect| assert_eq!(counted(line), expect, "{line}");
        check(
            "    Building [=====>     ] 12/390: serde, syn(build)",
            Some((12, 390)),
        );
        check("   Compiling serde v1.0.229", None);
        check("    Building [ ", None);
    }

    #[test]
    fn times_are_readable() {
        let check = |millis, expect| assert_eq!(time(Duration::from_millis(millis)), expect);
        check(420, "0.4 s");
        check(12_900, "12 s");
        check(200_000, "3 min 20 s");
    }
}
