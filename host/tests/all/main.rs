//! The host from outside: a guest that does as it is told (`tests/guest`), real sockets, the
//! binary, and the component of this repository.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod command;
mod imports;
mod limits;
mod manifest;
mod outgoing;
mod support;
mod triggers;
