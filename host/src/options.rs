//! What the user decides beside the manifest.

use std::path::PathBuf;

/// The flags that an application is made with.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The folder with config_catchpoint.yaml and config_graphite.yaml, instead of the one that the
    /// manifest mounts.
    #[arg(long, global = true, value_name = "DIR")]
    pub config: Option<PathBuf>,
    /// Keeps the component's state and compiled code; only this user can read it.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = ".catchpoint-graphite"
    )]
    pub state: PathBuf,
    /// A PEM file with an authority to trust beside the public ones, for the relay or a proxy.
    /// Can be given several times.
    #[arg(long = "ca-file", global = true, value_name = "FILE")]
    pub ca_files: Vec<PathBuf>,
    /// How much memory a run may have, in MiB.
    #[arg(long, global = true, value_name = "MIB", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub memory_mib: u32,
    /// How long a run may take, in seconds.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 900,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline: u64,
}
