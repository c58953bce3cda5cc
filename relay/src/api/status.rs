//! How the relay is doing: for `/readyz`, and as series of its own in Graphite.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout};
use tracing::error;

use crate::clock;
use crate::metrics::Metrics;
use crate::spool::{Content, Spool};

/// A disk that took the last data is believed for so long.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// A disk that did not is tried again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// A disk that does not answer for so long hangs.
const HUNG_AFTER: Duration = Duration::from_secs(5);
/// How long a report waits for the disk; what asks for it does not wait much longer.
const REPORT_WAIT: Duration = Duration::from_millis(500);

/// Knows how the relay is doing.
#[derive(Clone)]
pub struct Status {
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    probe: Arc<Mutex<Probe>>,
}

/// The last look at the disk.
#[derive(Default)]
struct Probe {
    /// When the disk answered.
    answered: Option<Instant>,
    /// When it was asked what it has not answered yet.
    asked: Option<Instant>,
    /// Whether it was logged that it does not answer.
    told: bool,
}

impl Probe {
    fn is_due(&self, writable: bool) -> bool {
        let interval = if writable {
            PROBE_INTERVAL
        } else {
            RETRY_INTERVAL
        };
        self.asked.is_none() && self.answered.is_none_or(|at| at.elapsed() >= interval)
    }

    fn is_hung(&self) -> bool {
        self.asked.is_some_and(|at| at.elapsed() >= HUNG_AFTER)
    }
}

/// The body of `/readyz`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether lines can be stored now.
    pub ready: bool,
    /// Whether the relay has not opened its spool yet; then nothing else is known.
    pub starting: bool,
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

impl Report {
    /// Of a relay that has not opened its spool yet.
    #[must_use]
    pub fn starting() -> Self {
        Self {
            starting: true,
            carbon: "unknown",
            ..Self::default()
        }
    }
}

impl Status {
    /// Of a relay with this spool.
    #[must_use]
    pub fn new(spool: Arc<Spool>, metrics: Arc<Metrics>) -> Self {
        Self {
            spool,
            metrics,
            probe: Arc::default(),
        }
    }

    /// Looks whether lines can be stored; now and then by writing to the disk.
    pub async fn report(&self, draining: bool) -> Report {
        self.probe_disk().await;
        let hung = self.is_hung();
        let content = self.spool.content();
        let limit = self.spool.limits().max_bytes;
        let writable = content.writable && !hung;
        Report {
            ready: !draining && writable && content.waiting.bytes < limit,
            starting: false,
            draining,
            spool_writable: writable,
            spool_bytes: content.waiting.bytes,
            spool_max_bytes: limit,
            spool_batches: content.waiting.batches,
            spool_oldest_age_seconds: age_seconds(content.oldest),
            carbon: self.carbon(),
        }
    }

    /// Writes to the disk if that is due, and waits for it a little.
    async fn probe_disk(&self) {
        {
            let mut probe = self.probe();
            if !probe.is_due(self.spool.content().writable) {
                return;
            }
            probe.asked = Some(Instant::now());
        }
        let this = self.clone();
        let probed = tokio::task::spawn_blocking(move || {
            this.spool.probe();
            *this.probe() = Probe {
                answered: Some(Instant::now()),
                ..Probe::default()
            };
        });
        // What takes longer shows in a later report.
        let _ = timeout(REPORT_WAIT, probed).await;
    }

    fn is_hung(&self) -> bool {
        let mut probe = self.probe();
        let hung = probe.is_hung();
        if hung && !std::mem::replace(&mut probe.told, true) {
            error!(
                spool = %self.spool.dir().display(), seconds = HUNG_AFTER.as_secs(),
                "the disk of the spool does not answer: the relay is not ready"
            );
        }
        hung
    }

    fn probe(&self) -> MutexGuard<'_, Probe> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the gauges of the spool up to date.
    pub fn refresh_metrics(&self) {
        let metrics = &self.metrics;
        let Content {
            waiting,
            replaying,
            confirmed,
            oldest,
            writable,
        } = self.spool.content();
        metrics.spool_batches.set(waiting.batches);
        metrics.spool_lines.set(waiting.lines);
        metrics.spool_bytes.set(waiting.bytes);
        metrics.spool_max_bytes.set(self.spool.limits().max_bytes);
        metrics.spool_oldest_age_seconds.set(age_seconds(oldest));
        metrics.spool_writable.set((writable && !self.is_hung()).into());
        metrics.replay_batches.set(replaying.batches + confirmed.batches);
        metrics.replay_bytes.set(replaying.bytes + confirmed.bytes);
        metrics.replay_waiting_batches.set(replaying.batches);
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
}

/// The age of what arrived so many microseconds after 1970; 0 for nothing.
fn age_seconds(arrival_micros: Option<u64>) -> u64 {
    arrival_micros.map_or(0, |micros| clock::now().saturating_sub(micros / 1_000_000))
}

/// This machine's name as one node of a series name.
#[must_use]
pub fn host_node() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name
        .as_ref()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let node: String = name
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
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
    use crate::spool::Limits;
    use crate::spool::disk::OsDisk;
    use crate::spool::keys::MAX_KEYS;

    #[tokio::test(start_paused = true)]
    async fn r14_a_disk_that_hangs_is_not_ready() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            max_bytes: 1 << 20,
            replay_window: Duration::ZERO,
            replay_max_bytes: 0,
            max_keys: MAX_KEYS,
        };
        let spool = Spool::open(dir.path(), limits, Arc::new(OsDisk), Arc::default()).unwrap();
        let status = Status::new(Arc::new(spool), Arc::default());
        status.probe().asked = Some(Instant::now());
        tokio::time::advance(HUNG_AFTER - Duration::from_millis(1)).await;
        assert!(status.report(false).await.ready);
        tokio::time::advance(Duration::from_millis(1)).await;
        let report = status.report(false).await;
        assert!(!report.ready && !report.spool_writable);
        *status.probe() = Probe::default();
        assert!(status.report(false).await.ready);
        assert!(!status.report(true).await.ready);
    }
}
