//! `lint`, `test`, `faults`, `fuzz` and `deny`: everything that must hold before a change goes in.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{target_dir, workspace};

use crate::{
    build,
    run::{Steps, cargo, quiet, shown, time},
    setup::{self, WASM},
};

/// The package of the fuzz targets: a workspace of its own, because of its flags.
const FUZZ: &str = "--manifest-path relay/fuzz/Cargo.toml";

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
    if quiet(&mut cargo("nextest --version")).is_err() {
        return shown(cargo("test --workspace --locked --no-fail-fast").args(filter));
    }
    // Many tests wait for other programs more than they compute.
    let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
    let mut nextest = cargo("nextest run --workspace --locked --no-fail-fast");
    let done = shown(
        nextest
            .arg(format!("--test-threads={threads}"))
            .args(filter),
    );
    slowest()?;
    done?;
    // What nextest cannot run.
    shown(cargo("test --workspace --locked --doc --quiet").args(filter))
}

/// Prints the ten tests that took longest, from the report that `.config/nextest.toml` asks for.
fn slowest() -> Result<()> {
    let report = target_dir().join("nextest/default/junit.xml");
    let text =
        fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    let attribute = |test: &str, name: &str| -> Option<String> {
        let (_, rest) = test.split_once(&format!(" {name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let test = |test: &str| -> Option<(f64, String)> {
        let names = [attribute(test, "classname")?, attribute(test, "name")?];
        Some((attribute(test, "time")?.parse().ok()?, names.join(" ")))
    };
    let mut tests: Vec<_> = text.split("<testcase").skip(1).filter_map(test).collect();
    tests.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    println!("\nThe slowest of {} tests:", tests.len());
    for (seconds, name) in tests.iter().take(10) {
        println!("{seconds:>8.1} s  {name}");
    }
    Ok(())
}

/// The table of the relay's faults.
pub fn faults() -> Result<()> {
    shown(&mut cargo(
        "test --locked --package catchpoint-graphite-relay --test faults",
    ))
}

/// Runs the relay's fuzz targets with cargo-fuzz and the pinned compiler, one after the other.
/// Without a sanitizer no nightly is needed: the relay has no unsafe code, and the targets look for
/// wrong answers and panics. New inputs stay under the target directory.
pub fn fuzz(seconds: u32, only: Option<&str>) -> Result<()> {
    setup::fuzz(&Steps::new())?;
    let targets = quiet(&mut cargo("fuzz list --fuzz-dir relay/fuzz"))?;
    let is_wanted = |name: &&str| only.is_none_or(|only| only == *name);
    let targets: Vec<&str> = targets.lines().filter(is_wanted).collect();
    if targets.is_empty() {
        bail!("there is no fuzz target {}", only.unwrap_or_default());
    }
    for target in targets {
        let found = target_dir().join("fuzz/corpus").join(target);
        fs::create_dir_all(&found)?;
        shown(
            cargo("fuzz run --fuzz-dir relay/fuzz --sanitizer none --target-dir")
                .arg(target_dir().join("fuzz/build"))
                .arg(target)
                // New inputs go to the first folder.
                .arg(found)
                .arg(workspace().join("relay/fuzz/corpus").join(target))
                // All inputs together take milliseconds.
                .args(["--", "-timeout=10"])
                .arg(format!("-max_total_time={seconds}")),
        )?;
    }
    Ok(())
}

/// What `deny.toml` says about the crates in Cargo.lock. Without the network's database of advisories
/// the rest is checked all the same, and the command fails: it must not look as if all were well.
pub fn deny() -> Result<()> {
    setup::cargo_tool(&Steps::new(), "cargo-deny", setup::CARGO_DENY)?;
    shown(&mut cargo("deny --workspace check bans licenses sources"))?;
    quiet(&mut cargo("deny --workspace fetch db")).context(
        "licences, duplicates and sources are well, but ADVISORIES ARE NOT CHECKED: RustSec's \
         database cannot be fetched; try again where github.com is reached, as in CI",
    )?;
    shown(&mut cargo("deny --workspace check advisories"))
}

/// Checks one after the other. All are run even when one fails.
#[derive(Default)]
struct Checks(Vec<(&'static str, Duration, Option<String>)>);

impl Checks {
    fn lint(&mut self) {
        self.cargo("format", "fmt --all --check");
        self.cargo(
            "clippy",
            "clippy --workspace --all-targets --locked -- -D warnings",
        );
        self.check("clippy for wasm", || {
            setup::wasm_target(&Steps::new())?;
            let clippy = format!("clippy --locked -p catchpoint-graphite --target {WASM}");
            let command =
                "--bin catchpoint-graphite-command --no-default-features --features command";
            shown(&mut cargo(&format!("{clippy} --lib -- -D warnings")))?;
            shown(&mut cargo(&format!("{clippy} {command} -- -D warnings")))
        });
        self.check("fuzz targets", || {
            shown(&mut cargo(&format!("fmt --check {FUZZ}")))?;
            let mut clippy = cargo(&format!("clippy --locked --bins {FUZZ} --target-dir"));
            let folder = target_dir().join("fuzz/lint");
            shown(clippy.arg(folder).args(["--", "-D", "warnings"]))
        });
        self.check("documentation", || {
            let mut doc = cargo("doc --workspace --no-deps --locked");
            shown(doc.env("RUSTDOCFLAGS", "-D warnings"))
        });
    }

    fn cargo(&mut self, title: &'static str, arguments: &str) {
        self.check(title, || shown(&mut cargo(arguments)));
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
