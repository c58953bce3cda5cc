//! What was learned from calls that Catchpoint refused, so that no run learns it again.
//!
//! Calls for past time are kept apart from regular calls: a test that Catchpoint refuses there is
//! answered by regular calls all the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catchpoint::query::Query;
use crate::run::call::Purpose;
use crate::time_range::TimeRange;

/// How long a refused test is skipped, in seconds. Then it is tried again, alone.
pub const REFUSED_FOR: i64 = 6 * 3600;

/// How long a test that is refused together with others gets calls of its own, in seconds.
const ALONE_FOR: i64 = 24 * 3600;

/// How long a form of call is not tried again, in seconds.
const FORM_FOR: i64 = 24 * 3600;

/// After so many tests were refused alone and none was answered, the form of the call is refused and
/// not the tests.
pub const REFUSED_ALL: usize = 2;

/// What was learned of one test, or of one form of call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exclusion {
    /// Why Catchpoint refused it, asked for alone; none if it is answered alone.
    pub reason: Option<String>,
    /// Since when, in epoch seconds.
    pub since: i64,
    /// It is tried again after this, in epoch seconds.
    pub until: i64,
    /// The last call for it failed, and not because it was refused.
    failed: bool,
}

impl Exclusion {
    fn is_refused(&self, now: i64) -> bool {
        self.reason.is_some() && now < self.until
    }

    fn refuse(&mut self, reason: &str, now: i64, seconds: i64) {
        if self.reason.is_none() {
            self.since = now;
        }
        self.reason = Some(reason.to_owned());
        self.until = now + seconds;
    }
}

/// A query for one test that Catchpoint refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The test.
    pub test: u64,
    /// What the call was for.
    pub purpose: Purpose,
    /// Why it was refused.
    pub reason: String,
}

/// The largest call that Catchpoint is asked for, as far as larger ones did not fit into a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallSize {
    /// Most tests.
    pub tests: Option<usize>,
    /// Longest range, in seconds.
    pub seconds: Option<i64>,
    /// Larger calls are tried again after this, in epoch seconds.
    until: i64,
}

/// What was learned of all tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exclusions {
    /// In regular calls.
    regular: BTreeMap<u64, Exclusion>,
    /// In calls for past time.
    past: BTreeMap<u64, Exclusion>,
    /// Calls for past time, of any test.
    all_past: Exclusion,
    /// Calls for past time of several tests (API v1).
    past_batches: Exclusion,
    /// Such a call was answered.
    past_batches_answered: bool,
    /// The size of regular calls and of calls for past time.
    sizes: [CallSize; 2],
}

impl Exclusions {
    /// Why a test is skipped at `now`, if it is.
    pub fn refused(&self, test: u64, purpose: Purpose, now: i64) -> Option<&Exclusion> {
        let of_test = self.of(purpose).get(&test);
        of_test.filter(|exclusion| exclusion.is_refused(now))
    }

    /// Why no call for past time is made at `now`, if so.
    pub fn refused_past(&self, now: i64) -> Option<&Exclusion> {
        Some(&self.all_past).filter(|exclusion| exclusion.is_refused(now))
    }

    /// Whether calls for past time of several tests may be made at `now`.
    pub fn allows_past_batches(&self, now: i64) -> bool {
        !self.past_batches.is_refused(now)
    }

    /// Whether calls for past time of several tests are known to be answered.
    pub fn past_batches_work(&self, now: i64) -> bool {
        self.past_batches_answered && self.allows_past_batches(now)
    }

    /// How large a call may be at `now`.
    pub fn call_size(&self, purpose: Purpose, now: i64) -> CallSize {
        let [regular, past] = self.sizes;
        let size = match purpose {
            Purpose::Regular => regular,
            Purpose::Gap | Purpose::Requested => past,
        };
        if now < size.until {
            size
        } else {
            CallSize::default()
        }
    }

    /// The sizes of calls that are in force at `now`, in words.
    pub fn size_limits(&self, now: i64) -> Vec<String> {
        let purposes = [
            (Purpose::Regular, "regular call"),
            (Purpose::Gap, "call for past time"),
        ];
        let limits = purposes.into_iter().flat_map(|(purpose, name)| {
            let size = self.call_size(purpose, now);
            let tests = size.tests.map(|tests| format!("{tests} tests"));
            let seconds = size.seconds.map(|seconds| format!("{seconds} s"));
            let because = "because larger answers were too large";
            [tests, seconds]
                .into_iter()
                .flatten()
                .map(move |most| format!("limit in force: at most {most} in a {name}, {because}"))
        });
        limits.collect()
    }

    /// Records that the answer for so many tests did not fit into a page: for a day, half of them are
    /// asked for at most.
    pub fn halve_tests(&mut self, tests: usize, purpose: Purpose, now: i64) {
        let size = CallSize {
            tests: Some((tests / 2).max(1)),
            until: now + FORM_FOR,
            ..self.call_size(purpose, now)
        };
        *self.size_mut(purpose) = size;
    }

    /// Records that the answer for one test did not fit into a page. It is asked for alone, so that
    /// others go together as `before`. Of past time, half the range is asked for at most.
    pub fn halve_range(
        &mut self,
        test: u64,
        range: Option<TimeRange>,
        purpose: Purpose,
        before: CallSize,
        now: i64,
    ) {
        self.ask_alone(test, purpose, now);
        let mut size = CallSize {
            tests: before.tests,
            ..self.call_size(purpose, now)
        };
        if let (Some(range), true) = (range, purpose != Purpose::Regular) {
            size.seconds = Some((range.seconds() / 2).max(1));
            size.until = now + FORM_FOR;
        }
        *self.size_mut(purpose) = size;
    }

    fn size_mut(&mut self, purpose: Purpose) -> &mut CallSize {
        let [regular, past] = &mut self.sizes;
        match purpose {
            Purpose::Regular => regular,
            Purpose::Gap | Purpose::Requested => past,
        }
    }

    /// Whether Catchpoint refused a test in the last regular call for it.
    pub fn is_refused(&self, test: u64) -> bool {
        let of_test = self.regular.get(&test);
        of_test.is_some_and(|exclusion| exclusion.reason.is_some())
    }

    /// The tests that regular calls ask for at `now`: those that get a call of their own, and those
    /// that go together.
    pub fn split(&self, tests: &[u64], now: i64) -> (Vec<u64>, Vec<u64>) {
        let asked = tests.iter().copied();
        asked
            .filter(|test| self.refused(*test, Purpose::Regular, now).is_none())
            .partition(|test| self.is_alone(*test, Purpose::Regular, now))
    }

    /// Whether a test gets a call of its own. One that was refused does, also when it is tried again,
    /// and one that goes alone in regular calls does in all.
    pub fn is_alone(&self, test: u64, purpose: Purpose, now: i64) -> bool {
        let alone = |of: &BTreeMap<u64, Exclusion>| {
            let of_test = of.get(&test);
            of_test.is_some_and(|exclusion| exclusion.reason.is_some() || now < exclusion.until)
        };
        alone(&self.regular) || (purpose != Purpose::Regular && alone(&self.past))
    }

    /// Records the tests that were refused alone. `answered` says whether any call for past time was
    /// answered: if not, and several tests were refused, it is not about the tests, and no such call
    /// is made for some hours.
    pub fn record_refusals(&mut self, refusals: Vec<Refusal>, answered: bool, now: i64) {
        let past = refusals.iter();
        let past: Vec<&Refusal> = past
            .filter(|refusal| refusal.purpose != Purpose::Regular)
            .collect();
        if let (Some(first), true) = (past.first(), past.len() >= REFUSED_ALL && !answered) {
            self.all_past.refuse(&first.reason, now, REFUSED_FOR);
            return;
        }
        for Refusal {
            test,
            purpose,
            reason,
        } in refusals
        {
            let exclusion = self.of_mut(purpose).entry(test).or_default();
            exclusion.refuse(&reason, now, REFUSED_FOR);
        }
    }

    /// Records that such calls for a test disturb those for others.
    pub fn ask_alone(&mut self, test: u64, purpose: Purpose, now: i64) {
        let exclusion = Exclusion {
            since: now,
            until: now + ALONE_FOR,
            ..Exclusion::default()
        };
        self.of_mut(purpose).insert(test, exclusion);
    }

    /// Records that Catchpoint refuses calls for past time of several tests.
    pub fn refuse_past_batches(&mut self, reason: &str, now: i64) {
        self.past_batches.refuse(reason, now, FORM_FOR);
        self.past_batches_answered = false;
    }

    /// Records that a query was answered. Returns the tests that were refused before.
    pub fn clear(&mut self, query: &Query, purpose: Purpose) -> Vec<u64> {
        if purpose != Purpose::Regular {
            self.all_past = Exclusion::default();
            self.past_batches_answered |= query.tests().len() > 1;
        }
        let of = self.of_mut(purpose);
        let mut cleared = Vec::new();
        for test in query.tests() {
            let Some(exclusion) = of.get_mut(test) else {
                continue;
            };
            exclusion.failed = false;
            if exclusion.reason.is_some() {
                of.remove(test);
                cleared.push(*test);
            }
        }
        cleared
    }

    /// Records that a query failed for another reason than a refusal.
    pub fn fail(&mut self, query: &Query, purpose: Purpose) {
        let of = self.of_mut(purpose);
        for test in query.tests() {
            of.entry(*test).or_default().failed = true;
        }
    }

    /// Whether such a query failed last time. It then comes after the others, so that it does not
    /// take their time again.
    pub fn has_failed(&self, query: &Query, purpose: Purpose) -> bool {
        let of = self.of(purpose);
        let mut tests = query.tests().iter();
        tests.any(|test| of.get(test).is_some_and(|exclusion| exclusion.failed))
    }

    /// Tries refused tests again in calls for past time.
    pub fn retry_refused(&mut self) {
        self.past.retain(|_, exclusion| exclusion.reason.is_none());
        self.all_past = Exclusion::default();
    }

    /// Forgets what has expired of tests that are not configured any more, and what was written by a
    /// clock that was ahead.
    pub fn retain(&mut self, configured: impl Fn(u64) -> bool, now: i64) {
        let plausible = |exclusion: &Exclusion| exclusion.until <= now + ALONE_FOR.max(FORM_FOR);
        for of in [&mut self.regular, &mut self.past] {
            of.retain(|test, exclusion| {
                (configured(*test) || now < exclusion.until) && plausible(exclusion)
            });
        }
        for form in [&mut self.all_past, &mut self.past_batches] {
            if !plausible(form) {
                *form = Exclusion::default();
            }
        }
        for size in &mut self.sizes {
            if size.until > now + FORM_FOR {
                *size = CallSize::default();
            }
        }
    }

    fn of(&self, purpose: Purpose) -> &BTreeMap<u64, Exclusion> {
        match purpose {
            Purpose::Regular => &self.regular,
            Purpose::Gap | Purpose::Requested => &self.past,
        }
    }

    fn of_mut(&mut self, purpose: Purpose) -> &mut BTreeMap<u64, Exclusion> {
        match purpose {
            Purpose::Regular => &mut self.regular,
            Purpose::Gap | Purpose::Requested => &mut self.past,
        }
    }
}

#[cfg(test)]
mod tests;
