//! The relay: takes Graphite lines over HTTP, keeps them on disk, and carries them to carbon until
//! carbon has confirmed them.
//!
//! ```text
//! server → api → lines → spool → carbon
//! ```
//! A sender is told `202` when its lines would survive a power cut, and from then on nothing short
//! of a broken disk loses them. Sending twice is harmless, because Graphite overwrites a point of
//! the same series and time; so whenever it is not sure, the relay sends again.
//!
//! # Layout
//! - [`config`] flags and `config_graphite.yaml` → settings
//! - [`relay`] the parts put together, started and stopped ([`shutdown`])
//! - [`api`] requests and their answers ([`answer`]: what a stored post is told)
//! - [`server`] connections: TLS, tokens, limits
//! - [`lines`] which lines are fit for carbon, and samples of those that are not
//! - [`spool`] the batches on disk, a log with one position
//! - [`carbon`] from the spool to carbon, with retries and replay
//! - `blocking` work that holds up nothing else
//! - [`clock`] what time it is, and whether that can be
//! - [`metrics`] what is counted; [`log_throttle`] what must not fill the log
//! - [`history`] and [`recent_log`] what was, for the status page
//! - [`host_node`] this machine's node in the relay's own series
//! - [`healthcheck`] asks a running relay whether it is alive

pub mod answer;
pub mod api;
mod blocking;
pub mod carbon;
pub mod clock;
pub mod config;
pub mod healthcheck;
pub mod history;
pub mod host_node;
pub mod lines;
pub mod log_throttle;
pub mod metrics;
pub mod recent_log;
pub mod relay;
pub mod server;
pub mod shutdown;
pub mod spool;
