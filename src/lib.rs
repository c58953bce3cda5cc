//! Brings Catchpoint synthetic-monitoring results into Graphite: the Spin component and its core.
//!
//! # Layout
//! In the order of the data's way:
//! - [`config`] the two YAML files and the host's variables, validated
//! - [`run`] one collection run, top to bottom
//! - [`catchpoint`] the API: token, limits, retries, reading answers
//! - [`graphite`] a measured value as a line
//! - [`webhook`] one result that Catchpoint pushes, top to bottom
//! - [`relay`] lines to the relay; [`retry`] when a request is sent again
//! - [`state`] what is kept between runs, and the lease
//! - [`http_api`] the HTTP interface; [`check`] what a configuration means, [`online_check`] whether
//!   it works
//! - [`host`] what all of it needs from the world outside; only there are Spin and WASI named
//! - [`hint`] what to do about a failure
//! - [`time_range`] a past time range
//!
//! The wasm component's exports are in `component`, the command build for plain WASI in `main.rs`.

pub mod catchpoint;
pub mod check;
#[cfg(all(target_family = "wasm", feature = "component"))]
mod component;
pub mod config;
pub mod graphite;
pub mod hint;
pub mod host;
pub mod http_api;
pub mod online_check;
pub mod relay;
pub mod retry;
pub mod run;
pub mod state;
pub mod time_range;
pub mod webhook;
