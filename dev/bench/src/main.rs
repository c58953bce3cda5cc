//! Side-by-side benchmarks: ours against the plain way, in the same run, so that their ratio means
//! something on a noisy machine. `cargo xtask bench` builds all that is needed and runs this.
//!
//! # Layout
//! - [`component`]: an answer of more than 200 MB through the component: memory, samples a second
//! - [`mapping`]: answers to lines, against a tree of values and against Python
//! - [`relay`]: lines through the relay, against socat and carbon-c-relay
//! - [`world`]: what the sandbox answers with
//! - [`sink`]: what takes lines as fast as they come
//! - [`table`]: medians, ratios, the files under `target/bench`

mod component;
mod mapping;
mod relay;
mod sink;
mod table;
mod world;

use std::process::ExitCode;

use anyhow::Result;

const NAMES: [&str; 3] = ["mapping", "relay", "component"];
/// Wrong usage, as in BSD's sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let only = std::env::args().nth(1);
    if let Some(only) = only.as_deref().filter(|only| !NAMES.contains(only)) {
        eprintln!("error: no benchmark `{only}`, only {}", NAMES.join(", "));
        return ExitCode::from(USAGE);
    }
    match run(only.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(only: Option<&str>) -> Result<()> {
    let wanted = |name| only.is_none_or(|only| only == name);
    println!("Medians of interleaved runs. Other load moves the figures; the ratios hold.");
    if wanted("mapping") {
        table::finish("mapping", Some(mapping::BASE), &mapping::run()?)?;
    }
    if wanted("relay") {
        let (rows, base) = relay::run()?;
        table::finish("relay", Some(base), &rows)?;
    }
    if wanted("component") {
        let component = component::run()?;
        table::finish("component", None, &component.rows)?;
        component.judge()?;
    }
    Ok(())
}
