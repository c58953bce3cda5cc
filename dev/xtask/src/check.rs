//! `lint` and `test`: everything that must hold before a change goes in.

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    build, command,
    command::{WASM, cargo},
    fuzz,
    progress::seconds,
    setup,
};

/// Formatting, clippy for the machine, for wasm and for the fuzz targets, documentation.
pub fn lint() -> Result<ExitCode> {
    let mut checks = Checks::default();
    checks.lint();
    Ok(checks.end())
}

/// Everything. With a filter, only the tests whose name contains it.
pub fn test(filter: Option<&str>) -> Result<ExitCode> {
    let mut checks = Checks::default();
    checks.check("set-up", || setup::run().map(drop));
    checks.is_over = checks.has_failed();
    if filter.is_none() {
        checks.lint();
    }
    // The tests of one package run what others build, which `cargo test` would not do.
    checks.check("build", || {
        build::for_running()?;
        build::wasi_command()
    });
    checks.cargo(
        "tests",
        cargo(["test", "--workspace", "--locked", "--no-fail-fast"]).args(filter),
    );
    Ok(checks.end())
}

/// Checks one after the other. All are run even when one fails, except that nothing is built or
/// tested on a machine that could not be set up.
#[derive(Default)]
struct Checks {
    done: Vec<Done>,
    /// Nothing more is to be done.
    is_over: bool,
}

struct Done {
    title: &'static str,
    time: Duration,
    failure: Option<String>,
}

impl Checks {
    fn lint(&mut self) {
        self.cargo("format", &mut cargo(["fmt", "--all", "--check"]));
        self.cargo(
            "clippy",
            cargo(["clippy", "--workspace", "--all-targets", "--locked"]).args(DENY),
        );
        self.check("clippy for wasm", || {
            setup::wasm_target()?;
            let component = ["clippy", "--locked", "--package", "catchpoint-graphite"];
            command::run(
                cargo(component)
                    .args(["--lib", "--target", WASM])
                    .args(DENY),
            )?;
            command::run(
                cargo(component)
                    .args(["--bin", "catchpoint-graphite-command"])
                    .args(["--no-default-features", "--features", "command"])
                    .args(["--target", WASM])
                    .args(DENY),
            )
        });
        self.check("fuzz targets", fuzz::lint);
        self.cargo(
            "documentation",
            cargo(["doc", "--workspace", "--no-deps", "--locked"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        );
    }

    fn cargo(&mut self, title: &'static str, command: &mut Command) {
        self.check(title, || command::run(command));
    }

    fn check(&mut self, title: &'static str, work: impl FnOnce() -> Result<()>) {
        if self.is_over {
            return;
        }
        let start = Instant::now();
        let failure = work().err().map(|error| format!("{error:#}"));
        if let Some(failure) = &failure {
            eprintln!("\nerror: {failure}");
        }
        self.done.push(Done {
            title,
            time: start.elapsed(),
            failure,
        });
    }

    fn has_failed(&self) -> bool {
        self.done.iter().any(|done| done.failure.is_some())
    }

    /// Prints what was done, and gives the exit code.
    fn end(self) -> ExitCode {
        println!();
        for done in &self.done {
            let mark = if done.failure.is_none() {
                "ok"
            } else {
                "FAILED"
            };
            println!("{:<16} {mark:<7} {:>12}", done.title, seconds(done.time));
        }
        for failure in self.done.iter().filter_map(|done| done.failure.as_ref()) {
            println!("\n{failure}");
        }
        ExitCode::from(u8::from(self.has_failed()))
    }
}

/// Warnings of clippy are errors.
const DENY: [&str; 3] = ["--", "-D", "warnings"];
