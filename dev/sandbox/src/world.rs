//! The tests of a Catchpoint account, and the builder that sizes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::nodes::{Node, node};
use crate::noise::{mix, unit};
use crate::stamp::{Form, SECOND};
use crate::test_type::TestType;

/// One test: what it is and where and how often it runs.
#[derive(Debug)]
pub struct Test {
    /// The API's id.
    pub id: u64,
    /// The name that a person gave it.
    pub name: String,
    /// Its type, which decides its metrics.
    pub kind: TestType,
    /// The nodes that run it.
    pub nodes: Vec<Arc<Node>>,
    /// Seconds from one run on a node to the next.
    pub interval: u32,
    /// Steps of a run, or hops of a traceroute, each a result of its own; 0 for a test without them.
    pub parts: u32,
    /// What all its noise is drawn from.
    pub(crate) seed: u64,
    /// How its times are written.
    pub(crate) form: Form,
    /// Whether it writes whole numbers as `835`; else as `835.0`.
    pub(crate) plain_integers: bool,
    /// The share of runs that come late, and by how many minutes at most.
    late: (f64, u32),
}

impl Test {
    /// Ticks between two runs on one node.
    pub(crate) fn period(&self) -> i64 {
        i64::from(self.interval) * SECOND
    }

    /// When in each period a node runs it, in ticks; always less than the period.
    pub(crate) fn phase(&self, node: &Node) -> i64 {
        let second = mix(self.seed, &[node.id, 11]) % u64::from(self.interval);
        let fraction = match self.form {
            Form::Fraction => mix(self.seed, &[node.id, 12]) % SECOND as u64,
            Form::Zulu | Form::Bare => 0,
        };
        second as i64 * SECOND + fraction as i64
    }

    /// Ticks from a run to the moment when the API shows it. A run comes late as a whole.
    pub(crate) fn delay(&self, node: &Node, run: i64) -> i64 {
        let (share, minutes) = self.late;
        let run = run.cast_unsigned();
        if unit(self.seed, &[node.id, run, 13]) >= share {
            return 0;
        }
        let most = u64::from(minutes) * 60;
        (1 + mix(self.seed, &[node.id, run, 14]) % most.max(1)) as i64 * SECOND
    }
}

/// All tests of an account. Its results are a pure function of the seed and the time, and have been
/// coming in since 1970.
#[derive(Debug)]
pub struct World {
    pub(crate) seed: u64,
    tests: BTreeMap<u64, Arc<Test>>,
}

impl World {
    /// Sizes a world; starts from three tests of every type, four nodes, a run every five minutes.
    pub fn builder() -> WorldBuilder {
        WorldBuilder::default()
    }

    /// All tests, by id.
    pub fn tests(&self) -> impl Iterator<Item = &Test> {
        self.tests.values().map(Arc::as_ref)
    }

    /// The ids of a type's tests.
    pub fn ids(&self, kind: TestType) -> Vec<u64> {
        self.tests()
            .filter(|test| test.kind == kind)
            .map(|test| test.id)
            .collect()
    }

    pub(crate) fn test(&self, id: u64) -> Option<&Arc<Test>> {
        self.tests.get(&id)
    }

    pub(crate) fn shared_tests(&self) -> Vec<Arc<Test>> {
        self.tests.values().cloned().collect()
    }
}

/// Sizes a [`World`].
#[derive(Clone, Debug)]
pub struct WorldBuilder {
    seed: u64,
    counts: BTreeMap<TestType, u32>,
    nodes: u32,
    interval: u32,
    late: (f64, u32),
}

impl Default for WorldBuilder {
    fn default() -> Self {
        Self {
            seed: 1,
            counts: TestType::ALL.into_iter().map(|kind| (kind, 3)).collect(),
            nodes: 4,
            interval: 300,
            late: (0.0, 0),
        }
    }
}

impl WorldBuilder {
    /// Another seed is another world: other values, other times, other order.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// So many tests of one type.
    #[must_use]
    pub fn tests(mut self, kind: TestType, count: u32) -> Self {
        self.counts.insert(kind, count);
        self
    }

    /// So many tests of every type that the world has.
    #[must_use]
    pub fn tests_per_type(mut self, count: u32) -> Self {
        self.counts
            .values_mut()
            .for_each(|of_type| *of_type = count);
        self
    }

    /// No types but these.
    #[must_use]
    pub fn only(mut self, kinds: &[TestType]) -> Self {
        self.counts.retain(|kind, _| kinds.contains(kind));
        self
    }

    /// So many nodes run each test.
    #[must_use]
    pub fn nodes(mut self, count: u32) -> Self {
        self.nodes = count;
        self
    }

    /// Minutes from one run on a node to the next, at least one.
    #[must_use]
    pub fn interval_minutes(self, minutes: u32) -> Self {
        self.interval_seconds(minutes.max(1).saturating_mul(60))
    }

    /// Seconds from one run on a node to the next, at least one: for answers that are huge.
    #[must_use]
    pub fn interval_seconds(mut self, seconds: u32) -> Self {
        self.interval = seconds.max(1);
        self
    }

    /// Lets a share of the runs (`0.0..=1.0`) show up late, by up to so many minutes.
    #[must_use]
    pub fn late(mut self, share: f64, minutes: u32) -> Self {
        self.late = (share, minutes);
        self
    }

    /// Makes the world.
    pub fn build(self) -> World {
        // Neighbouring tests share some nodes, not all; a pool of as many keeps them different.
        let pool: Vec<Arc<Node>> = (0..self.nodes.max(16) as usize)
            .map(|place| Arc::new(node(place)))
            .collect();
        let mut tests = BTreeMap::new();
        let places = self
            .counts
            .iter()
            .flat_map(|(&kind, &count)| (0..count).map(move |k| (kind, k)));
        for (id, (kind, nth)) in (142_600..).zip(places) {
            tests.insert(id, Arc::new(self.test(id, kind, nth, &pool)));
        }
        World {
            seed: self.seed,
            tests,
        }
    }

    fn test(&self, id: u64, kind: TestType, nth: u32, pool: &[Arc<Node>]) -> Test {
        let seed = mix(self.seed, &[id]);
        let first = nth as usize * 3 % pool.len();
        let nodes = pool
            .iter()
            .cycle()
            .skip(first)
            .take(self.nodes as usize)
            .cloned()
            .collect();
        Test {
            id,
            name: name(kind, nth),
            kind,
            nodes,
            interval: self.interval,
            parts: match kind {
                TestType::Transaction => 2 + (seed % 3) as u32,
                // Every second API test has several requests.
                TestType::Api if nth % 2 == 1 => 2 + (seed % 3) as u32,
                TestType::Traceroute => 6 + (seed % 7) as u32,
                _ => 0,
            },
            seed,
            form: match nth % 3 {
                0 => Form::Fraction,
                1 => Form::Zulu,
                _ => Form::Bare,
            },
            plain_integers: nth % 2 == 1,
            late: self.late,
        }
    }
}

/// Names as people give them: with quotes, dashes and letters beyond ASCII.
fn name(kind: TestType, nth: u32) -> String {
    const SUBJECTS: [&str; 6] = [
        "Home page",
        "Checkout \"fast lane\"",
        "Überblick",
        "Search & results",
        "Log-in",
        "Status",
    ];
    let subject = SUBJECTS
        .get(nth as usize % SUBJECTS.len())
        .copied()
        .unwrap_or_default();
    format!("{subject} {kind} {}", nth + 1)
}
