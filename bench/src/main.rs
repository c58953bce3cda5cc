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

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let only = std::env::args().nth(1);
    let wanted = |name| only.as_deref().is_none_or(|only| only == name);
    println!("Medians of interleaved runs. Other load moves the figures; the ratios hold.");
    if wanted("mapping") {
        table::finish("mapping", &mapping::run()?)?;
    }
    if wanted("relay") {
        table::finish("relay", &relay::run()?)?;
    }
    if wanted("component") {
        let component = component::run()?;
        table::finish("component", &component.rows)?;
        component.judge()?;
    }
    Ok(())
}
