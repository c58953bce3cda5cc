//! What `deploy/` holds, checked by the programs that will read it, and the ways to run that the
//! docs describe.
//!
//! # Layout
//! - `tools`: the programs that the tests call, and a pipeline into a carbon stand-in
//! - `files`: systemd, Kubernetes and the manifest for Fermyon, by their own linters
//! - `docker`: the images and the compose file
//! - `debian`: the package, installed by dpkg, and the programs run from there
//! - `graphite`: `deploy/graphite` in a real carbon
//! - `wasi`: the command build under the real wasmtime
//! - `http_api`: `/collect` and `/status` over HTTP
//! - `cluster`: a real carbon-c-relay before two real carbons
//! - `dashboards`: every query of Grafana's and graphite-web's dashboards, on data of the demo
//! - `alerts`: the rules for Prometheus, by promtool and the real `/metrics`
//! - `docs`: every command and configuration in the pages
//! - `pages`: every link in them, and every message that they quote
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod alerts;
mod cluster;
mod dashboards;
mod debian;
mod docker;
mod docs;
mod files;
mod graphite;
mod http_api;
mod pages;
mod tools;
mod wasi;
