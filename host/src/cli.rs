//! Commands and flags.

use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::error::Result;
use catchpoint_graphite_host::manifest::Manifest;
use catchpoint_graphite_host::options::Options;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::{Shell, generate_to};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Brings Catchpoint results into Graphite: runs the Spin component without Spin.
///
/// The manifest names the component, its schedule, its configuration folder, its variables and where
/// it may send requests.
#[derive(Debug, Parser)]
#[command(
    name = "catchpoint-graphite",
    version,
    max_term_width = 100,
    after_help = "Environment:\n  \
        SPIN_VARIABLE_<NAME>    the value of a variable of the manifest\n  \
        HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY\n                          \
        proxies, as curl reads them; never for this machine itself\n  \
        RUST_LOG                what is logged: a level (error, warn, info, debug), or one for each\n                          \
        part, such as `warn,component=debug`\n  \
        NO_COLOR                no colors\n\n\
        Exit codes: 0 success, 1 failure, 2 partial success of `run`, 64 wrong usage or configuration"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct Common {
    /// The manifest; by default `spin.toml` in this folder. `check` and `tests` take that of the
    /// package, /etc/catchpoint-graphite/spin.toml, where there is none here.
    #[arg(long, global = true, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    #[command(flatten)]
    pub options: Options,
    /// How long a run may still take after SIGINT or SIGTERM to end its call, in seconds.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10)]
    pub grace: u64,
    /// How log lines are written.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: Format,
    /// Only errors: no progress, and of `run` no report unless something failed.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Time, level, message.
    Text,
    /// An object on each line: `timestamp`, `level`, `target`, `message`.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks the configuration, collects at once, then on the manifest's schedule, and serves HTTP
    /// until stopped: the component's paths, /metrics and /healthz.
    Up(Up),
    /// Collects once, now, and prints the run report. Exit code 0 also when another run is
    /// under way and this one does nothing, 2 when a part failed, 1 when nothing was delivered.
    Run {
        /// Print the report as the component gives it.
        #[arg(long)]
        json: bool,
        /// Print the lines for Graphite instead of sending them.
        #[arg(long)]
        dry_run: bool,
    },
    /// Fetches a past time range beside the regular runs and within the API's limits.
    Backfill(Backfill),
    /// Validates the configuration and prints what it means. Exit code 64 when it is wrong.
    Check {
        /// Also try what a run needs: the token, one call to Catchpoint, the relay, and carbon by way
        /// of it.
        #[arg(long)]
        online: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists the tests that Catchpoint has: id, type, folder, name. Those that the key `tests` asks
    /// for, else all that the API key may see. Needs API v2 or later.
    Tests {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Writes the manual pages and shell completions into a folder, for packages.
    #[command(hide = true)]
    Generate { folder: PathBuf },
}

/// Writes the manual pages and completions.
pub fn generate(folder: &Path) -> std::io::Result<()> {
    let mut command = Cli::command();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut command, "catchpoint-graphite", folder)?;
    }
    // `help` needs no pages of its own.
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), folder)
}

#[derive(Debug, Args)]
pub struct Up {
    /// Where to serve HTTP.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Wait for the schedule instead of collecting at the start.
    #[arg(long)]
    pub no_first_run: bool,
}

#[derive(Debug, Args)]
pub struct Backfill {
    /// The beginning, in UTC: 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z.
    #[arg(long, value_name = "TIME", required_unless_present = "cancel")]
    pub from: Option<String>,
    /// The end, which is not fetched itself; now at the latest.
    #[arg(long, value_name = "TIME", required_unless_present = "cancel")]
    pub to: Option<String>,
    /// Cancel the requested range, or all of them without --from and --to.
    #[arg(long)]
    pub cancel: bool,
    /// Stop with exit code 1 when the API's limits leave no calls, instead of waiting for the next
    /// hour or day. The regular runs go on with the range.
    #[arg(long)]
    pub no_wait: bool,
}

/// The manifest of an installed package.
const PACKAGED: &str = "/etc/catchpoint-graphite/spin.toml";

/// The manifest `here`, unless there is none and one of a package is.
fn default_manifest<'p>(here: &'p Path, packaged: &'p Path) -> &'p Path {
    let is_missing = std::fs::symlink_metadata(here)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    match is_missing && packaged.exists() {
        true => packaged,
        false => here,
    }
}

impl Cli {
    /// The manifest. What changes the state must name it: the service of the package has a state of
    /// its own, and a run on another one would not know of it.
    fn manifest(&self) -> &Path {
        let here = Path::new("spin.toml");
        match (&self.common.manifest, &self.command) {
            (Some(named), _) => named,
            (None, Command::Check { .. } | Command::Tests { .. }) => {
                default_manifest(here, Path::new(PACKAGED))
            }
            (None, _) => here,
        }
    }

    /// The application that the flags and the environment describe.
    pub fn app(&self) -> Result<App> {
        let mut manifest = Manifest::load(self.manifest())?;
        // A name or value that is not text is none that matters here.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        for name in manifest.variables.set_from(environment) {
            tracing::warn!("{name} is set, and the manifest declares no such variable");
        }
        App::new(manifest, self.common.options.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::default_manifest;

    #[test]
    fn the_manifest_of_the_package_stands_in_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let (here, packaged) = (folder.path().join("here"), folder.path().join("packaged"));
        let found = || default_manifest(&here, &packaged);
        assert_eq!(found(), here);
        std::fs::write(&packaged, "").unwrap();
        assert_eq!(found(), packaged);
        std::fs::write(&here, "").unwrap();
        assert_eq!(found(), here);
    }
}
