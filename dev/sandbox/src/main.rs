//! `catchpoint-sandbox`: a Catchpoint API on this machine, until it is killed.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use catchpoint_sandbox::{Clock, Limits, Sandbox, Settings, World, write_config};
use clap::Parser;

/// A Catchpoint API to develop, test and demonstrate against: v1 at /ui/api, v2 at /api/v2, what
/// was asked and answered at /sandbox/{truth,served,calls,faults}.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to listen: a loopback address; port 0 takes any free port
    #[arg(long, default_value = "127.0.0.1:8089")]
    listen: SocketAddr,
    /// Another seed is another world
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tests of each of the 16 types
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    tests_per_type: u32,
    /// Nodes that run each test
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    nodes: u32,
    /// Minutes from one run of a test on a node to the next
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    interval_minutes: u32,
    /// Take any number of calls, not 7 a second, 20 a minute, 500 an hour and 2000 a day
    #[arg(long)]
    no_limits: bool,
    /// Write config_catchpoint.yaml and config_graphite.yaml for this sandbox into a folder
    #[arg(long, value_name = "DIR")]
    config_out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // If the terminal is gone there is nobody to tell; the same below.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match serve(&args) {
        Ok(never) => match never {},
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> anyhow::Result<std::convert::Infallible> {
    let world = World::builder()
        .seed(args.seed)
        .tests_per_type(args.tests_per_type)
        .nodes(args.nodes)
        .interval_minutes(args.interval_minutes)
        .build();
    let settings = Settings {
        limits: (!args.no_limits).then(Limits::default),
        ..Settings::default()
    };
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("--listen {}: cannot listen there", args.listen))?;
    let address = listener.local_addr()?;
    if let Some(folder) = &args.config_out {
        write_config(folder, address, &world, &settings)
            .with_context(|| format!("--config-out {}: cannot write there", folder.display()))?;
    }
    let sandbox = Arc::new(Sandbox::new(world, Clock::real(), settings));
    let _server = Arc::clone(&sandbox).serve(listener)?;
    let tests = sandbox.world().tests().count();
    // Callers wait for this line.
    writeln!(
        io::stdout(),
        "{tests} tests; API v1 at http://{address}/ui/api, v2 at http://{address}/api/v2, control \
         at http://{address}/sandbox/{{truth?from=&to=,served,calls,faults}}"
    )?;
    loop {
        thread::park();
    }
}
