//! Which results a window of time holds.
//!
//! Runs are regular, so how many a window holds is arithmetic, and the n-th result of a window is
//! found without making the ones before it. An answer of any size is therefore made piece by piece,
//! even in shuffled order.

use std::sync::Arc;

use crate::nodes::Node;
use crate::noise::mix;
use crate::world::Test;

/// A span of time in ticks: `from` is in it, `to` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub from: i64,
    pub to: i64,
}

impl Window {
    /// The part of the window in which there can be results: since 1970, and before `now`.
    pub fn until(self, now: i64) -> Self {
        Self {
            from: self.from.max(0),
            to: self.to.min(now),
        }
    }
}

/// One result: a run of a test on a node, or one step or hop of it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub test: Arc<Test>,
    pub node: Arc<Node>,
    /// Which run since 1970.
    pub run: i64,
    /// Which step or hop, from 0.
    pub part: u32,
}

impl Item {
    /// When it was measured, in ticks. All steps or hops of a run share one time.
    pub fn time(&self) -> i64 {
        self.run
            .saturating_mul(self.test.period())
            .saturating_add(self.test.phase(&self.node))
    }

    pub fn step(&self) -> Option<u32> {
        (self.part < self.test.steps).then_some(self.part + 1)
    }

    pub fn hop(&self) -> Option<u32> {
        (self.part < self.test.hops).then_some(self.part + 1)
    }

    /// Whether the API shows it already.
    pub fn is_visible(&self, now: i64) -> bool {
        self.time()
            .saturating_add(self.test.delay(&self.node, self.run))
            <= now
    }
}

/// All results of some tests in a window, one after another.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    series: Arc<[Series]>,
    total: u64,
    next: u64,
    end: u64,
    stride: u64,
    shift: u64,
}

/// The runs of one test on one node, as a stretch of the whole.
#[derive(Debug)]
struct Series {
    test: Arc<Test>,
    node: Arc<Node>,
    first_run: i64,
    /// How many results the series before this one have.
    before: u64,
}

impl Results {
    /// In order of test, node, time, and step or hop.
    pub fn of(tests: &[Arc<Test>], window: Window) -> Self {
        let mut series = Vec::new();
        let mut total: u64 = 0;
        for test in tests {
            for node in &test.nodes {
                let phase = test.phase(node);
                let first_run = runs_before(window.from, phase, test.period());
                let runs = runs_before(window.to, phase, test.period()).saturating_sub(first_run);
                let before = total;
                let parts = u64::from(test.parts());
                total =
                    total.saturating_add(u64::try_from(runs).unwrap_or(0).saturating_mul(parts));
                series.push(Series {
                    test: Arc::clone(test),
                    node: Arc::clone(node),
                    first_run,
                    before,
                });
            }
        }
        Self {
            series: series.into(),
            total,
            next: 0,
            end: total,
            stride: 1,
            shift: 0,
        }
    }

    /// The same ones in an order that looks like none, always the same for one seed.
    #[must_use]
    pub fn shuffled(mut self, seed: u64) -> Self {
        let total = self.total.max(1);
        let coprime = |stride: &u64| gcd(*stride, total) == 1;
        // Steps of any length that shares no divisor with the total visit each place once. A
        // length near 0.6 of the total jumps about the most.
        let start = total / 8 * 5 + total % 8 * 5 / 8 + mix(seed, &[31]) % (total / 16 + 1);
        self.stride = (start..=total).chain(1..start).find(coprime).unwrap_or(1);
        self.shift = mix(seed, &[32]) % total;
        self
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Only the ones from place `from` to before place `to` of this order.
    #[must_use]
    pub fn slice(mut self, from: u64, to: u64) -> Self {
        self.next = from.min(self.total);
        self.end = to.min(self.total);
        self
    }

    fn at(&self, place: u64) -> Option<Item> {
        let after = self.series.partition_point(|series| series.before <= place);
        let series = self.series.get(after.checked_sub(1)?)?;
        let parts = u64::from(series.test.parts());
        let within = place - series.before;
        Some(Item {
            test: Arc::clone(&series.test),
            node: Arc::clone(&series.node),
            run: series.first_run.saturating_add_unsigned(within / parts),
            part: (within % parts) as u32,
        })
    }
}

impl Iterator for Results {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.next >= self.end {
            return None;
        }
        let (next, stride) = (u128::from(self.next), u128::from(self.stride));
        let place = (next * stride + u128::from(self.shift)) % u128::from(self.total);
        self.next += 1;
        // A remainder of a u64 is one.
        self.at(place as u64)
    }
}

/// How many runs happened from 1970 to before `time`.
fn runs_before(time: i64, phase: i64, period: i64) -> i64 {
    let since_first = time.saturating_sub(phase);
    since_first.div_euclid(period) + i64::from(since_first.rem_euclid(period) > 0)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::SECOND;
    use crate::test_type::TestType;
    use crate::world::World;
    use proptest::prelude::*;

    fn keys(results: Results) -> Vec<(u64, u64, i64, u32)> {
        results
            .map(|item| (item.test.id, item.node.id, item.time(), item.part))
            .collect()
    }

    proptest! {
        #[test]
        fn windows_side_by_side_hold_what_the_whole_holds(
            from in 0..2_000_000_000_i64, first in 0..4_000_i64, second in 0..4_000_i64, seed: u64,
        ) {
            let world = World::builder()
                .only(&[TestType::Transaction, TestType::Traceroute, TestType::Ping])
                .tests_per_type(2).nodes(2).seed(seed).build();
            let tests = world.shared_tests();
            let (a, b, c) = (from * SECOND, (from + first) * SECOND, (from + first + second) * SECOND);
            let mut parts = keys(Results::of(&tests, Window { from: a, to: b }).shuffled(seed));
            parts.extend(keys(Results::of(&tests, Window { from: b, to: c }).shuffled(seed)));
            parts.sort_unstable();
            let whole = keys(Results::of(&tests, Window { from: a, to: c }));
            prop_assert!(whole.iter().all(|key| (a..c).contains(&key.2)));
            prop_assert_eq!(parts, whole);
        }

        #[test]
        fn slices_side_by_side_hold_all(size in 1..50_u64, seed: u64) {
            let world = World::builder().only(&[TestType::Transaction]).seed(seed).build();
            let hour = Window { from: 0, to: 3600 * SECOND };
            let all = Results::of(&world.shared_tests(), hour).shuffled(seed);
            let slices = (0..all.total().div_ceil(size))
                .flat_map(|n| keys(all.clone().slice(n * size, (n + 1) * size)))
                .collect::<Vec<_>>();
            prop_assert_eq!(slices, keys(all));
        }
    }
}
