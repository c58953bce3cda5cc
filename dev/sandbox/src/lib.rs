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
//! * `test_type`: the types a test can have
//! * `nodes`: the monitoring nodes and where they stand
//! * `metrics`: the metric names of each test type
//! * `results`: which results a window of time holds, in order or shuffled
//! * `curve`: the values of one result: day and night, noise, outages
//! * `noise`: the random numbers behind it all, drawn from a seed
//! * `truth`: everything the world produced, as datapoints
//! * `stamp`: times as the API writes and reads them
//!
//! The API:
//! * `sandbox`: one call from arrival to answer
//! * `asked`: a request, understood
//! * `reply`: the answer, its body made while it is read
//! * `token`: v1's bearer tokens
//! * `v1`, `v2`: the two dialects
//! * `query`: what a call of v2 asks for
//! * `row`: one result as the values of an answer
//! * `limits`: calls a second, a minute, an hour and a day
//! * `faults`: failures on demand
//! * `calls`: what was asked
//! * `served`: what was answered
//! * `control`: the `/sandbox/…` paths for tests that live in another process
//!
//! The edges:
//! * `clock`: real time, or time that a test drives
//! * `server`: HTTP around the sandbox
//! * `config`: the original script's config files, pointing here

mod asked;
mod calls;
mod clock;
mod config;
mod control;
mod curve;
mod faults;
mod limits;
mod metrics;
mod nodes;
mod noise;
mod query;
mod reply;
mod results;
mod row;
mod sandbox;
mod served;
mod server;
mod stamp;
mod test_type;
mod token;
mod truth;
mod v1;
mod v2;
mod world;

pub use asked::Kind;
pub use calls::Call;
pub use clock::Clock;
pub use config::{ConfigError, write_config};
pub use faults::{Effect, Rule};
pub use limits::{Limits, Peak};
pub use nodes::Node;
pub use reply::{Body, Outcome, Reply};
pub use sandbox::{NextLink, Sandbox, Settings};
pub use served::Tally;
pub use server::Server;
pub use test_type::TestType;
pub use token::TokenTrouble;
pub use truth::Datapoint;
pub use world::{Test, World, WorldBuilder};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a thread died holding the lock: every change that is made under a lock of
/// this crate is complete after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
