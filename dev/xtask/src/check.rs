//! `lint`, `test`, `faults`, `fuzz` and `deny`: everything that must hold before a change goes in.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use catchpoint_testbed::{target_dir, workspace};

use crate::{
    build::{self, WASM},
    run::{Steps, cargo, quiet, shown, time},
    setup,
};

/// The package of the fuzz targets: a workspace of its own, because of its flags.
const FUZZ: &str = "relay/fuzz/Cargo.toml";
/// Warnings of clippy are errors.
const DENY: [&str; 3] = ["--", "-D", "warnings"];

/// Formatting, clippy for the machine, for wasm and for the fuzz targets, documentation.
pub fn lint() -> Result<()> {
    let mut checks = Checks::default();
    checks.lint();
    checks.end()
}

/// Everything. With a filter, only the tests whose name contains it.
pub fn test(filter: Option<&str>) -> Result<()> {
    let mut checks = Checks::default();
    checks.check("set-up", setup::all);
    if checks.has_failed() {
        return checks.end();
    }
    if filter.is_none() {
        checks.lint();
    }
    // The tests of one package run what others build, which no test command would do.
    checks.check("build", || {
        let steps = Steps::new();
        build::for_demo(&steps)?;
        steps.step("building the command for WASI hosts", build::wasi_command)
    });
    checks.check("tests", || tests(filter));
    checks.end()
}

/// All tests: with cargo-nextest where it is installed, because it runs the programs of all packages
/// at once, else with cargo alone.
fn tests(filter: Option<&str>) -> Result<()> {
    if quiet(&mut cargo(["nextest", "--version"])).is_err() {
        let mut test = cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
        return shown(test.args(filter));
    }
    let mut nextest = cargo([
        "nextest",
        "run",
        "--workspace",
        "--locked",
        "--no-fail-fast",
    ]);
    // Many tests wait for other programs more than they compute.
    let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
    shown(
        nextest
            .arg(format!("--test-threads={threads}"))
            .args(filter),
    )?;
    // What nextest cannot run.
    let mut doc = cargo(["test", "--workspace", "--locked", "--doc", "--quiet"]);
    shown(doc.args(filter))
}

/// The table of the relay's faults.
pub fn faults() -> Result<()> {
    let test = [
        "test",
        "--locked",
        "--package",
        "catchpoint-graphite-relay",
        "--test",
        "faults",
    ];
    shown(&mut cargo(test))
}

/// Runs the relay's fuzz targets with cargo-fuzz and the pinned compiler, one after the other.
/// Without a sanitizer no nightly is needed: the relay has no unsafe code, and the targets look for
/// wrong answers and panics. New inputs stay under the target directory.
pub fn fuzz(seconds: u32, only: Option<&str>) -> Result<()> {
    let steps = Steps::new();
    setup::fuzz(&steps)?;
    let fuzz = |command: &str| {
        let mut fuzz = cargo(["fuzz", command, "--fuzz-dir", "relay/fuzz"]);
        setup::with_tools(&mut fuzz);
        fuzz
    };
    let targets = quiet(&mut fuzz("list"))?;
    let targets = targets
        .lines()
        .filter(|name| only.is_none_or(|only| only == *name));
    let mut count = 0;
    for target in targets {
        let found = target_dir().join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&found)?;
        shown(
            fuzz("run")
                .args(["--sanitizer", "none", "--target-dir"])
                .arg(target_dir().join("fuzz/build"))
                .arg(target)
                // New inputs go to the first folder.
                .arg(found)
                .arg(workspace().join("relay/fuzz/corpus").join(target))
                // All inputs together take milliseconds.
                .args(["--", "-timeout=10"])
                .arg(format!("-max_total_time={seconds}")),
        )?;
        count += 1;
    }
    if count == 0 {
        bail!("there is no fuzz target {}", only.unwrap_or_default());
    }
    Ok(())
}

/// What `deny.toml` says about the crates in Cargo.lock.
pub fn deny() -> Result<()> {
    setup::cargo_tool(&Steps::new(), "cargo-deny", setup::CARGO_DENY)?;
    shown(setup::with_tools(&mut cargo([
        "deny",
        "--workspace",
        "check",
    ])))
}

/// Checks one after the other. All are run even when one fails.
#[derive(Default)]
struct Checks(Vec<(&'static str, Duration, Option<String>)>);

impl Checks {
    fn lint(&mut self) {
        self.cargo("format", &mut cargo(["fmt", "--all", "--check"]));
        let clippy = ["clippy", "--workspace", "--all-targets", "--locked"];
        self.cargo("clippy", cargo(clippy).args(DENY));
        self.check("clippy for wasm", || {
            setup::wasm_target(&Steps::new())?;
            let clippy = || {
                cargo([
                    "clippy",
                    "--locked",
                    "-p",
                    "catchpoint-graphite",
                    "--target",
                    WASM,
                ])
            };
            shown(clippy().arg("--lib").args(DENY))?;
            shown(
                clippy()
                    .args(["--bin", "catchpoint-graphite-command"])
                    .args(["--no-default-features", "--features", "command"])
                    .args(DENY),
            )
        });
        self.check("fuzz targets", || {
            shown(&mut cargo(["fmt", "--check", "--manifest-path", FUZZ]))?;
            let clippy = [
                "clippy",
                "--locked",
                "--bins",
                "--manifest-path",
                FUZZ,
                "--target-dir",
            ];
            shown(cargo(clippy).arg(target_dir().join("fuzz/lint")).args(DENY))
        });
        let doc = ["doc", "--workspace", "--no-deps", "--locked"];
        self.cargo(
            "documentation",
            cargo(doc).env("RUSTDOCFLAGS", "-D warnings"),
        );
    }

    fn cargo(&mut self, title: &'static str, command: &mut Command) {
        self.check(title, || shown(command));
    }

    fn check(&mut self, title: &'static str, work: impl FnOnce() -> Result<()>) {
        let start = Instant::now();
        let failure = work().err().map(|error| format!("{error:#}"));
        if let Some(failure) = &failure {
            eprintln!("\nerror: {failure}");
        }
        self.0.push((title, start.elapsed(), failure));
    }

    fn has_failed(&self) -> bool {
        self.0.iter().any(|(_, _, failure)| failure.is_some())
    }

    /// Prints what was done; fails if one of the checks has.
    fn end(self) -> Result<()> {
        println!();
        let mut failures = Vec::new();
        for (title, took, failure) in &self.0 {
            let mark = if failure.is_none() { "ok" } else { "FAILED" };
            println!("{title:<16} {mark:<7} {:>12}", time(*took));
            failures.extend(failure.as_deref());
        }
        if failures.is_empty() {
            return Ok(());
        }
        bail!("{}", failures.join("\n\n"))
    }
}
