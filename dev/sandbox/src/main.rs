//! `catchpoint-sandbox`: a Catchpoint API on this machine, until it is killed.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use catchpoint_sandbox::{Clock, Sandbox, Settings, World, write_config};
use clap::Parser;

/// A Catchpoint API to develop, test and demonstrate against: v1 at /ui/api, v2 at /api/v2, what
/// was measured and asked at /sandbox/truth and /sandbox/calls. It takes any number of calls.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to listen: a loopback address; port 0 takes any free port
    #[arg(long, default_value = "127.0.0.1:8089")]
    listen: SocketAddr,
    /// Tests of each of the 16 types
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    tests_per_type: u32,
    /// Nodes that run each test
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    nodes: u32,
    /// Minutes from one run of a test on a node to the next
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    interval_minutes: u32,
    /// Write config_catchpoint.yaml and config_graphite.yaml for this sandbox into a folder
    #[arg(long, value_name = "DIR")]
    config_out: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let world = World::builder()
        .tests_per_type(args.tests_per_type)
        .nodes(args.nodes)
        .interval_minutes(args.interval_minutes)
        .build();
    let settings = Settings {
        limits: None,
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
    println!(
        "{tests} tests; API v1 at http://{address}/ui/api, v2 at http://{address}/api/v2, control \
         at http://{address}/sandbox/{{truth?from=&to=,calls}}"
    );
    loop {
        thread::park();
    }
}
