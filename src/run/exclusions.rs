//! What was learned from calls that failed, so that no run learns it again.
//!
//! Calls for past time are kept apart from regular calls: a test that Catchpoint refuses there is
//! answered by regular calls all the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catchpoint::query::Query;
use crate::run::purpose::Purpose;

/// How long a refused test is skipped, in seconds. Then it is tried again, alone.
pub const REFUSED_FOR: i64 = 6 * 3600;

/// How long a test is skipped that was refused in a call for requested time, which may just lie too
/// far back, in seconds.
const REQUESTED_REFUSED_FOR: i64 = 15 * 60;

/// How long a test that does not go together with others gets calls of its own, and how long calls
/// are kept small, in seconds. Nothing is learned for longer: the clock was ahead.
const LEARNED_FOR: i64 = 24 * 3600;

/// After so many tests were refused alone and none was answered, the form of the call is refused and
/// not the tests.
pub const REFUSED_ALL: usize = 2;

/// What was learned of one test, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exclusion {
    /// Why Catchpoint refused it, asked for alone; none if it is answered alone.
    pub reason: Option<String>,
    /// Since when, in epoch seconds.
    pub since: i64,
    /// It is tried again after this, in epoch seconds.
    pub until: i64,
    /// How many times it was refused since then.
    times: u8,
    /// The last call for it failed, and not because it was refused.
    failed: bool,
}

impl Exclusion {
    fn is_refused(&self, now: i64) -> bool {
        self.reason.is_some() && is_in_force(self.until, now)
    }

    fn refuse(&mut self, reason: &str, now: i64, seconds: i64) {
        if self.reason.is_none() {
            self.since = now;
        }
        self.reason = Some(reason.to_owned());
        self.until = now + seconds;
        self.times = self.times.saturating_add(1);
    }
}

/// The largest call that Catchpoint is asked for, as far as larger ones did not work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallSize {
    /// Most tests.
    pub tests: Option<usize>,
    /// Longest range, in seconds.
    pub seconds: Option<i64>,
    /// Why larger calls do not work.
    reason: String,
    /// Larger calls are tried again after this, in epoch seconds.
    until: i64,
}

/// What was learned of calls with the same purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Learned {
    tests: BTreeMap<u64, Exclusion>,
    /// No such call is made.
    all: Exclusion,
    size: CallSize,
    /// A call of several tests was answered, and none refused since.
    answers_several: bool,
}

/// What was learned of all calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exclusions {
    /// Of regular calls.
    regular: Learned,
    /// Of calls for past time.
    past: Learned,
}

impl Exclusions {
    /// Why a test is skipped at `now`, if it is.
    pub fn refused(&self, test: u64, purpose: Purpose, now: i64) -> Option<&Exclusion> {
        let of_test = self.of(purpose).tests.get(&test);
        of_test.filter(|exclusion| exclusion.is_refused(now))
    }

    /// Why no call for past time is made at `now`, if so.
    pub fn refused_past(&self, now: i64) -> Option<&Exclusion> {
        Some(&self.past.all).filter(|exclusion| exclusion.is_refused(now))
    }

    /// Whether Catchpoint refused a test in the last such call for it.
    pub fn was_refused(&self, test: u64, purpose: Purpose) -> bool {
        let of_test = self.of(purpose).tests.get(&test);
        of_test.is_some_and(|exclusion| exclusion.reason.is_some())
    }

    /// Whether a test gets a call of its own. One that was refused does, also when it is tried again,
    /// and one that goes alone in regular calls does in all.
    pub fn is_alone(&self, test: u64, purpose: Purpose, now: i64) -> bool {
        let alone = |purpose| {
            let of_test = self.of(purpose).tests.get(&test);
            self.was_refused(test, purpose)
                || of_test.is_some_and(|exclusion| is_in_force(exclusion.until, now))
        };
        alone(Purpose::Regular) || alone(purpose)
    }

    /// Whether such a query should come after the others, so that it does not take their time again:
    /// it failed last time, or one of its tests was refused.
    pub fn comes_last(&self, query: &Query, purpose: Purpose) -> bool {
        let mut tests = query.tests().iter();
        self.has_failed(query, purpose) || tests.any(|test| self.was_refused(*test, purpose))
    }

    /// Whether such a query failed last time for another reason than a refusal.
    pub fn has_failed(&self, query: &Query, purpose: Purpose) -> bool {
        let of = &self.of(purpose).tests;
        let mut tests = query.tests().iter();
        tests.any(|test| of.get(test).is_some_and(|exclusion| exclusion.failed))
    }

    /// How large a call may be at `now`.
    pub fn call_size(&self, purpose: Purpose, now: i64) -> CallSize {
        let size = Some(&self.of(purpose).size);
        let size = size.filter(|size| is_in_force(size.until, now));
        size.cloned().unwrap_or_default()
    }

    /// Whether calls for past time of several tests are known to be answered.
    pub fn past_batches_work(&self) -> bool {
        self.past.answers_several
    }

    /// The sizes of calls that are in force at `now`, in words.
    pub fn size_limits(&self, now: i64) -> Vec<String> {
        let purposes = [
            (Purpose::Regular, "regular call"),
            (Purpose::Gap, "call for past time"),
        ];
        let limits = purposes.into_iter().flat_map(|(purpose, name)| {
            let size = self.call_size(purpose, now);
            let plural = if size.tests == Some(1) { "" } else { "s" };
            let tests = size.tests.map(|tests| format!("{tests} test{plural}"));
            let seconds = size.seconds.map(|seconds| format!("{seconds} s"));
            let limits = [tests, seconds].into_iter().flatten();
            limits.map(move |most| {
                let reason = &size.reason;
                format!("limit in force: at most {most} in a {name}: {reason}")
            })
        });
        limits.collect()
    }

    /// Records that a call of more tests than these does not work. For a day none is made.
    pub fn limit_tests(&mut self, most: usize, purpose: Purpose, reason: &str, now: i64) {
        let size = CallSize {
            tests: Some(most.max(1)),
            reason: reason.to_owned(),
            until: now + LEARNED_FOR,
            ..self.call_size(purpose, now)
        };
        let of = self.of_mut(purpose);
        of.size = size;
        of.answers_several &= most > 1;
    }

    /// Records that a call for a longer range does not work. For a day none is made.
    pub fn limit_seconds(&mut self, most: i64, purpose: Purpose, reason: &str, now: i64) {
        self.of_mut(purpose).size = CallSize {
            seconds: Some(most.max(1)),
            reason: reason.to_owned(),
            until: now + LEARNED_FOR,
            ..self.call_size(purpose, now)
        };
    }

    /// Records that Catchpoint refused a test, asked for alone. Returns how many times it did.
    pub fn refuse(&mut self, test: u64, purpose: Purpose, reason: &str, now: i64) -> u8 {
        let seconds = match purpose {
            Purpose::Regular | Purpose::Gap => REFUSED_FOR,
            Purpose::Requested => REQUESTED_REFUSED_FOR,
        };
        let of_test = self.of_mut(purpose).tests.entry(test).or_default();
        of_test.refuse(reason, now, seconds);
        of_test.times
    }

    /// Records that Catchpoint refuses calls for past time, whatever the test.
    pub fn refuse_past(&mut self, reason: &str, now: i64) {
        self.past.all.refuse(reason, now, REFUSED_FOR);
    }

    /// Records that such calls for a test disturb those for others.
    pub fn ask_alone(&mut self, test: u64, purpose: Purpose, now: i64) {
        let exclusion = Exclusion {
            since: now,
            until: now + LEARNED_FOR,
            ..Exclusion::default()
        };
        self.of_mut(purpose).tests.insert(test, exclusion);
    }

    /// Records that a query failed for another reason than a refusal.
    pub fn fail(&mut self, query: &Query, purpose: Purpose) {
        for test in query.tests() {
            self.of_mut(purpose).tests.entry(*test).or_default().failed = true;
        }
    }

    /// Records that a query was answered. Returns the tests that were refused before.
    pub fn clear(&mut self, query: &Query, purpose: Purpose) -> Vec<u64> {
        let of = self.of_mut(purpose);
        of.all = Exclusion::default();
        of.answers_several |= query.tests().len() > 1;
        let mut cleared = Vec::new();
        for test in query.tests() {
            let Some(exclusion) = of.tests.get_mut(test) else {
                continue;
            };
            exclusion.failed = false;
            if exclusion.reason.is_some() {
                of.tests.remove(test);
                cleared.push(*test);
            }
        }
        cleared
    }

    /// Tries refused tests again in calls for past time.
    pub fn retry_refused(&mut self) {
        let of_tests = &mut self.past.tests;
        of_tests.retain(|_, exclusion| exclusion.reason.is_none());
        self.past.all = Exclusion::default();
    }

    /// Forgets what has expired of tests that are not configured any more.
    pub fn retain(&mut self, configured: impl Fn(u64) -> bool, now: i64) {
        for of in [&mut self.regular, &mut self.past] {
            let tests = &mut of.tests;
            tests.retain(|test, exclusion| configured(*test) || is_in_force(exclusion.until, now));
        }
    }

    fn of(&self, purpose: Purpose) -> &Learned {
        match purpose {
            Purpose::Regular => &self.regular,
            Purpose::Gap | Purpose::Requested => &self.past,
        }
    }

    fn of_mut(&mut self, purpose: Purpose) -> &mut Learned {
        match purpose {
            Purpose::Regular => &mut self.regular,
            Purpose::Gap | Purpose::Requested => &mut self.past,
        }
    }
}

/// Whether something holds at `now` that was learned until a time. What a clock that was ahead has
/// written does not.
fn is_in_force(until: i64, now: i64) -> bool {
    (now + 1..=now + LEARNED_FOR).contains(&until)
}

#[cfg(test)]
mod tests;
