//! How far a test's data is safely in the relay, and which spans of it are missing.

use serde::{Deserialize, Serialize};

use crate::time_range::TimeRange;

/// Most separate gaps that are remembered of a test; beyond it the two nearest become one, which
/// fetches a little twice and forgets nothing.
const MAX_GAPS: usize = 16;

/// The cursor of one test: everything before `until` is in the relay, but for the gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    until: i64,
    /// Up to here results have been fetched late enough that none can still come.
    settled: i64,
    gaps: Vec<TimeRange>,
}

impl Coverage {
    /// Coverage that begins at a time; nothing before it is asked for.
    pub fn starting(at: i64) -> Self {
        Self {
            until: at,
            settled: at,
            gaps: Vec::new(),
        }
    }

    /// The first second after everything fetched so far.
    pub fn until(&self) -> i64 {
        self.until
    }

    /// Up to where no result can still come late.
    pub fn settled(&self) -> i64 {
        self.settled
    }

    /// The first second that is missing.
    pub fn first_missing(&self) -> i64 {
        self.gaps.first().map_or(self.until, |gap| gap.from)
    }

    /// How many seconds are missing before `until`.
    pub fn missing(&self) -> i64 {
        self.gaps.iter().map(|gap| gap.to - gap.from).sum()
    }

    /// The spans that are missing before `until`, oldest first.
    pub fn gaps(&self) -> &[TimeRange] {
        &self.gaps
    }

    /// A span is in the relay now. Returns how many seconds are newly missing: a span that begins
    /// after `until` leaves a gap.
    pub fn cover(&mut self, span: TimeRange) -> i64 {
        if span.from >= span.to {
            return 0;
        }
        let left = |gap: &TimeRange| {
            (gap.from < span.from).then_some(TimeRange {
                from: gap.from,
                to: gap.to.min(span.from),
            })
        };
        let right = |gap: &TimeRange| {
            (gap.to > span.to).then_some(TimeRange {
                from: gap.from.max(span.to),
                to: gap.to,
            })
        };
        self.gaps = self
            .gaps
            .iter()
            .flat_map(|gap| [left(gap), right(gap)])
            .flatten()
            .collect();
        let newly = (span.from - self.until).max(0);
        if newly > 0 {
            self.gaps.push(TimeRange {
                from: self.until,
                to: span.from,
            });
        }
        self.join_nearest();
        self.until = self.until.max(span.to);
        newly
    }

    /// A span was fetched at `now`, and results come at most `overlap` seconds late: what lies
    /// further back than that has settled.
    pub fn settle(&mut self, span: TimeRange, now: i64, overlap: i64) {
        if span.from <= self.settled {
            self.settled = self.settled.max(span.to.min(now - overlap));
        }
    }

    /// Gives up what is missing before a time. Returns how many seconds that are.
    pub fn give_up_before(&mut self, time: i64) -> i64 {
        let before = self.missing();
        self.gaps.retain_mut(|gap| {
            gap.from = gap.from.max(time);
            gap.from < gap.to
        });
        let lost = before - self.missing() + (time - self.until).max(0);
        self.until = self.until.max(time);
        self.settled = self.settled.max(time);
        lost
    }

    fn join_nearest(&mut self) {
        while self.gaps.len() > MAX_GAPS {
            let distances = self
                .gaps
                .iter()
                .zip(self.gaps.iter().skip(1))
                .map(|(a, b)| b.from - a.to);
            let Some((nearest, _)) = distances.enumerate().min_by_key(|(_, distance)| *distance)
            else {
                return;
            };
            let next = self.gaps.remove(nearest + 1);
            if let Some(gap) = self.gaps.get_mut(nearest) {
                gap.to = next.to;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from: i64, to: i64) -> TimeRange {
        TimeRange { from, to }
    }

    #[track_caller]
    fn check(covered: &[(i64, i64)], until: i64, gaps: &[(i64, i64)]) {
        let mut coverage = Coverage::starting(100);
        for (from, to) in covered {
            coverage.cover(span(*from, *to));
        }
        let gaps: Vec<TimeRange> = gaps.iter().map(|(from, to)| span(*from, *to)).collect();
        assert_eq!((coverage.until, coverage.gaps), (until, gaps));
    }

    #[test]
    fn spans_extend_leave_gaps_and_fill_them() {
        check(&[(100, 200)], 200, &[]);
        check(&[(90, 150), (140, 200)], 200, &[]);
        check(&[(150, 200)], 200, &[(100, 150)]);
        check(&[(150, 200), (250, 300)], 300, &[(100, 150), (200, 250)]);
        check(&[(150, 200), (250, 300), (100, 300)], 300, &[]);
        check(&[(200, 300), (120, 130)], 300, &[(100, 120), (130, 200)]);
        check(&[(150, 150), (160, 150)], 100, &[]);
    }

    #[test]
    fn what_is_too_old_is_given_up_and_counted() {
        let mut coverage = Coverage::starting(100);
        coverage.cover(span(150, 200));
        assert_eq!(coverage.give_up_before(120), 20);
        assert_eq!(coverage.gaps, [span(120, 150)]);
        assert_eq!(coverage.give_up_before(300), 130);
        assert_eq!((coverage.first_missing(), coverage.until), (300, 300));
    }

    #[test]
    fn results_settle_once_they_cannot_come_late() {
        let mut coverage = Coverage::starting(100);
        coverage.settle(span(100, 200), 210, 30);
        assert_eq!(coverage.settled, 180);
        // A span that leaves out something older settles nothing.
        coverage.settle(span(190, 300), 900, 30);
        assert_eq!(coverage.settled, 180);
        coverage.settle(span(170, 300), 900, 30);
        assert_eq!(coverage.settled, 300);
    }

    proptest! {
        /// Whatever is not covered is either in a gap or at or after `until`; joining gaps may only
        /// make more of them.
        #[test]
        fn nothing_uncovered_is_forgotten(spans in proptest::collection::vec((0i64..400, 1i64..6), 0..80)) {
            let mut coverage = Coverage::starting(0);
            let mut covered = [false; 500];
            for (from, len) in spans {
                coverage.cover(span(from, from + len));
                for second in from..from + len {
                    covered[second as usize] = true;
                }
            }
            prop_assert!(coverage.gaps.len() <= MAX_GAPS);
            for (second, covered) in (0..).zip(covered) {
                let missing = second >= coverage.until
                    || coverage.gaps.iter().any(|gap| (gap.from..gap.to).contains(&second));
                prop_assert!(covered || missing, "second {second}");
            }
            for pair in coverage.gaps.windows(2) {
                prop_assert!(pair[0].to <= pair[1].from);
            }
        }
    }
}
