//! What was learned about tests that Catchpoint refused, so that it is not learned anew each run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How long a refused test is not asked for, in seconds. Then it is tried again, alone.
const REFUSED_FOR: i64 = 6 * 3600;

/// How long a test that does not go with others is asked for alone, in seconds.
const ALONE_FOR: i64 = 24 * 3600;

/// What is known of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Why Catchpoint refused it when it was asked for alone; none if alone it is answered.
    pub refused: Option<String>,
    /// Epoch second from when on it is tried again.
    pub until: i64,
}

/// What is known of all tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts(BTreeMap<u64, Verdict>);

impl Verdicts {
    /// Why a test is not asked for at `now`, if so.
    pub fn refused(&self, test: u64, now: i64) -> Option<&Verdict> {
        self.0
            .get(&test)
            .filter(|verdict| verdict.refused.is_some() && verdict.until > now)
    }

    /// Whether Catchpoint refused a test when it was asked for last.
    pub fn is_refused(&self, test: u64) -> bool {
        self.0
            .get(&test)
            .is_some_and(|verdict| verdict.refused.is_some())
    }

    /// Whether a test gets a call of its own. One that was refused does, even when its time has
    /// come to be tried again.
    pub fn is_alone(&self, test: u64, now: i64) -> bool {
        self.0
            .get(&test)
            .is_some_and(|verdict| verdict.refused.is_some() || verdict.until > now)
    }

    /// Catchpoint refuses a test even alone.
    pub fn refuse(&mut self, test: u64, reason: String, now: i64) {
        let (refused, until) = (Some(reason), now + REFUSED_FOR);
        self.0.insert(test, Verdict { refused, until });
    }

    /// A test is answered alone, but not together with others.
    pub fn set_alone(&mut self, test: u64, now: i64) {
        let (refused, until) = (None, now + ALONE_FOR);
        self.0.insert(test, Verdict { refused, until });
    }

    /// A test that was refused is answered again. Returns whether that is news.
    pub fn acquit(&mut self, test: u64) -> bool {
        let was_refused = self.is_refused(test);
        if was_refused {
            self.0.remove(&test);
        }
        was_refused
    }

    /// Forgets the tests that are not configured any more.
    pub fn retain(&mut self, configured: impl Fn(u64) -> bool) {
        self.0.retain(|test, _| configured(*test));
    }
}
