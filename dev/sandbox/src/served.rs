//! What was answered, counted.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::lock;
use crate::test_type::TestType;

/// What was served of one test type. A result counts once it was put into a body that somebody
/// reads; an answer that a fault cuts counts up to about the cut, and a result that is asked for
/// twice counts twice.
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
