//! Gaps in few bytes: `[from, length, distance to the next, length, …]`. A value of the store may be
//! no larger than 1 MB on some hosts, and runs leave a short gap between any two of v1's windows.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time_range::TimeRange;

#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    /// As version 0.1 has them.
    Ranges(Vec<TimeRange>),
    Deltas(Vec<i64>),
}

/// Writes gaps, oldest first.
pub fn serialize<S: Serializer>(gaps: &[TimeRange], serializer: S) -> Result<S::Ok, S::Error> {
    let mut at = 0;
    let mut deltas = Vec::with_capacity(2 * gaps.len());
    for gap in gaps {
        deltas.extend([gap.from - at, gap.to - gap.from]);
        at = gap.to;
    }
    deltas.serialize(serializer)
}

/// Reads gaps.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TimeRange>, D::Error> {
    let deltas = match Stored::deserialize(deserializer)? {
        Stored::Ranges(gaps) => return Ok(gaps),
        Stored::Deltas(deltas) => deltas,
    };
    let mut at = 0i64;
    let mut step = |delta: i64| {
        at = at.checked_add(delta)?;
        Some(at)
    };
    let gaps = deltas.chunks(2).map(|delta| match delta {
        [distance, length] => Some(TimeRange {
            from: step(*distance)?,
            to: step(*length)?,
        }),
        _ => None,
    });
    let gaps: Option<Vec<TimeRange>> = gaps.collect();
    gaps.ok_or_else(|| D::Error::custom("gaps that do not come in pairs"))
}
