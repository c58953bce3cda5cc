//! A Catchpoint API to develop, test and demonstrate against.
//!
//! A [`World`] of tests and nodes produces results for ever, all of them a pure function of a seed
//! and the time. A [`Sandbox`] answers the calls of Catchpoint's API v1 and v2 from it, in process
//! ([`Sandbox::handle`]) or over HTTP ([`Server`]), keeps the API's limits, can be told to fail, and
//! records what it was asked. [`Sandbox::truth`] says what a perfect collector would have fetched.
//!
//! # Layout
//!
//! The world, which knows no API:
//! * `world`: tests, their nodes, steps and hops, and the builder that sizes them
//! * `test_type`, `nodes`, `metrics`: what a test can be, where it runs, what it measures
//! * `results`: which results a window of time holds, in order or shuffled
//! * `curve`: the values of one result: day and night, noise, outages
//! * `row`: one result as values of an answer, and as datapoints
//! * `noise`, `stamp`: random numbers drawn from a seed; times as the API writes and reads them
//!
//! The API:
//! * `settings`: how it behaves where the real one is not known
//! * `sandbox`: one call from arrival to answer
//! * `asked`, `reply`: a request, understood; the answer
//! * `api`, `v1`, `v2`: what answers are made from, and the two forms; `token`: v1's bearer tokens
//! * `limits`, `faults`: limits of calls; failures on demand
//! * `record`: what was asked and answered
//!
//! The edges:
//! * `clock`: real time, or time that a test drives
//! * `server`: HTTP around the sandbox, and `control`: the `/sandbox/…` paths for tests that live in
//!   another process
//! * `config`: the original's config files, pointing here

mod api;
mod asked;
mod clock;
mod config;
mod control;
mod curve;
mod faults;
mod limits;
mod list;
mod metrics;
mod nodes;
mod noise;
mod record;
mod reply;
mod results;
mod row;
mod sandbox;
mod server;
mod settings;
mod stamp;
mod test_type;
mod token;
mod v1;
mod v2;
mod world;

pub use asked::Kind;
pub use clock::Clock;
pub use config::write_config;
pub use faults::{Effect, Rule};
pub use limits::Limits;
pub use nodes::Node;
pub use record::Call;
pub use reply::{Body, Reply};
pub use row::Datapoint;
pub use sandbox::Sandbox;
pub use server::Server;
pub use settings::{RangedLists, Settings};
pub use test_type::TestType;
pub use token::TokenTrouble;
pub use world::{Test, World, WorldBuilder};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a thread died holding the lock: every change that is made under a lock of
/// this crate is complete after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
