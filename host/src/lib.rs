//! Runs a Spin application, as its `spin.toml` describes it, where no Spin is installed.
//!
//! The component is the same wasm that `spin up` runs. The host offers it what Spin does: WASI 0.2,
//! outgoing HTTP within `allowed_outbound_hosts`, variables, key-value stores and read-only files;
//! and it fires its cron and HTTP triggers.
//!
//! # Layout
//! - [`manifest`]: `spin.toml`, read and validated
//! - [`app`]: the application, ready to be fired; start here
//! - [`component`]: compiling, linking, the cache of compiled code
//! - [`instance`]: one run: its limits, how it ends; `imports`: what it sees of the world
//! - [`schedule`]: when a cron trigger fires
//! - `incoming`: a request on its way to an instance; `answer`: the body of an answer
//! - [`http`]: the server; [`route`]: which path goes where
//! - [`variables`] and [`template`]: values, and texts made of them
//! - [`outbound`]: where requests may go; `sender` sends them
//! - [`key_value`]: the stores on disk
//! - [`files`]: what a component can read
//! - [`output`]: what guests print
//! - `bindings`: generated from WIT
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use catchpoint_graphite_host::app::{App, Options};
//! use catchpoint_graphite_host::manifest::Manifest;
//!
//! let manifest = Manifest::load("spin.toml".as_ref())?;
//! let app = App::new(manifest, &Options::new(".catchpoint-graphite"))?;
//! app.fire_cron(1_700_000_000).await?;
//! # Ok(())
//! # }
//! ```

mod answer;
pub mod app;
mod bindings;
pub mod component;
pub mod files;
pub mod http;
mod imports;
mod incoming;
pub mod instance;
pub mod key_value;
pub mod manifest;
pub mod outbound;
pub mod output;
pub mod route;
pub mod schedule;
mod sender;
pub mod template;
pub mod variables;
