//! What `deploy/` holds, checked by the programs that will read it, and the ways to run that the
//! docs describe.
//!
//! # Layout
//! - `tools`: the programs that the tests call, ours and those that `cargo xtask setup` gets
//! - `pipeline`: a sandbox, a relay and a carbon stand-in, and the figures of a run
//! - `systemd`, `kubernetes`, `docker`, `debian`, `fermyon`, `graphite`: the files, one test file for each
//!   folder
//! - `wasi`: the command build under the real wasmtime
//! - `endpoint`: `/collect` and `/status` over HTTP
//! - `cluster`: a real carbon-c-relay before two real carbons
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod cluster;
mod debian;
mod docker;
mod endpoint;
mod fermyon;
mod graphite;
mod kubernetes;
mod pipeline;
mod systemd;
mod tools;
mod wasi;
