//! How the relay is doing: for `/readyz`, and as series of its own in Graphite.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::metrics::exposition::age_seconds;
use crate::spool::{Content, HUNG_AFTER, Limits, Spool};

/// A disk that took the last data is believed for so long.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// A disk that did not is tried again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Knows how the relay is doing.
#[derive(Clone)]
pub struct Status {
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    /// When the disk was probed last. Locked as long as it is being probed.
    probed: Arc<Mutex<Option<Instant>>>,
}

/// The body of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether lines can be stored now.
    pub ready: bool,
    /// Whether the relay is stopping.
    pub draining: bool,
    /// Whether the disk takes data.
    pub spool_writable: bool,
    /// Bytes that carbon has not confirmed, in disk blocks.
    pub spool_bytes: u64,
    /// Most bytes that these may be.
    pub spool_max_bytes: u64,
    /// Batches that carbon has not confirmed.
    pub spool_batches: u64,
    /// Age of the oldest of them.
    pub spool_oldest_age_seconds: u64,
    /// Carbon's state: `up`, `down`, or `unknown` before the first delivery.
    pub carbon: &'static str,
}

impl Status {
    /// Of a relay with this spool.
    #[must_use]
    pub fn new(spool: Arc<Spool>, metrics: Arc<Metrics>) -> Self {
        Self {
            spool,
            metrics,
            probed: Arc::default(),
        }
    }

    /// What is in the spool.
    #[must_use]
    pub fn content(&self) -> Content {
        self.spool.content()
    }

    /// The spool's bounds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.spool.limits()
    }

    /// Looks whether lines can be stored; now and then by writing to the disk.
    pub async fn report(&self, draining: bool) -> Report {
        // While another one probes, what was known before has to do.
        if let Ok(mut probed) = Arc::clone(&self.probed).try_lock_owned()
            && self.is_probe_due(*probed)
        {
            let spool = Arc::clone(&self.spool);
            let probe = move || {
                spool.probe();
                *probed = Some(Instant::now());
            };
            // A hung disk is found by its operation. Fails only if the runtime is shutting down.
            let _ = timeout(HUNG_AFTER, tokio::task::spawn_blocking(probe)).await;
        }
        let content = self.spool.content();
        let limit = self.spool.limits().max_bytes;
        Report {
            ready: !draining && content.writable && content.waiting.bytes < limit,
            draining,
            spool_writable: content.writable,
            spool_bytes: content.waiting.bytes,
            spool_max_bytes: limit,
            spool_batches: content.waiting.batches,
            spool_oldest_age_seconds: age_seconds(content.oldest),
            carbon: self.carbon(),
        }
    }

    /// The relay's figures as lines for Graphite: `carbon.relays.{host}.catchpoint_graphite.…`,
    /// the place where carbon's own relays have theirs.
    #[must_use]
    pub fn own_lines(&self, host: &str, now: u64) -> Vec<u8> {
        let metrics = &self.metrics;
        let Content {
            waiting,
            replaying,
            confirmed,
            oldest,
            ..
        } = self.spool.content();
        let figures = [
            ("posts", metrics.posts.sum()),
            ("linesAccepted", metrics.lines_accepted.get()),
            ("linesRejected", metrics.lines_rejected.sum()),
            ("linesLost", metrics.lines_lost.get()),
            ("linesConfirmed", metrics.lines_confirmed.get()),
            ("deliveriesFailed", metrics.deliveries_failed.sum()),
            ("carbonRestarts", metrics.carbon_restarts.get()),
            ("linesReplayed", metrics.lines_replayed.get()),
            ("spool.batches", waiting.batches),
            ("spool.lines", waiting.lines),
            ("spool.bytes", waiting.bytes),
            ("spool.oldestAgeSeconds", age_seconds(oldest)),
            ("replay.batches", replaying.batches + confirmed.batches),
            ("replay.bytes", replaying.bytes + confirmed.bytes),
        ];
        let mut lines = String::new();
        for (name, value) in figures {
            // Writing to a string does not fail.
            let _ = writeln!(
                lines,
                "carbon.relays.{host}.catchpoint_graphite.{name} {value} {now}"
            );
        }
        lines.into_bytes()
    }

    fn carbon(&self) -> &'static str {
        match self.metrics.carbon_up.get() {
            Some(true) => "up",
            Some(false) => "down",
            None => "unknown",
        }
    }

    fn is_probe_due(&self, probed: Option<Instant>) -> bool {
        let interval = if self.spool.content().writable {
            PROBE_INTERVAL
        } else {
            RETRY_INTERVAL
        };
        probed.is_none_or(|at| at.elapsed() >= interval)
    }
}

/// This machine's name as one node of a series name.
#[must_use]
pub fn host_node() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name
        .as_ref()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let node: String = name
        .chars()
        .map(|c| if sound(c) { c } else { '_' })
        .take(64)
        .collect();
    if node.is_empty() {
        "unknown".to_owned()
    } else {
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::disk::OsDisk;
    use crate::spool::keys::MAX_KEYS;

    #[tokio::test]
    async fn the_disk_is_probed_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            max_bytes: 1 << 20,
            replay_window: Duration::ZERO,
            max_keys: MAX_KEYS,
        };
        let spool = Spool::open(dir.path(), limits, Arc::new(OsDisk), Arc::default()).unwrap();
        let status = Status::new(Arc::new(spool), Arc::default());
        // Each probe fails from here on.
        std::fs::remove_file(dir.path().join("lock")).unwrap();
        let under_way = Arc::clone(&status.probed).try_lock_owned().unwrap();
        assert!(status.report(false).await.spool_writable);
        drop(under_way);
        assert!(!status.report(false).await.spool_writable);
    }
}
