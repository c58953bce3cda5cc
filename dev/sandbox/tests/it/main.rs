//! The sandbox as its callers see it.
//!
//! - `answers`: the shape of each kind of answer, to the byte
//! - `laws`: the answers together give exactly the truth, and no call makes the sandbox panic
//! - `serving`: over real sockets
//! - `common`: a sandbox at a fixed time, calls, and answers taken apart again
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod answers;
mod common;
mod laws;
mod serving;
