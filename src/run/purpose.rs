//! What a call is for: plans are made by it, and what was learned from failed calls is kept by it.

/// What a call is for. Calls are made in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// What is new.
    Regular,
    /// What is missing.
    Gap,
    /// What a backfill asks for.
    Requested,
}
