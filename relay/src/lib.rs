//! The relay: takes Graphite lines over HTTP, keeps them on disk, and carries them to carbon until
//! carbon has confirmed them.
//!
//! ```text
//! inlet → http → lines → spool → carbon
//! ```
//! A sender is told `202` when its lines would survive a power cut, and from then on nothing short
//! of a broken disk loses them. Sending twice is harmless, because Graphite overwrites a point of
//! the same series and time; so whenever there is a doubt, the relay sends again.
//!
//! # Layout
//! - [`config`] flags and `config_graphite.yaml` → settings
//! - [`relay`] the parts put together, started and stopped ([`phase`])
//! - [`inlet`] connections: TLS, limits, who has to go when there are too many
//! - [`access`] who may post: [`tokens`] and [`tls`], read again on SIGHUP
//! - [`http`] requests and their answers ([`answer`]: what a stored post is told)
//! - [`lines`] which lines are fit for carbon
//! - [`rejected`] samples of those that are not
//! - [`spool`] the batches on disk, a log with one position
//! - [`carbon`] from the spool to carbon, with retries and replay
//! - [`clock`] what time it is, and whether that can be
//! - [`metrics`] what is counted, by `names`; [`status`] how it is doing; [`log_throttle`] what must
//!   not fill the log
//! - [`systemd`] notifications to the service manager; [`probe`] asks a running relay how it is

pub mod access;
pub mod answer;
pub mod carbon;
pub mod clock;
pub mod config;
pub mod http;
pub mod inlet;
pub mod lines;
pub mod log_throttle;
pub mod metrics;
mod names;
pub mod phase;
pub mod probe;
pub mod rejected;
pub mod relay;
pub mod spool;
pub mod status;
pub mod systemd;
pub mod tls;
pub mod tokens;
