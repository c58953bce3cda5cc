//! The command build, for any WASI host: one collection, then exit.
//!
//! ```text
//! wasmtime run -S http --dir config::/config --dir state::/state \
//!     --env RELAY_URL=http://127.0.0.1:2080 catchpoint-graphite-command.wasm
//! ```
//!
//! Exit codes: 0 all good, 1 something failed, 64 wrong configuration (1 too where the WASI host knows
//! only success and failure, as wasmtime's command line does). The report goes to stdout as
//! JSON, the log to stderr.

#[cfg(target_family = "wasm")]
fn main() -> std::process::ExitCode {
    use catchpoint_graphite::config::Settings;
    use catchpoint_graphite::host::wasi::Wasi;
    use catchpoint_graphite::run;
    use catchpoint_graphite::run::report::Outcome;

    let settings = match Settings::load(&Wasi) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return std::process::ExitCode::from(64);
        }
    };
    let report = run::collect(&Wasi, &settings);
    if let Ok(json) = serde_json::to_string(&report) {
        println!("{json}");
    }
    std::process::ExitCode::from(u8::from(report.outcome == Outcome::Failed))
}

#[cfg(not(target_family = "wasm"))]
fn main() {
    eprintln!("this program is built for wasm32-wasip2: cargo xtask build");
}
