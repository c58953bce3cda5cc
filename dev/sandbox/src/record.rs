//! What was asked and answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::asked::Kind;
use crate::lock;
use crate::test_type::TestType;

/// One call and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// When it arrived, by the sandbox's clock.
    pub at: DateTime<Utc>,
    /// What it was for.
    pub kind: Kind,
    /// The tests that it asked for.
    pub tests: Vec<u64>,
    /// The HTTP status of the answer; `None` if the connection was refused.
    pub status: Option<u16>,
    /// The fault that decided the answer, else the delay that was put before it. A 429 without one
    /// is from the limits.
    pub fault: Option<String>,
    /// Whether it came with what the endpoint wants: client id and secret, a good token, or the key.
    pub credentials_ok: bool,
}

/// The last calls. A sandbox that runs for weeks must not grow without end.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<VecDeque<Call>>);

/// How many calls are remembered: 50 days of a full quota.
const REMEMBERED: usize = 100_000;

impl Calls {
    pub fn record(&self, call: Call) {
        let mut calls = lock(&self.0);
        if calls.len() >= REMEMBERED {
            calls.pop_front();
        }
        calls.push_back(call);
    }

    pub fn all(&self) -> Vec<Call> {
        lock(&self.0).iter().cloned().collect()
    }
}

/// What was served of one test type. A result that is asked for twice counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Results: items of an answer.
    pub items: u64,
    /// Values that are numbers.
    pub samples: u64,
    /// Values that are null.
    pub nulls: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Served(Mutex<BTreeMap<TestType, Tally>>);

impl Served {
    pub fn count(&self, kind: TestType, samples: usize, nulls: usize) {
        let mut tallies = lock(&self.0);
        let tally = tallies.entry(kind).or_default();
        tally.items += 1;
        tally.samples += samples as u64;
        tally.nulls += nulls as u64;
    }

    pub fn all(&self) -> BTreeMap<TestType, Tally> {
        lock(&self.0).clone()
    }
}
