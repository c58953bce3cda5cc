//! Commands and flags.

use anyhow::Context;
use catchpoint_graphite_host::app::{App, Options};
use catchpoint_graphite_host::instance::Limits;
use catchpoint_graphite_host::manifest::Manifest;
use catchpoint_graphite_host::variables::from_environment;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Brings Catchpoint results into Graphite: runs the Spin component without Spin.
///
/// Everything comes from the manifest: the component, its schedule, files, variables and where it
/// may send requests. Give a variable its value with SPIN_VARIABLE_<NAME> in the environment.
#[derive(Debug, Parser)]
#[command(name = "catchpoint-graphite", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct Common {
    /// The manifest.
    #[arg(long, global = true, value_name = "FILE", default_value = "spin.toml")]
    pub manifest: PathBuf,
    /// The folder with config_catchpoint.yaml and config_graphite.yaml, instead of the one that
    /// the manifest mounts at /config.
    #[arg(long, global = true, value_name = "DIR")]
    pub config: Option<PathBuf>,
    /// Keeps what the component remembers, and compiled code.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = ".catchpoint-graphite"
    )]
    pub state: PathBuf,
    /// How much memory an instance may have, in MiB.
    #[arg(long, global = true, value_name = "MIB", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub memory_mib: u32,
    /// How long an instance may run, in seconds.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 900,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline: u64,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Collects on the manifest's schedule and serves its routes, until stopped.
    Up(Up),
    /// Collects once, now, and prints the run report. Exit code 0 also when another run is under
    /// way and this one does nothing, 1 when something failed, 64 when the configuration is wrong.
    Run {
        /// Print the report as the component gives it.
        #[arg(long)]
        json: bool,
    },
    /// Fills a span of time that lies back with what Catchpoint still has, beside the regular runs
    /// and within the API's limits. The same command goes on where it was stopped.
    Backfill(Backfill),
    /// Validates the configuration and prints what it means. Exit code 64 when it is wrong.
    Check,
}

#[derive(Debug, Args)]
pub struct Up {
    /// Where to serve the manifest's HTTP routes.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// How long a run that is under way may go on after SIGINT or SIGTERM, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub grace: u64,
}

#[derive(Debug, Args)]
pub struct Backfill {
    /// The beginning, in UTC: 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// The end, which is not filled itself; now at the latest.
    #[arg(long, value_name = "TIME")]
    pub to: String,
    /// Stop with exit code 1 when the API's limits leave no calls but those of the regular runs,
    /// instead of waiting for the next hour or day.
    #[arg(long)]
    pub no_wait: bool,
}

impl Cli {
    /// The application that the flags and the environment describe.
    pub fn app(&self) -> anyhow::Result<App> {
        let common = &self.common;
        let manifest = Manifest::load(&common.manifest)?;
        let (variables, unknown) = from_environment(&manifest, environment());
        for name in unknown {
            tracing::warn!("{name} is set, and the manifest declares no such variable");
        }
        let memory = usize::try_from(u64::from(common.memory_mib) << 20)
            .context("`--memory-mib` is more than this machine can address")?;
        let options = Options {
            variables,
            config: common.config.clone(),
            limits: Limits {
                memory,
                deadline: Duration::from_secs(common.deadline),
            },
            ..Options::new(&common.state)
        };
        Ok(App::new(manifest, &options)?)
    }
}

/// The environment, without what is not text: no name or value that matters here is.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
