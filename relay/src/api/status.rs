//! How the relay is doing: for `/readyz`, and as series of its own in Graphite.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::clock;
use crate::metrics::Metrics;
use crate::spool::{Content, Spool};

/// A disk that took the last data is believed for so long.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// A disk that did not is tried again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a report waits for the disk; what asks for it does not wait much longer.
const REPORT_WAIT: Duration = Duration::from_millis(500);

/// Knows how the relay is doing.
#[derive(Clone)]
pub struct Status {
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    /// When the disk was probed last. Locked as long as it is being probed.
    probed: Arc<Mutex<Option<Instant>>>,
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
    /// Carbon's state.
    pub carbon: Carbon,
    /// Whether a restart of carbon may go unnoticed, because something before it closes connections.
    pub confirmation_weak: bool,
}

/// How carbon took the last delivery; the first is made at the start, with a line of the relay's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carbon {
    /// It confirmed it.
    Up,
    /// It did not.
    Down,
    /// The first has not ended yet.
    #[default]
    Unknown,
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

    /// Looks whether lines can be stored; now and then by writing to the disk.
    pub async fn report(&self, draining: bool) -> Report {
        self.probe_disk().await;
        let content = self.spool.content();
        let limit = self.spool.limits().max_bytes;
        // No post can have the room of these.
        let to_send = content.waiting.bytes + content.replaying.bytes;
        Report {
            ready: !draining && content.writable && to_send < limit,
            starting: false,
            draining,
            spool_writable: content.writable,
            spool_bytes: content.waiting.bytes,
            spool_max_bytes: limit,
            spool_batches: content.waiting.batches,
            spool_oldest_age_seconds: age_seconds(self.spool.oldest_waiting()),
            carbon: match self.metrics.carbon_up.get() {
                Some(true) => Carbon::Up,
                Some(false) => Carbon::Down,
                None => Carbon::Unknown,
            },
            confirmation_weak: self.metrics.confirmation_weak.get() == Some(true),
        }
    }

    /// Writes to the disk if that is due, and waits for it a little: what a disk that hangs makes of it
    /// shows in the content of the spool.
    async fn probe_disk(&self) {
        // While another one probes, what was known before has to do.
        let Ok(mut probed) = Arc::clone(&self.probed).try_lock_owned() else {
            return;
        };
        let interval = if self.spool.content().writable {
            PROBE_INTERVAL
        } else {
            RETRY_INTERVAL
        };
        if probed.is_some_and(|at| at.elapsed() < interval) {
            return;
        }
        let spool = Arc::clone(&self.spool);
        let probe = move || {
            spool.probe();
            *probed = Some(Instant::now());
        };
        let _ = timeout(REPORT_WAIT, tokio::task::spawn_blocking(probe)).await;
    }

    /// Brings the gauges of the spool up to date.
    pub fn refresh_metrics(&self) {
        let metrics = &self.metrics;
        let Content {
            waiting,
            replaying,
            confirmed,
            writable,
            ..
        } = self.spool.content();
        metrics.spool_batches.set(waiting.batches);
        metrics.spool_lines.set(waiting.lines);
        metrics.spool_bytes.set(waiting.bytes);
        metrics.spool_max_bytes.set(self.spool.limits().max_bytes);
        let oldest = self.spool.oldest_waiting();
        metrics.spool_oldest_age_seconds.set(age_seconds(oldest));
        metrics.spool_writable.set(writable.into());
        metrics
            .replay_batches
            .set(replaying.batches + confirmed.batches);
        metrics.replay_bytes.set(replaying.bytes + confirmed.bytes);
        metrics.replay_waiting_batches.set(replaying.batches);
    }

    /// The relay's figures as lines for Graphite: `carbon.relays.{host}.catchpoint_graphite.…`,
    /// the place where carbon's own relays have theirs.
    #[must_use]
    pub fn own_lines(&self, host: &str, now: u64) -> Vec<u8> {
        self.refresh_metrics();
        let metrics = &self.metrics;
        let figures = [
            ("posts", metrics.posts.sum()),
            ("linesAccepted", metrics.lines_accepted.get()),
            ("linesRejected", metrics.lines_rejected.sum()),
            ("linesLost", metrics.lines_lost.get()),
            ("linesConfirmed", metrics.lines_confirmed.get()),
            ("deliveriesFailed", metrics.deliveries_failed.sum()),
            ("carbonRestarts", metrics.carbon_restarts.get()),
            ("linesReplayed", metrics.lines_replayed.get()),
            ("spool.batches", metrics.spool_batches.get()),
            ("spool.lines", metrics.spool_lines.get()),
            ("spool.bytes", metrics.spool_bytes.get()),
            (
                "spool.oldestAgeSeconds",
                metrics.spool_oldest_age_seconds.get(),
            ),
            ("replay.batches", metrics.replay_batches.get()),
            ("replay.bytes", metrics.replay_bytes.get()),
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
}

/// The age of what arrived so many microseconds after 1970; 0 for nothing.
fn age_seconds(arrival_micros: Option<u64>) -> u64 {
    arrival_micros.map_or(0, |micros| clock::now().saturating_sub(micros / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Counts;
    use crate::spool::Limits;
    use crate::spool::index::RestartEvidence;
    use crate::spool::store::Post;
    use crate::spool::tests::sim::SimDisk;

    #[tokio::test]
    async fn a_spool_full_of_what_is_to_be_sent_again_is_not_ready() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            max_bytes: 4096,
            replay_window: Duration::from_secs(60),
            max_keys: 1,
        };
        let disk = Arc::new(SimDisk::default());
        let spool = Spool::open(dir.path(), limits, disk, Arc::default()).unwrap();
        let post = Post {
            lines: vec!["a 1 2\n".into()],
            counts: Counts {
                accepted: 1,
                ..Counts::default()
            },
            ..Post::default()
        };
        assert!(spool.store(&[post])[0].is_ok());
        let now = Instant::now();
        spool.confirm(&[spool.next(None).unwrap()], now);
        let status = Status::new(Arc::new(spool), Arc::default());
        assert!(status.report(false).await.ready);
        status.spool.rewind(RestartEvidence::Certain, now);
        assert!(!status.report(false).await.ready);
    }
}
