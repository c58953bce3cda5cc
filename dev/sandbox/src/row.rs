//! One result as the values of an answer, the same in both dialects.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};

use crate::curve::Curve;
use crate::metrics;
use crate::noise::mix;
use crate::results::Item;
use crate::served::Served;
use crate::test_type::TestType;

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

/// The values of a result, by position; counts them as served if `served` is given.
pub(crate) fn values(item: &Item, served: Option<&Served>) -> Vec<Value> {
    let curve = Curve::of(item);
    let values: Vec<Value> = metrics::of(item.test.kind)
        .iter()
        .enumerate()
        .map(|(index, metric)| Value {
            value: curve.value(index, metric),
            plain_integer: item.test.plain_integers,
        })
        .collect();
    if let Some(served) = served {
        let nulls = values.iter().filter(|value| value.value.is_none()).count();
        served.count(item.test.kind, values.len() - nulls, nulls);
    }
    values
}

/// The address of the host that was tested, v6 for every fourth pair of test and node. Scripted
/// tests speak to no one host.
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
