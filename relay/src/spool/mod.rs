//! The spool: batches of lines on disk, from the moment a sender is told `202` until carbon has
//! confirmed them and the replay window is over.
//!
//! # On disk
//! ```text
//! spool/
//!   lock       locked (flock) by the relay that uses the spool
//!   tmp/       files being written; emptied at start
//!   batches/   1764000000000000-12000-1020000-8d1f00aa.lines
//!   damaged/   files that are not what their names say, and lines over which carbon closes
//!   rejected/  samples of refused lines
//! ```
//! A batch is one file that holds nothing but lines, so that `ls batches`, `cat` and even
//! `cat batches/* | nc carbon 2003` do what they say. Its name is
//! `{sequence}-{lines}-{bytes}-{checksum}`: the sequence sorts by arrival, the rest tells a whole
//! file from a damaged one (see [`name::BatchName`]).
//!
//! # Constraints
//! 1. A post is answered only when its batch would survive a power cut: the file is written to
//!    `tmp/` and fsynced, renamed into `batches/`, and that folder is fsynced.
//! 2. Posts that arrive together are stored as one batch and share its fsyncs. A post is stored
//!    whole or not at all.
//! 3. The batches are a log with one position, see [`index`]. Carbon gets them in order.
//! 4. A batch is deleted in one place, `Spool::delete`, after carbon has confirmed it and its
//!    replay window is over, or a post needs the room.
//! 5. All batches take at most `spool_max_bytes`, counted in disk blocks. A post that does not fit
//!    beside what carbon has not confirmed is refused.
//! 6. A post with the `Idempotency-Key` and the body of one that was stored recently gets its
//!    answer, and is not stored again (see [`keys`]).
//! 7. Nothing is lost because the folder is away, as on a mount that comes back: files count as
//!    missing only while the folder is the one that was locked.
//!
//! # Recovery
//! At start `tmp/` is emptied: nothing in it was ever answered. All whole batches in `batches/` are
//! sent, because carbon may have stopped while we were not looking. A file with a wrong name or
//! length is moved to `damaged/` at start, one with a wrong checksum when it is about to be sent.
//! Both are reported as errors, and the rest goes on. One that cannot be read is passed over and tried
//! again. Nothing behind it is deleted meanwhile, for it has to go again after it; posts that do not fit
//! are refused. After an hour it is moved to `damaged/`, too. A relay of version 0.1 has left `.sent` and
//! `.answers` files: the former become `.lines`, the latter are deleted.
//!
//! Deletions are not fsynced: a power cut that undoes them only makes the relay send batches once
//! more, which Graphite does not mind. They are made in order, and a file system with a journal undoes
//! them from the last one, so that an older batch does not come back without the newer ones.
//!
//! # Layout
//! - this file: the spool as the forwarder sees it
//! - [`commit`] many posts, one fsync
//! - [`store`] posts become a batch
//! - [`read`] batches are read
//! - [`recovery`] opening the spool
//! - [`index`] the log and its position, in memory
//! - [`keys`] idempotency keys
//! - [`name`] the file names
//! - [`disk`] the operations on the disk

pub mod commit;
pub mod disk;
pub mod index;
pub mod keys;
pub mod name;
pub mod read;
pub mod recovery;
pub mod store;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use disk::Disk;
use index::{Amount, Index, RestartEvidence};
use keys::Keys;
use name::BatchName;
pub use read::ReadError;

/// A disk that does not answer for so long is hung: the relay is not ready.
pub const HUNG_AFTER: Duration = Duration::from_secs(5);

/// The bounds of a spool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes of batches.
    pub max_bytes: u64,
    /// How long confirmed batches are kept.
    pub replay_window: Duration,
    /// Most idempotency keys that are remembered.
    pub max_keys: usize,
}

/// The batches on disk. All its methods may block on the disk, except where they say otherwise.
pub struct Spool {
    dir: PathBuf,
    limits: Limits,
    disk: Arc<dyn Disk>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Signalled when a batch has been stored.
    arrival: Notify,
    /// Held for its lock, and to know the folder again.
    lock: File,
}

#[derive(Default)]
struct State {
    index: Index,
    keys: Keys,
    last_sequence: u64,
    /// Whether the last attempt to write succeeded.
    is_writable: bool,
    /// When the writing operations that the disk has not answered yet have begun.
    operations: Vec<Instant>,
    hung_log: LogThrottle,
    full_log: LogThrottle,
    unwritable_log: LogThrottle,
    no_room_log: LogThrottle,
    undeletable_log: LogThrottle,
    unreadable_log: LogThrottle,
}

impl State {
    fn is_disk_hung(&self) -> bool {
        let mut begun = self.operations.iter();
        begun.any(|begun| begun.elapsed() >= HUNG_AFTER)
    }
}

/// What is in a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content {
    /// Batches that carbon has not confirmed yet.
    pub waiting: Amount,
    /// Batches that carbon has confirmed, and that wait to be sent again.
    pub replaying: Amount,
    /// Batches that carbon has confirmed, kept for the replay window.
    pub confirmed: Amount,
    /// Batches that cannot be read now, which are among those that wait.
    pub unreadable: u64,
    /// Whether the last attempt to write to the disk succeeded, and the disk is not hung.
    pub writable: bool,
}

impl Content {
    /// Whether nothing is to be sent.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.waiting.batches == 0 && self.replaying.batches == 0
    }
}

impl Spool {
    /// What is in it now. Does not block.
    #[must_use]
    pub fn content(&self) -> Content {
        let state = self.state();
        Content {
            waiting: state.index.waiting,
            replaying: state.index.replaying,
            confirmed: state.index.confirmed,
            unreadable: state.index.unreadable().len() as u64,
            writable: state.is_writable && !state.is_disk_hung(),
        }
    }

    /// When the oldest batch that carbon has not confirmed arrived, in microseconds since 1970. Does
    /// not block.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<u64> {
        let oldest = self.state().index.oldest_waiting();
        oldest.map(|name| name.sequence)
    }

    /// Its bounds. Does not block.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Where it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The folder of the spool.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Waits until a batch is stored. Returns at once if one was since the last call.
    pub async fn arrival(&self) {
        self.arrival.notified().await;
    }

    /// The next batch to send, behind `after`. Does not block.
    #[must_use]
    pub fn next(&self, after: Option<BatchName>) -> Option<BatchName> {
        self.state().index.next(after)
    }

    /// Notes that carbon has confirmed these batches, and keeps them for the replay window.
    pub fn confirm(&self, names: &[BatchName], now: Instant) {
        self.state().index.confirm(names, now);
        self.expire(now);
    }

    /// Passes over a batch that the disk does not give for now. Does not block.
    pub fn skip(&self, name: BatchName, now: Instant) {
        self.state().index.skip(name, now);
    }

    /// Notes evidence that carbon may have lost what it has confirmed. Gives how many lines are to be
    /// sent again because of it, now or in one more pass. Does not block.
    pub fn rewind(&self, evidence: RestartEvidence, now: Instant) -> u64 {
        let window = self.limits.replay_window;
        self.state().index.rewind(evidence, now, window)
    }

    /// Deletes the confirmed batches whose replay window is over, and begins a pass that was left to
    /// do with the others. Not during a delivery.
    pub fn expire(&self, now: Instant) {
        let expired = self.state().index.expired(now, self.limits.replay_window);
        for name in expired {
            if let Err(error) = self.delete(name) {
                // It keeps its room, and is tried again next time.
                if self.state().undeletable_log.is_due() {
                    warn!(batch = %name, %error, "a batch that is no longer needed cannot be deleted");
                }
                break;
            }
        }
        self.state().index.settle(now, self.limits.replay_window);
    }

    /// Deletes confirmed batches, oldest first, until a batch with this cost fits. An eighth of the
    /// spool stays free of them: after a start all batches have to be sent again, and until they are,
    /// posts have no other room.
    ///
    /// # Errors
    /// When the disk does not delete what has to go.
    fn make_room(&self, cost: u64) -> io::Result<()> {
        let most = self.limits.max_bytes - self.limits.max_bytes / 8;
        loop {
            let state = self.state();
            let bytes = state.index.bytes().saturating_add(cost);
            let Some(oldest) = state.index.front().filter(|_| bytes > most) else {
                return Ok(());
            };
            drop(state);
            match self.delete(oldest) {
                // Reported when its window is over.
                Err(_) if bytes <= self.limits.max_bytes => return Ok(()),
                done => done?,
            }
            self.metrics.replay_cut_short.inc();
            if self.state().no_room_log.is_due() {
                warn!(
                    batch = %oldest, spool_max_bytes = self.limits.max_bytes,
                    "confirmed batches are deleted before the end of their replay window, for new \
                     posts: a restart of carbon now could lose points that it holds in memory; \
                     raise spool_max_bytes"
                );
            }
        }
    }

    /// Deletes a batch. The only place that does.
    fn delete(&self, name: BatchName) -> io::Result<()> {
        let path = self.batches().join(name.file());
        match self.watched(|| self.disk.remove(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // It is there no more, unless the whole folder is away.
            Err(_) => self.check_present()?,
            Ok(()) => {}
        }
        self.state().index.remove(name);
        Ok(())
    }

    /// Runs something that writes to the disk, and notes as long as it runs that it does.
    fn watched<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        self.state().operations.push(begun);
        let done = work();
        let mut state = self.state();
        if let Some(at) = state.operations.iter().position(|one| *one == begun) {
            state.operations.swap_remove(at);
        }
        done
    }

    /// Says that the disk is hung, and when it answers again. Does not block.
    pub fn report_hung_disk(&self) {
        let state = self.state();
        if !state.is_disk_hung() {
            if state.hung_log.is_over() {
                info!(spool = %self.dir.display(), "the disk of the spool answers again");
            }
        } else if state.hung_log.is_due() {
            error!(
                spool = %self.dir.display(),
                "the disk of the spool has not answered for {} s: senders get no answer until it does",
                HUNG_AFTER.as_secs()
            );
        }
    }

    fn batches(&self) -> PathBuf {
        self.dir.join("batches")
    }

    fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    fn damaged(&self) -> PathBuf {
        self.dir.join("damaged")
    }

    /// The state is consistent after each statement that changes it, so a panic elsewhere does not
    /// make it wrong.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests;
