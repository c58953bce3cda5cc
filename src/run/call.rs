//! A call that is to be made, and what for.

use crate::catchpoint::query::Query;

/// What a call is for. Calls are made in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// What is new.
    Regular,
    /// What is missing.
    Gap,
    /// What a backfill asks for.
    Requested,
}

/// One call to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCall {
    /// The test type that its figures are counted under.
    pub test_type: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The call.
    pub query: Query,
}
