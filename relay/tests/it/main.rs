//! The relay on real sockets: posts in, carbon's bytes out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod attack;
#[allow(dead_code, reason = "the other tests use the rest of it")]
mod common;
mod endurance;
mod forward;
mod healthcheck;
mod http_api;
mod life;
mod metrics;
mod server;
