//! Runs the component of this repository, as `spin.toml` describes it, where no Spin is installed.
//!
//! It is the same wasm that `spin up` runs. This runner offers it what Spin does: WASI 0.2, outgoing
//! HTTP to `allowed_outbound_hosts`, variables, the key-value store and a read-only folder; and it
//! fires its cron and HTTP triggers. Whatever else Spin's manifest can say is refused.
//!
//! # Layout
//! - [`app`]: the application, ready to be fired; start here
//! - [`manifest`]: `spin.toml`, read and validated; [`variables`], [`schedule`]: values in it
//! - [`options`]: what the user decides beside it; [`error`]: what can go wrong
//! - `component`: compiling, linking, the cache of compiled code
//! - `instance`: one run: its limits, how it ends; `imports`: what it sees of the world; `lease`
//! - `shared`: what all instances share; [`stats`]: what they have done
//! - `outbound`: where requests may go; `outgoing` lets them through, `client` sends them,
//!   `origin` says what failed
//! - [`store`]: the key-value store on disk
//! - `output`: what the guest prints
//! - `bindings`: generated from WIT

pub mod app;
mod bindings;
mod client;
mod component;
pub mod error;
mod imports;
mod instance;
mod lease;
pub mod manifest;
pub mod options;
mod origin;
mod outbound;
mod outgoing;
mod output;
pub mod schedule;
mod shared;
pub mod stats;
pub mod store;
pub mod variables;
