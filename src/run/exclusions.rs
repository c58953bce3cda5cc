//! What was learned from calls that Catchpoint refused, so that no run learns it again.
//!
//! Calls for past time are kept apart from regular calls: a test that Catchpoint refuses there is
//! answered by regular calls all the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catchpoint::query::Query;
use crate::run::plan::Purpose;
use crate::time_range::TimeRange;

/// How long a refused test is skipped, in seconds. Then it is tried again, alone.
const REFUSED_FOR: i64 = 6 * 3600;

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
        if now < size.until { size } else { CallSize::default() }
    }

    /// The sizes of calls that are in force at `now`, in words.
    pub fn size_limits(&self, now: i64) -> Vec<String> {
        let purposes = [(Purpose::Regular, "regular call"), (Purpose::Gap, "call for past time")];
        let limits = purposes.into_iter().flat_map(|(purpose, name)| {
            let size = self.call_size(purpose, now);
            let tests = size.tests.map(|tests| format!("{tests} tests"));
            let seconds = size.seconds.map(|seconds| format!("{seconds} s"));
            let because = "because larger answers were too large";
            [tests, seconds].into_iter().flatten().map(move |most| {
                format!("limit in force: at most {most} in a {name}, {because}")
            })
        });
        limits.collect()
    }

    /// Records that an answer did not fit into a page: for a day, half of it is asked for at most.
    /// First the tests are halved, then the range.
    pub fn halve_call_size(&mut self, tests: usize, range: Option<TimeRange>, purpose: Purpose, now: i64) {
        let mut size = self.call_size(purpose, now);
        match range {
            Some(range) if tests <= 1 => size.seconds = Some((range.seconds() / 2).max(1)),
            _ => size.tests = Some((tests / 2).max(1)),
        }
        size.until = now + FORM_FOR;
        let [regular, past] = &mut self.sizes;
        match purpose {
            Purpose::Regular => *regular = size,
            Purpose::Gap | Purpose::Requested => *past = size,
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
    /// is made for a day.
    pub fn record_refusals(&mut self, refusals: Vec<Refusal>, answered: bool, now: i64) {
        let past = refusals.iter();
        let past: Vec<&Refusal> = past
            .filter(|refusal| refusal.purpose != Purpose::Regular)
            .collect();
        if let (Some(first), true) = (past.first(), past.len() >= REFUSED_ALL && !answered) {
            self.all_past.refuse(&first.reason, now, FORM_FOR);
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
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;
    const HOUR: i64 = 3600;

    fn refusal(test: u64, purpose: Purpose) -> Refusal {
        let reason = "no such test".to_owned();
        Refusal { test, purpose, reason }
    }

    fn refused(refusals: &[(u64, Purpose)], answered: bool) -> Exclusions {
        let mut exclusions = Exclusions::default();
        let refusals = refusals.iter();
        let refusals = refusals.map(|(test, purpose)| refusal(*test, *purpose));
        exclusions.record_refusals(refusals.collect(), answered, NOW);
        exclusions
    }

    fn query(tests: &[u64]) -> Query {
        let range = TimeRange { from: 0, to: 900 };
        Query::Explorer(tests.to_vec(), range)
    }

    #[test]
    fn a_refused_test_is_skipped_for_six_hours_and_then_asked_for_alone() {
        let exclusions = refused(&[(2, Purpose::Regular)], true);
        let split = |hours: i64| exclusions.split(&[1, 2, 3], NOW + hours * HOUR);
        assert_eq!(split(5), (vec![], vec![1, 3]));
        assert_eq!(split(6), (vec![2], vec![1, 3]));
        assert_eq!(split(500), (vec![2], vec![1, 3]));
        assert!(exclusions.refused(2, Purpose::Gap, NOW).is_none());
    }

    #[test]
    fn the_first_refusal_says_since_when() {
        let mut exclusions = refused(&[(2, Purpose::Regular)], true);
        let later = NOW + 6 * HOUR;
        exclusions.record_refusals(vec![refusal(2, Purpose::Regular)], true, later);
        let exclusion = exclusions.refused(2, Purpose::Regular, later).unwrap();
        assert_eq!((exclusion.since, exclusion.until), (NOW, NOW + 12 * HOUR));
    }

    #[test]
    fn an_answer_clears_a_refusal_and_says_so_once() {
        let mut exclusions = refused(&[(2, Purpose::Regular)], true);
        assert_eq!(exclusions.clear(&query(&[1, 2]), Purpose::Gap), [0; 0]);
        assert_eq!(exclusions.clear(&query(&[1, 2]), Purpose::Regular), [2]);
        assert_eq!(exclusions.clear(&query(&[1, 2]), Purpose::Regular), [0; 0]);
    }

    #[test]
    fn a_test_that_is_answered_alone_stays_alone_for_a_day() {
        let mut exclusions = Exclusions::default();
        exclusions.ask_alone(3, Purpose::Regular, NOW);
        exclusions.fail(&query(&[3]), Purpose::Regular);
        exclusions.clear(&query(&[3]), Purpose::Regular);
        assert_eq!(exclusions.split(&[1, 3], NOW + 23 * HOUR), (vec![3], vec![1]));
        assert_eq!(exclusions.split(&[1, 3], NOW + 24 * HOUR), (vec![], vec![1, 3]));
    }

    #[test]
    fn c02_when_no_call_for_past_time_is_answered_none_is_made_for_a_day() {
        let both = [(1, Purpose::Gap), (2, Purpose::Requested)];
        let exclusions = refused(&both, false);
        assert!(exclusions.refused_past(NOW + 23 * HOUR).is_some());
        assert!(exclusions.refused_past(NOW + 24 * HOUR).is_none());
        assert!(refused(&both, true).refused_past(NOW).is_none());
        assert!(refused(&both[..1], false).refused_past(NOW).is_none());
        let mut exclusions = refused(&both, false);
        exclusions.retry_refused();
        assert_eq!(exclusions, Exclusions::default());
    }

    #[test]
    fn what_failed_comes_last_until_it_is_answered() {
        let mut exclusions = Exclusions::default();
        exclusions.fail(&query(&[1, 2]), Purpose::Regular);
        let failed = |exclusions: &Exclusions| {
            [&[2, 3][..], &[3]].map(|tests| exclusions.has_failed(&query(tests), Purpose::Regular))
        };
        assert_eq!(failed(&exclusions), [true, false]);
        assert_eq!(exclusions.split(&[1], NOW), (vec![], vec![1]));
        exclusions.clear(&query(&[1, 2]), Purpose::Regular);
        assert_eq!(failed(&exclusions), [false, false]);
    }

    #[test]
    fn a_clock_that_was_ahead_leaves_nothing() {
        let mut exclusions = refused(&[(1, Purpose::Gap), (2, Purpose::Gap)], false);
        exclusions.retain(|_| true, NOW - 30 * HOUR);
        assert_eq!(exclusions, Exclusions::default());
        let mut exclusions = refused(&[(1, Purpose::Gap), (2, Purpose::Gap)], true);
        exclusions.retain(|test| test == 1, NOW + 7 * HOUR);
        assert_eq!(exclusions.past.len(), 1);
    }
}
