//! Everything the world produced, as datapoints: what a perfect collector would have fetched.
//! Computed from the world, not from answers.

use serde::{Deserialize, Serialize};

use crate::curve::Curve;
use crate::metrics;
use crate::results::{Item, Results, Window};
use crate::stamp::{SECOND, epoch_seconds};
use crate::test_type::TestType;
use crate::world::World;

/// One value that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Datapoint {
    /// The API's id of the test.
    pub test_id: u64,
    /// The type of the test.
    pub test_type: TestType,
    /// The API's id of the node.
    pub node_id: u64,
    /// The step of a transaction, from 1.
    pub step: Option<u32>,
    /// The hop of a traceroute, from 1.
    pub hop: Option<u32>,
    /// The metric, as the API spells it.
    pub metric: String,
    /// When it was measured: whole seconds since 1970, truncated.
    pub epoch_seconds: i64,
    /// The value; `None` is the API's null.
    pub value: Option<f64>,
}

impl World {
    /// All datapoints of some tests with a time of at least `from` and less than `to`, in seconds
    /// since 1970, in order of test, node, time, step or hop, and metric. Late results are among
    /// them, whether or not the API shows them yet.
    pub fn truth(&self, from: i64, to: i64) -> impl Iterator<Item = Datapoint> + Send + use<> {
        let window = Window {
            from: from.saturating_mul(SECOND),
            to: to.saturating_mul(SECOND),
        };
        Results::of(&self.shared_tests(), window.until(i64::MAX)).flat_map(|item| {
            let curve = Curve::of(&item);
            let metrics = metrics::of(item.test.kind).iter().enumerate();
            metrics.map(move |(index, metric)| {
                datapoint(&item, metric.name, curve.value(index, metric))
            })
        })
    }
}

fn datapoint(item: &Item, metric: &str, value: Option<f64>) -> Datapoint {
    Datapoint {
        test_id: item.test.id,
        test_type: item.test.kind,
        node_id: item.node.id,
        step: item.step(),
        hop: item.hop(),
        metric: metric.to_owned(),
        epoch_seconds: epoch_seconds(item.time()),
        value,
    }
}
