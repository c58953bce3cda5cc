//! The machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// 2026-01-01T00:00:00Z, before this release. A clock that is behind it, such as that of a machine
/// without a battery before it has asked for the time, says nothing about what is in the future.
pub const CERTAINLY_PAST: u64 = 1_767_225_600;

/// Seconds since 1970, as far as the machine knows.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
