//! How far a backfill has come, and its next call. Pure: it asks nobody.
//!
//! Its span is cut into chunks; each test goes through them from the oldest on, and one time per
//! test says how far it has come. So a backfill that was killed goes on where it was, and survives
//! changes of the configuration: a new test begins at the beginning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catchpoint::query::Query;
use crate::config::catchpoint::{ApiVersion, CatchpointSettings};
use crate::run::exclusions::Verdicts;
use crate::run::plan::Planned;
use crate::time_range::TimeRange;

/// v1: the longest span of one call, which is for one test, in seconds.
const RANGED_CHUNK: i64 = 24 * 3600;

/// v2: the longest span of one call, which is for a batch of tests, in seconds.
const EXPLORER_CHUNK: i64 = 6 * 3600;

/// An answer's own word on its end may lack so many seconds of what was asked; it is not asked
/// again for a rounded second.
const SLACK: i64 = 1;

/// The progress of one backfill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is to be filled.
    pub span: TimeRange,
    /// Per test, the first second that is not in the relay yet.
    until: BTreeMap<u64, i64>,
    /// Tests that Catchpoint refused, which are left out.
    refused: BTreeMap<u64, String>,
}

/// Tests that go together into calls.
struct Group<'s> {
    test_type: &'s str,
    tests: Vec<u64>,
    /// Most tests of one call.
    size: usize,
}

impl Progress {
    /// Nothing is done yet.
    pub fn new(span: TimeRange) -> Self {
        Self {
            span,
            until: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// The next call: of what is oldest, as many tests as go together, without those of `left_out`.
    pub fn next(
        &self,
        settings: &CatchpointSettings,
        verdicts: &Verdicts,
        now: i64,
        left_out: impl Fn(u64) -> bool,
    ) -> Option<Planned> {
        let mut groups = self.groups(settings, verdicts, now);
        for group in &mut groups {
            group.tests.retain(|test| !left_out(*test));
        }
        let oldest = |group: &Group<'_>| group.tests.iter().map(|test| self.until(*test)).min();
        let (group, from) = groups
            .iter()
            .filter_map(|group| Some((group, oldest(group)?)))
            .filter(|(_, from)| *from < self.span.to)
            .min_by_key(|(_, from)| *from)?;
        let here = group.tests.iter().filter(|test| self.until(**test) == from);
        let tests: Vec<u64> = here.copied().take(group.size).collect();
        let span = TimeRange {
            from,
            to: (from + chunk(settings)).min(self.span.to),
        };
        let query = match (settings.version, tests.as_slice()) {
            (ApiVersion::V1, [test, ..]) => Query::Ranged(*test, span),
            _ => Query::Explorer(tests, span),
        };
        Some(Planned {
            test_type: group.test_type.to_owned(),
            query,
        })
    }

    /// How many calls are left to be made, when none has to be repeated or split.
    pub fn calls_left(&self, settings: &CatchpointSettings, verdicts: &Verdicts, now: i64) -> u64 {
        let chunk = chunk(settings);
        let groups = self.groups(settings, verdicts, now);
        let calls = groups.iter().map(|group| {
            let mut from: Vec<i64> = group.tests.iter().map(|test| self.until(*test)).collect();
            from.sort_unstable();
            // So many tests have come to a chunk's beginning together, up to where the next joins.
            let ends = from.iter().skip(1).copied().chain([self.span.to]);
            let stretches = from.iter().zip(ends).zip(1usize..);
            let calls = stretches.map(|((from, to), tests)| {
                let chunks = u64::try_from(to - from).unwrap_or(0);
                chunks.div_ceil(chunk.unsigned_abs()) * tests.div_ceil(group.size) as u64
            });
            calls.sum::<u64>()
        });
        calls.sum()
    }

    /// How many calls the whole of it is.
    pub fn calls_in_all(
        &self,
        settings: &CatchpointSettings,
        verdicts: &Verdicts,
        now: i64,
    ) -> u64 {
        let fresh = Self {
            until: BTreeMap::new(),
            ..self.clone()
        };
        fresh.calls_left(settings, verdicts, now)
    }

    /// The second up to which all tests are filled that are not refused; none at the beginning.
    pub fn done_until(
        &self,
        settings: &CatchpointSettings,
        verdicts: &Verdicts,
        now: i64,
    ) -> Option<i64> {
        let groups = self.groups(settings, verdicts, now);
        let tests = groups.iter().flat_map(|group| &group.tests);
        let until = tests.map(|test| self.until(*test)).min();
        until.filter(|until| *until > self.span.from)
    }

    /// An answer to a call of this backfill is in the relay, and it covers this span. One that ends
    /// sooner than was asked is gone on from; but one that covers nothing ends what was asked, or it
    /// would be asked for ever.
    pub fn fill(&mut self, query: &Query, covered: TimeRange) {
        let (Query::Ranged(_, asked) | Query::Explorer(_, asked)) = query else {
            return;
        };
        let cut = covered.to > asked.from && covered.to + SLACK < asked.to;
        let until = if cut { covered.to } else { asked.to };
        for test in query.tests() {
            self.until.insert(*test, until);
        }
    }

    /// Whether anything was filled so far.
    pub fn has_begun(&self) -> bool {
        !self.until.is_empty()
    }

    /// Catchpoint refuses a test: it is left out, until [`Progress::pardon`].
    pub fn refuse(&mut self, test: u64, reason: String) {
        self.refused.insert(test, reason);
    }

    /// The tests that are left out, and why.
    pub fn refused(&self) -> &BTreeMap<u64, String> {
        &self.refused
    }

    /// Tries the refused tests again.
    pub fn pardon(&mut self) {
        self.refused.clear();
    }

    /// The first second of a test that is not in the relay yet.
    pub fn until(&self, test: u64) -> i64 {
        let until = self.until.get(&test);
        until.copied().unwrap_or(self.span.from)
    }

    fn groups<'s>(
        &self,
        settings: &'s CatchpointSettings,
        verdicts: &Verdicts,
        now: i64,
    ) -> Vec<Group<'s>> {
        let most = match settings.version {
            ApiVersion::V1 => 1,
            ApiVersion::Explorer(_) => settings.batch_size,
        };
        let mut groups = Vec::new();
        for group in &settings.tests {
            let (alone, together) = verdicts.split(&group.ids, now);
            for (mut tests, size) in [(together, most), (alone, 1)] {
                tests.retain(|test| !self.refused.contains_key(test));
                groups.push(Group {
                    test_type: &group.test_type,
                    tests,
                    size,
                });
            }
        }
        groups
    }
}

fn chunk(settings: &CatchpointSettings) -> i64 {
    match settings.version {
        ApiVersion::V1 => RANGED_CHUNK,
        ApiVersion::Explorer(_) => EXPLORER_CHUNK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(covered: (i64, i64), until: i64) {
        let span = |(from, to)| TimeRange { from, to };
        let mut progress = Progress::new(span((1000, 9000)));
        progress.fill(&Query::Ranged(7, span((2000, 3000))), span(covered));
        assert_eq!(progress.until(7), until, "{covered:?}");
    }

    #[test]
    fn an_answer_that_ends_too_soon_is_gone_on_from() {
        check((2000, 3000), 3000);
        check((2000, 2999), 3000);
        check((2000, 2500), 2500);
        check((2000, 2001), 2001);
        // It holds nothing of what was asked, and would not the next time.
        check((2000, 2000), 3000);
        check((2000, 1500), 3000);
    }
}
