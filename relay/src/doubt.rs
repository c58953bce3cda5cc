//! What stands in the way of saying that carbon has read a delivery.

use std::io;
use std::time::Duration;

use strum::{IntoStaticStr, VariantNames};

/// Why carbon may not have read what was sent.
#[derive(Debug, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Doubt {
    /// No connection could be made.
    #[error("carbon cannot be reached: {0}")]
    Unreachable(io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// Carbon closed before it was told that there is no more.
    #[error("carbon closed the connection before the end")]
    EarlyEnd,
    /// Carbon did not read any further.
    #[error("carbon has read nothing for {} s", .0.as_secs())]
    Stalled(Duration),
    /// Some of it is still in the send queue, though carbon has closed.
    #[error("carbon closed the connection with data still on its way")]
    Unsent,
    /// An error was pending on the socket after carbon had closed.
    #[error("the connection failed at its end: {0}")]
    SocketError(io::Error),
    /// A fresh connection was refused.
    #[error("carbon refuses a fresh connection right after: {0}")]
    ProbeRefused(io::Error),
    /// The lines could not be read from the spool.
    #[error("the spool cannot be read: {0}")]
    Spool(io::Error),
}

impl Doubt {
    /// The stable name, for metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}
