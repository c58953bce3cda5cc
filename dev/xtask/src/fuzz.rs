//! The relay's fuzz targets, with libFuzzer and the pinned compiler.
//!
//! The coverage that libFuzzer steers by is an LLVM pass that the stable compiler has too, so
//! neither a nightly toolchain nor cargo-fuzz is needed. Address sanitizing does need a nightly;
//! the relay has no unsafe code, and its targets look for wrong answers and panics.
//!
//! A run begins with the small corpus of the repository and with what runs before it have found.
//! New finds stay under the target directory; the repository's corpus is only read.

use std::{
    fmt, fs,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{target_dir, workspace};
use clap::{Args, ValueEnum};

use crate::{
    build::shown,
    command::{self, cargo, quiet},
    progress::step,
    setup,
};

/// What can be chosen about fuzzing.
#[derive(Debug, Args)]
pub struct Flags {
    /// How long each target runs
    #[arg(long, value_name = "COUNT", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only this one
    only: Option<Target>,
}

/// One of the targets, named as its program is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Target {
    /// The body of a post, packed or not, in pieces of any size
    Body,
    /// Lines that carbon is spared
    Lines,
    /// A spool with any files in it
    Spool,
}

/// The package of the targets.
const MANIFEST: &str = "relay/fuzz/Cargo.toml";

/// The compiler's part of `cargo fuzz build --sanitizer none`.
const COVERAGE: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// An input that takes longer is a find: all of them together take milliseconds.
const SLOWEST_SECONDS: u32 = 10;

/// Builds the targets and runs one after the other, all of them even when one has a find.
pub fn run(flags: &Flags) -> Result<()> {
    setup::cpp()?;
    let programs = build()?;
    let targets = flags
        .only
        .as_ref()
        .map_or(Target::value_variants(), std::slice::from_ref);
    let mut failures = Vec::new();
    for target in targets {
        let title = format!("fuzzing {} for {} s", target.name(), flags.seconds);
        match step(&title, |_| target.run(&programs, flags.seconds)) {
            Ok(figures) => println!("{:<6} {figures}", target.name()),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\n\n"));
    }
    Ok(())
}

/// Formatting and clippy of the targets: they are no part of the workspace, because their flags are
/// not its business.
pub fn lint() -> Result<()> {
    setup::cpp()?;
    command::run(&mut cargo(["fmt", "--check", "--manifest-path", MANIFEST]))?;
    command::run(
        cargo(["clippy", "--locked", "--bins", "--manifest-path", MANIFEST])
            .arg("--target-dir")
            .arg(folder("lint"))
            .args(["--", "-D", "warnings"]),
    )
}

/// Builds the targets and gives the folder they are in. They have a target directory of their own,
/// because nothing else is built with their flags.
fn build() -> Result<PathBuf> {
    let host = quiet(setup::rustc().args(["--print", "host-tuple"]))?;
    let host = host.trim();
    let built = folder("build");
    // With a target named, the flags are not for build scripts and macros.
    command::run(
        cargo(["build", "--release", "--locked", "--bins"])
            .args(["--manifest-path", MANIFEST, "--target", host])
            .arg("--target-dir")
            .arg(&built)
            .env("RUSTFLAGS", COVERAGE.join(" ")),
    )?;
    Ok(built.join(host).join("release"))
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Lines => "lines",
            Self::Spool => "spool",
        }
    }

    fn run(self, programs: &Path, seconds: u32) -> Result<Figures> {
        let name = self.name();
        let program = programs.join(name);
        let (found, finds) = (folder("corpus").join(name), folder("finds").join(name));
        for dir in [&found, &finds] {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let log = folder(&format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let status = Command::new(&program)
            // New inputs go to the first folder.
            .arg(&found)
            .arg(workspace().join("relay/fuzz/corpus").join(name))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={SLOWEST_SECONDS}"))
            .arg(format!("-artifact_prefix={}/", finds.display()))
            .arg("-print_final_stats=1")
            .stderr(file)
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let said = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let said = String::from_utf8_lossy(&said);
        if !status.success() {
            bail!("{}", failure(name, &said, &program, &log));
        }
        Figures::read(&said)
            .with_context(|| format!("{name} has not said what it did, see {}", log.display()))
    }
}

/// What a target did, as libFuzzer says at its end.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    inputs: u64,
    inputs_per_second: u64,
    new: u64,
    slowest_seconds: u64,
    memory_mb: u64,
}

impl Figures {
    fn read(said: &str) -> Option<Self> {
        let figure = |name: &str| {
            said.lines()
                .find_map(|line| {
                    line.strip_prefix("stat::")?
                        .strip_prefix(name)?
                        .strip_prefix(':')
                })?
                .trim()
                .parse()
                .ok()
        };
        Some(Self {
            inputs: figure("number_of_executed_units")?,
            inputs_per_second: figure("average_exec_per_sec")?,
            new: figure("new_units_added")?,
            slowest_seconds: figure("slowest_unit_time_sec")?,
            memory_mb: figure("peak_rss_mb")?,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inputs,
            inputs_per_second,
            new,
            slowest_seconds,
            memory_mb,
        } = self;
        write!(
            f,
            "clean: {inputs} inputs, {inputs_per_second} a second, {new} new ones kept, \
             the slowest took {slowest_seconds} s, at most {memory_mb} MB"
        )
    }
}

/// What to say of a target that has failed: why, where the input lies, and how to run it again.
fn failure(name: &str, said: &str, program: &Path, log: &Path) -> String {
    let why = said
        .lines()
        .skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR: libFuzzer"))
        .take_while(|line| !line.contains("stack backtrace:"))
        .take(3)
        .collect::<Vec<_>>()
        .join("\n  ");
    let input = said
        .lines()
        .find_map(|line| Some(line.split_once("Test unit written to ")?.1));
    let again = match input {
        Some(input) => format!(
            "the input:    {}\nrun it again: {} {}",
            shown(Path::new(input)).display(),
            shown(program).display(),
            shown(Path::new(input)).display(),
        ),
        None => "it has left no input".to_owned(),
    };
    format!(
        "fuzzing {name} has failed:\n  {why}\n{again}\nall it said:  {}",
        shown(log).display()
    )
}

/// Below the target directory, whatever is made here: nothing in the work tree changes.
fn folder(name: &str) -> PathBuf {
    target_dir().join("fuzz").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_what_libfuzzer_says() {
        let said = "INFO: Seed: 1\n#9\tDONE cov: 5\nstat::number_of_executed_units: 1200\n\
                    stat::average_exec_per_sec:     40\nstat::new_units_added:          7\n\
                    stat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              50\n";
        let figures = Figures::read(said).unwrap();
        assert_eq!(
            figures.to_string(),
            "clean: 1200 inputs, 40 a second, 7 new ones kept, the slowest took 0 s, at most 50 MB"
        );
        assert_eq!(Figures::read("INFO: Seed: 1\n"), None);
    }

    #[test]
    fn a_failure_says_how_to_run_it_again() {
        let check = |said: &str, expect: &str| {
            let failure = failure("body", said, Path::new("body"), Path::new("body.log"));
            assert_eq!(failure, expect);
        };
        check(
            "#1 NEW\nthread 'main' panicked at targets/body.rs:9:5:\nno room\nstack backtrace:\n  0: main\n==7== ERROR: \
             libFuzzer: deadly signal\nartifact_prefix='finds/'; Test unit written to finds/crash-1\n",
            "fuzzing body has failed:\n  thread 'main' panicked at targets/body.rs:9:5:\n  no room\n\
             the input:    finds/crash-1\nrun it again: body finds/crash-1\nall it said:  body.log",
        );
        check(
            "==7== ERROR: libFuzzer: out-of-memory\n",
            "fuzzing body has failed:\n  ==7== ERROR: libFuzzer: out-of-memory\n\
             it has left no input\nall it said:  body.log",
        );
    }
}
