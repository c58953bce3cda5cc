//! `catchpoint-sandbox`: a Catchpoint API on this machine. The library does it all; here are the
//! flags, what is said at start and stop, and the signals.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use catchpoint_sandbox::{Clock, ConfigError, Limits, Sandbox, Settings, World, write_config};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Bad usage, as sysexits.h has it.
const USAGE: u8 = 64;

/// A Catchpoint API to develop, test and demonstrate against: v1 at /ui/api, v2 at /api/v2, what
/// was asked and answered at /sandbox/{truth,served,calls,faults}.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where to listen: a loopback address; port 0 takes any free port
    #[arg(long, default_value = "127.0.0.1:8089", value_parser = loopback)]
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
    /// The client id that API v1 takes
    #[arg(long, default_value = "sandbox-client")]
    client_id: String,
    /// The client secret that API v1 takes
    #[arg(long, default_value = "sandbox-secret")]
    client_secret: String,
    /// The bearer key that API v2 takes
    #[arg(long, default_value = "sandbox-key")]
    api_key: String,
    /// Take any number of calls, not 7 a second, 20 a minute, 500 an hour and 2000 a day
    #[arg(long)]
    no_limits: bool,
    /// Write config_catchpoint.yaml and config_graphite.yaml for this sandbox into a folder
    #[arg(long, value_name = "DIR")]
    config_out: Option<PathBuf>,
}

/// Prints a line. That nobody reads it any more is no reason to stop.
macro_rules! say {
    ($($what:tt)*) => {
        let _ = writeln!(io::stdout(), $($what)*);
    };
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "an address looks like 127.0.0.1:8089".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(
            "the sandbox has no protection and listens on this machine only: \
             use 127.0.0.1 or [::1]"
                .to_owned(),
        )
    }
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            // If the terminal is gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            if error.is::<ConfigError>() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    let world = World::builder()
        .seed(args.seed)
        .tests_per_type(args.tests_per_type)
        .nodes(args.nodes)
        .interval_minutes(args.interval_minutes)
        .build();
    let settings = Settings {
        client_id: args.client_id,
        client_secret: args.client_secret,
        api_key: args.api_key,
        limits: (!args.no_limits).then(Limits::default),
        ..Settings::default()
    };
    // The signals are caught before anybody can be told that we are there.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        anyhow::Ok((
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ))
    })?;
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("--listen {}: cannot listen there", args.listen))?;
    let address = listener.local_addr()?;
    if let Some(folder) = &args.config_out {
        write_config(folder, address, &world, &settings).context("--config-out")?;
        say!("config: {}", folder.display());
    }
    let sandbox = Arc::new(Sandbox::new(world, Clock::real(), settings));
    let server = Arc::clone(&sandbox).serve(listener)?;
    say!(
        "world:  {} tests on {} nodes each, a run every {} min, seed {}",
        sandbox.world().tests().count(),
        args.nodes,
        args.interval_minutes,
        args.seed,
    );
    say!(
        "limits: {}",
        if args.no_limits {
            "none"
        } else {
            "7/s, 20/min, 500/h, 2000/day"
        }
    );
    say!("API v1: http://{address}/ui/api");
    say!("API v2: http://{address}/api/v2");
    say!("look:   http://{address}/sandbox/{{truth?from=&to=,served,calls,faults}}");
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    drop(server);
    let samples: u64 = sandbox.served().values().map(|tally| tally.samples).sum();
    say!(
        "stopped: {} calls, {samples} samples served",
        sandbox.calls().len()
    );
    Ok(ExitCode::SUCCESS)
}
