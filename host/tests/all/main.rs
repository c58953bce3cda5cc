//! The host from outside: a guest that does as it is told (`tests/guest`), real sockets, the binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod command;
mod guest;
mod manifest;
mod network;
mod support;
mod up;
