//! What was asked and answered.

use std::collections::VecDeque;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::asked::Kind;
use crate::lock;

/// One call and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// When it arrived, by the sandbox's clock.
    pub at: DateTime<Utc>,
    /// What it was for.
    pub kind: Kind,
    /// The tests that it asked for.
    pub tests: Vec<u64>,
    /// The HTTP status of the answer; `None` if the connection was refused.
    pub status: Option<u16>,
}

/// The last calls. A sandbox that runs for weeks must not grow without end.
#[derive(Default)]
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
