//! Brings Catchpoint synthetic-monitoring results into Graphite: the Spin component and its core.
//!
//! # Layout
//! In the order of the data's way:
//! - [`config`] the two YAML files and the host's variables, validated
//! - [`run`] one collection run, top to bottom
//! - [`collector`] makes calls; [`intake`] counts what they bring
//! - [`backfill`] fills a span that lies back; [`progress`] how far it is; [`when`] its times
//! - [`plan`] which calls it makes; [`cursors`], [`coverage`] and [`verdict`] what it knows from earlier runs
//! - [`catchpoint`] the API: token, limits, retries, reading answers as a stream
//! - [`sample`] one measured value; [`graphite`] its line
//! - [`delivery`] lines to the relay
//! - [`report`] what a run did
//! - [`state`] what is kept between runs, and the lease
//! - [`endpoint`] the HTTP interface; [`check`] what a configuration means
//! - [`host`] what all of it needs from the world outside; only there are Spin and WASI named
//!
//! The wasm component's exports are in `component`, the command build for plain WASI in `main.rs`.

pub mod backfill;
pub mod catchpoint;
pub mod check;
pub mod collector;
#[cfg(all(target_family = "wasm", feature = "component"))]
mod component;
pub mod config;
pub mod coverage;
pub mod cursors;
pub mod delivery;
pub mod endpoint;
pub mod graphite;
pub mod host;
pub mod intake;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
pub mod sample;
pub mod state;
pub mod verdict;
pub mod when;
