//! What a sender is told about its post.

use serde::Serialize;

use crate::lines::reason::Reason;

/// Most refused lines that an answer lists; `rejected_total` counts them all.
pub const MAX_LISTED: usize = 1000;

/// The answer `202`: the lines are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The batch in the spool that holds the lines; posts that come together may share one.
    pub batch: String,
    /// Its lines.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What the lines of a post are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Good lines.
    pub accepted: u64,
    /// The refused lines, at most [`MAX_LISTED`].
    pub rejected: Vec<Rejected>,
    /// All refused lines.
    pub rejected_total: u64,
}

/// A refused line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Its number in the body, from 1.
    pub line: u64,
    /// Why.
    pub reason: Reason,
}
