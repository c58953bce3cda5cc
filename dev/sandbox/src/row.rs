//! One result as the values of an answer, the same in both dialects, and as datapoints: what a
//! perfect collector would have fetched, computed from the world and not from answers.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};

use crate::curve::Curve;
use crate::metrics;
use crate::noise::mix;
use crate::results::{Item, Window, results};
use crate::stamp::{SECOND, epoch_seconds};
use crate::test_type::TestType;
use crate::world::World;

/// A value and how it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    value: Option<f64>,
    plain_integer: bool,
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            None => serializer.serialize_unit(),
            // All values are far below 2^53, where every whole f64 is an i64.
            Some(value) if self.plain_integer && value.fract() == 0.0 => {
                serializer.serialize_i64(value as i64)
            }
            Some(value) => serializer.serialize_f64(value),
        }
    }
}

/// The values of a result, by position.
pub(crate) fn values(item: &Item) -> impl Iterator<Item = Value> {
    let curve = Curve::of(item);
    let plain_integer = item.test.plain_integers;
    let metrics = metrics::of(item.test.kind).iter().enumerate();
    metrics.map(move |(index, metric)| Value {
        value: curve.value(index, metric),
        plain_integer,
    })
}

/// The address of the host that was tested, v6 for every fourth pair of test and node. Scripted
/// tests speak to several hosts, and have none here.
pub(crate) fn host_ip(item: &Item) -> Option<String> {
    if item.test.kind == TestType::Custom {
        return None;
    }
    // Both from the blocks that are kept for documentation (RFC 5737, RFC 3849).
    let hash = mix(item.test.seed, &[item.node.id, 40]);
    let host = (hash >> 8) as u8;
    Some(match hash % 4 {
        0 => Ipv6Addr::new(0x2001, 0xdb8, u16::from(host), 0, 0, 0, 0, 1).to_string(),
        _ => Ipv4Addr::new(198, 51, 100, host).to_string(),
    })
}

/// One value that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
        results(self.shared_tests(), window.until(i64::MAX)).flat_map(|item| {
            let curve = Curve::of(&item);
            let metrics = metrics::of(item.test.kind).iter().enumerate();
            metrics.map(move |(index, metric)| Datapoint {
                test_id: item.test.id,
                test_type: item.test.kind,
                node_id: item.node.id,
                step: item.step(),
                hop: item.hop(),
                metric: metric.name.to_owned(),
                epoch_seconds: epoch_seconds(item.time()),
                value: curve.value(index, metric),
            })
        })
    }
}
