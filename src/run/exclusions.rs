//! What was learned about tests that Catchpoint refused, so that it is not learned anew each run.
//!
//! v1's ranged calls are judged apart: their address is only inferred, and a test that Catchpoint
//! refuses there may be answered by LastRaw all the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catchpoint::query::Query;

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
#[serde(default)]
pub struct Verdicts {
    tests: BTreeMap<u64, Verdict>,
    /// Tests that are refused in v1's ranged calls.
    ranged: BTreeMap<u64, Verdict>,
    /// Tests whose last call failed, and come last for so long, and the same for v1's ranged calls.
    failed: BTreeMap<u64, Verdict>,
    failed_ranged: BTreeMap<u64, Verdict>,
}

impl Verdicts {
    /// Why a test is not asked for at `now`, if so.
    pub fn refused(&self, test: u64, now: i64) -> Option<&Verdict> {
        in_force(&self.tests, test, now)
    }

    /// Why no ranged call is made for a test at `now`, if so.
    pub fn refused_ranged(&self, test: u64, now: i64) -> Option<&Verdict> {
        in_force(&self.ranged, test, now)
    }

    /// Whether Catchpoint refused a test when it was asked for last.
    pub fn is_refused(&self, test: u64) -> bool {
        self.tests
            .get(&test)
            .is_some_and(|verdict| verdict.refused.is_some())
    }

    /// The tests of a type that are asked for at `now`: those that get a call of their own, and those
    /// that go together.
    pub fn split(&self, tests: &[u64], now: i64) -> (Vec<u64>, Vec<u64>) {
        let wanted = tests.iter().copied();
        wanted
            .filter(|test| self.refused(*test, now).is_none())
            .partition(|test| self.is_alone(*test, now))
    }

    /// Whether a test gets a call of its own. One that was refused does, even when its time has
    /// come to be tried again.
    fn is_alone(&self, test: u64, now: i64) -> bool {
        self.tests
            .get(&test)
            .is_some_and(|verdict| verdict.refused.is_some() || verdict.until > now)
    }

    /// Catchpoint refuses a query for one test.
    pub fn refuse(&mut self, query: &Query, reason: &str, now: i64) {
        let of = match query {
            Query::Ranged(..) => &mut self.ranged,
            Query::LastRaw(_) | Query::Explorer(..) => &mut self.tests,
        };
        for test in query.tests() {
            let (refused, until) = (Some(reason.to_owned()), now + REFUSED_FOR);
            of.insert(*test, Verdict { refused, until });
        }
    }

    /// A test is answered alone, but not together with others.
    pub fn set_alone(&mut self, test: u64, now: i64) {
        let (refused, until) = (None, now + ALONE_FOR);
        self.tests.insert(test, Verdict { refused, until });
    }

    /// Catchpoint answers a query: if it is a ranged one, so it does others.
    pub fn answered(&mut self, query: &Query) {
        for test in query.tests() {
            match query {
                Query::Ranged(..) => {
                    self.failed_ranged.remove(test);
                    self.ranged.remove(test);
                }
                Query::LastRaw(_) | Query::Explorer(..) => {
                    self.failed.remove(test);
                }
            }
        }
    }

    /// A query failed, for another reason than a refusal.
    pub fn failed(&mut self, query: &Query, now: i64) {
        let of = match query {
            Query::Ranged(..) => &mut self.failed_ranged,
            Query::LastRaw(_) | Query::Explorer(..) => &mut self.failed,
        };
        for test in query.tests() {
            let (refused, until) = (None, now + ALONE_FOR);
            of.insert(*test, Verdict { refused, until });
        }
    }

    /// Whether such a query failed last time. It then comes after the others, whose time it could
    /// take again.
    pub fn has_failed(&self, query: &Query) -> bool {
        let of = match query {
            Query::Ranged(..) => &self.failed_ranged,
            Query::LastRaw(_) | Query::Explorer(..) => &self.failed,
        };
        query.tests().iter().any(|test| of.contains_key(test))
    }

    /// A test that was refused is answered again. Returns whether that is news.
    pub fn acquit(&mut self, test: u64) -> bool {
        let was_refused = self.is_refused(test);
        if was_refused {
            self.tests.remove(&test);
        }
        was_refused
    }

    /// Forgets what is over of tests that are not configured any more, and what a clock that was
    /// ahead has left.
    pub fn retain(&mut self, configured: impl Fn(u64) -> bool, now: i64) {
        let all = [
            &mut self.tests,
            &mut self.ranged,
            &mut self.failed,
            &mut self.failed_ranged,
        ];
        for verdicts in all {
            verdicts.retain(|test, verdict| {
                (configured(*test) || verdict.until > now) && verdict.until <= now + ALONE_FOR
            });
        }
    }
}

fn in_force(verdicts: &BTreeMap<u64, Verdict>, test: u64, now: i64) -> Option<&Verdict> {
    verdicts
        .get(&test)
        .filter(|verdict| verdict.refused.is_some() && verdict.until > now)
}
