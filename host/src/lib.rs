//! Runs the component of this repository, as `spin.toml` describes it, where no Spin is installed.
//!
//! It is the same wasm that `spin up` runs. This runner offers it what Spin does: WASI 0.2, outgoing
//! HTTP to `allowed_outbound_hosts`, variables, the key-value store and a read-only folder; and it
//! fires its cron and HTTP triggers. Whatever else Spin's manifest can say is refused.
//!
//! # Layout
//! - [`manifest`]: `spin.toml`, read and validated
//! - [`app`]: the application, ready to be fired; start here
//! - `component`: compiling, linking, the cache of compiled code
//! - [`instance`]: one run: its limits, how it ends; `imports`: what it sees of the world
//! - [`outbound`]: where requests may go; [`outgoing`] lets them through, `client` sends them
//! - [`schedule`]: when the cron trigger fires
//! - [`variables`]: values, and texts made of them
//! - [`store`]: the key-value store on disk
//! - [`output`]: what the guest prints
//! - `bindings`: generated from WIT

pub mod app;
mod bindings;
mod client;
mod component;
mod imports;
pub mod instance;
pub mod manifest;
pub mod outbound;
pub mod outgoing;
pub mod output;
pub mod schedule;
pub mod store;
pub mod variables;

pub use client::CaError;
pub use component::CompileError;
