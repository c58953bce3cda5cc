//! Which results a window of time holds.
//!
//! Runs are regular, so which ones a window holds is arithmetic.

use std::sync::Arc;

use crate::nodes::Node;
use crate::noise::mix;
use crate::stamp::SECOND;
use crate::test_type::TestType;
use crate::world::Test;

/// A span of time in ticks: `from` is in it, `to` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub from: i64,
    pub to: i64,
}

impl Window {
    /// Whether it is longer than one call may ask for. No limit of the real API is known; the sandbox
    /// has one for its memory.
    pub fn is_too_long(self) -> bool {
        self.to.saturating_sub(self.from) > 62 * 86_400 * SECOND
    }

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
        let is_step = self.test.parts > 0 && self.test.kind != TestType::Traceroute;
        is_step.then_some(self.part + 1)
    }

    pub fn hop(&self) -> Option<u32> {
        (self.test.kind == TestType::Traceroute).then_some(self.part + 1)
    }

    /// Whether the API shows it already.
    pub fn is_visible(&self, now: i64) -> bool {
        self.time()
            .saturating_add(self.test.delay(&self.node, self.run))
            <= now
    }
}

/// All results of some tests in a window, in order of test, node, time, and step or hop.
pub(crate) fn results(tests: Vec<Arc<Test>>, window: Window) -> impl Iterator<Item = Item> + Send {
    let series = tests.into_iter().flat_map(|test| {
        let nodes = test.nodes.clone().into_iter();
        nodes.map(move |node| (Arc::clone(&test), node))
    });
    series.flat_map(move |(test, node)| {
        let runs_before = |time| runs_before(time, test.phase(&node), test.period());
        let runs = runs_before(window.from)..runs_before(window.to);
        let parts = test.parts.max(1);
        let places = runs.flat_map(move |run| (0..parts).map(move |part| (run, part)));
        places.map(move |(run, part)| Item {
            test: Arc::clone(&test),
            node: Arc::clone(&node),
            run,
            part,
        })
    })
}

/// The same ones in an order that looks like none, always the same for one seed.
pub(crate) fn shuffled(tests: Vec<Arc<Test>>, window: Window, seed: u64) -> Vec<Item> {
    let mut items: Vec<Item> = results(tests, window).collect();
    let place = |item: &Item| {
        [
            item.test.id,
            item.node.id,
            item.run.cast_unsigned(),
            item.part.into(),
        ]
    };
    items.sort_by_cached_key(|item| mix(seed, &place(item)));
    items
}

/// How many runs happened from 1970 to before `time`.
fn runs_before(time: i64, phase: i64, period: i64) -> i64 {
    let since_first = time.saturating_sub(phase);
    since_first.div_euclid(period) + i64::from(since_first.rem_euclid(period) > 0)
}
