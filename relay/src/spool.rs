//! The spool: batches of lines on disk, from the moment a sender is told `202` until carbon has
//! confirmed them and the replay window is over.
//!
//! # On disk
//! ```text
//! spool/
//!   lock       locked (flock) by the relay that uses the spool
//!   tmp/       files being written; emptied at start
//!   batches/   1764000000000000-12000-1020000-8d1f00aa.lines     waits to be sent
//!              1764000000000000-12000-1020000-8d1f00aa.sent      confirmed, kept for the replay window
//!              1764000000000000-12000-1020000-8d1f00aa.answers   its posts' idempotency keys
//!   damaged/   files that are not what their names say
//!   rejected/  samples of refused lines (see `rejected`)
//! ```
//! A batch is one file that holds nothing but lines, so that `ls batches`, `cat` and even
//! `cat batches/*.lines | nc carbon 2003` do what they say. Its name is
//! `{sequence}-{lines}-{bytes}-{checksum}`: the sequence sorts by arrival, the rest tells a whole
//! file from a damaged one (see [`name::BatchName`]).
//!
//! # Constraints
//! 1. A post is answered only when its batch would survive a power cut: the file is written to
//!    `tmp/` and fsynced, renamed into `batches/`, and that folder is fsynced.
//! 2. Posts that arrive together are stored as one batch and share its fsyncs. A post is stored
//!    whole or not at all.
//! 3. A batch is deleted in one place, [`Spool::expire`], after carbon has confirmed it and its
//!    replay window is over (or, oldest first, when confirmed batches, those to be sent again
//!    included, take more than `replay_max_bytes`).
//! 4. What carbon has not confirmed takes at most `spool_max_bytes`, counted in disk blocks; a post
//!    that does not fit is refused. With what it has, be it to be sent again or not, the spool takes
//!    at most `spool_max_bytes + replay_max_bytes`.
//! 5. The answers of posts with an `Idempotency-Key` are written next to the batch and fsynced
//!    before the batch gets its name. They live as long as the batch: at least until carbon has
//!    confirmed it and the replay window is over. At most [`keys::MAX_KEYS`] keys are remembered.
//!    A post is the same again only if its body is, too; another body under the same key is stored.
//!
//! # Recovery
//! At start `tmp/` is emptied: nothing in it was ever answered. All whole batches in `batches/`
//! are sent, the `.sent` ones again, because carbon may have stopped while we were not looking.
//! Answers without their batch are of a post that was never answered, and are deleted. A file
//! with a wrong name or length is moved to `damaged/` at start, one with a wrong checksum when it
//! is about to be sent; both are reported as errors, and the rest goes on.
//!
//! The renaming from `.lines` to `.sent` and the deletion are not fsynced: a power cut that undoes
//! them only makes the relay send a batch once more, which Graphite does not mind. Until it has, the
//! spool may take more than its bound.
//!
//! # Layout
//! - this file: the spool as the forwarder sees it
//! - [`store`] posts become a batch
//! - [`recovery`] opening the spool
//! - [`index`] what is in it, in memory
//! - [`keys`] idempotency keys
//! - [`name`] the file names
//! - [`disk`] the operations on the disk

pub mod disk;
pub mod index;
pub mod keys;
pub mod name;
pub mod recovery;
pub mod store;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{error, warn};

use crate::metrics::Metrics;
use crate::log_throttle::LogThrottle;
use disk::Disk;
use index::{Amount, End, Index};
use keys::Keys;
use name::{BatchName, Kind};

/// The bounds of a spool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes of batches that carbon has not confirmed.
    pub max_bytes: u64,
    /// How long confirmed batches are kept.
    pub replay_window: Duration,
    /// Most bytes of confirmed batches.
    pub replay_max_bytes: u64,
    /// Most idempotency keys that are remembered.
    pub max_keys: usize,
}

/// The batches on disk. All its methods may block on the disk.
pub struct Spool {
    dir: PathBuf,
    limits: Limits,
    disk: Arc<dyn Disk>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Signalled when a batch has been stored.
    arrival: Notify,
    /// Held for its lock.
    _lock: File,
}

#[derive(Default)]
struct State {
    index: Index,
    keys: Keys,
    last_sequence: u64,
    /// Whether the last attempt to write succeeded.
    writable: bool,
    /// Whether the last attempt to delete failed.
    undeletable: bool,
    /// Whether it was said that the spool is full, and not yet that it has room again.
    full: bool,
    full_told: LogThrottle,
    cut_short_told: LogThrottle,
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
    /// When the oldest waiting batch arrived, in microseconds since 1970.
    pub oldest: Option<u64>,
    /// Whether the last attempt to write to the disk succeeded.
    pub writable: bool,
}

impl Content {
    /// Whether nothing is to be sent.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.waiting.batches == 0 && self.replaying.batches == 0
    }
}

/// Why a batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not what its name says, and was moved aside.
    #[error("batch {0} is damaged")]
    Damaged(BatchName),
    /// The disk does not give it now.
    #[error("batch {name} cannot be read")]
    Disk {
        /// Which.
        name: BatchName,
        /// Why.
        source: io::Error,
    },
}

impl Spool {
    /// What is in it now.
    #[must_use]
    pub fn content(&self) -> Content {
        let state = self.state();
        Content {
            waiting: state.index.waiting(),
            replaying: state.index.replaying(),
            confirmed: state.index.confirmed(),
            oldest: state.index.oldest_waiting().map(|name| name.sequence),
            writable: state.writable,
        }
    }

    /// Its bounds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The folder of the spool.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Waits until a batch is stored; returns at once if one was since the last call.
    pub async fn arrival(&self) {
        self.arrival.notified().await;
    }

    /// The next batches to send from one end: at least one if any is ready, then more while all
    /// together have no more than `max_bytes`.
    #[must_use]
    pub fn next(
        &self,
        end: End,
        max_bytes: u64,
        max_batches: usize,
        now: Instant,
    ) -> Vec<BatchName> {
        self.state().index.next(end, max_bytes, max_batches, now)
    }

    /// Opens a batch for reading, after all of it was found to be what its name says.
    ///
    /// # Errors
    /// A batch that is not is moved aside: nothing of it must reach carbon, for a flipped bit may
    /// have made a line that harms its neighbours there.
    pub fn read(&self, name: BatchName) -> Result<Box<dyn Read + Send>, ReadError> {
        let failed = |source| ReadError::Disk { name, source };
        let kind = self.state().index.kind(name).unwrap_or(Kind::Waiting);
        let path = self.batches().join(name.file(kind));
        let verdict = self.disk.open(&path).and_then(|file| matches(file, name));
        match verdict {
            Ok(true) => self.disk.open(&path).map_err(failed),
            Ok(false) => {
                self.set_aside(name, kind);
                Err(ReadError::Damaged(name))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                error!(batch = %name, lines = name.lines, "a batch has vanished from the spool: its lines are lost");
                self.lose(name);
                Err(ReadError::Damaged(name))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Notes that carbon has confirmed these batches, and keeps them for the replay window.
    pub fn confirm(&self, names: &[BatchName], now: Instant) {
        for name in names {
            if self.state().index.confirm(*name, now) != Some(Kind::Waiting) {
                continue;
            }
            let (from, to) = (name.file(Kind::Waiting), name.file(Kind::Confirmed));
            match self
                .disk
                .rename(&self.batches().join(from), &self.batches().join(to))
            {
                Ok(()) => self.state().index.renamed(*name),
                Err(error) => {
                    warn!(batch = %name, %error, "a confirmed batch cannot be renamed: a restart would send it again");
                }
            }
        }
        self.expire(now);
    }

    /// Lets the others go first for a while, because this batch failed by itself. `pause` gives
    /// the while from the number of its failures.
    pub fn hold(&self, name: BatchName, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.state().index.hold(name, now, pause);
    }

    /// Puts all confirmed batches up to be sent again. `certain` says that carbon was really gone;
    /// if not, their replay windows go on from where they are.
    pub fn replay(&self, certain: bool) -> Amount {
        self.state().index.replay(certain)
    }

    /// Deletes the confirmed batches whose replay window is over. The only place that deletes a
    /// batch.
    pub fn expire(&self, now: Instant) {
        let Limits {
            replay_window,
            replay_max_bytes,
            ..
        } = self.limits;
        let expired = self
            .state()
            .index
            .expired(now, replay_window, replay_max_bytes);
        let mut cut_short = 0;
        for batch in expired {
            self.state().keys.forget(batch.name);
            let mut removed = Ok(());
            if batch.has_answers {
                removed = self.remove(batch.name, Kind::Answers);
            }
            removed = removed.and_then(|()| self.remove(batch.name, batch.kind));
            let mut state = self.state();
            let failed_before = std::mem::replace(&mut state.undeletable, removed.is_err());
            match removed {
                Ok(()) => {
                    state.index.remove(batch.name);
                    cut_short += u64::from(batch.early);
                }
                Err(error) => {
                    // It keeps its room, and is tried again next time.
                    if !failed_before {
                        warn!(batch = %batch.name, %error, "a batch that is done with cannot be deleted");
                    }
                    break;
                }
            }
        }
        self.metrics.replay_cut_short.add(cut_short);
        if cut_short > 0 && self.state().cut_short_told.is_due() {
            warn!(
                batches = cut_short,
                replay_max_bytes,
                "confirmed batches are deleted before the end of their replay window: a restart of \
                 carbon now could lose points that it holds in memory; raise replay_max_bytes"
            );
        }
    }

    /// Moves a damaged batch out of the way.
    fn set_aside(&self, name: BatchName, kind: Kind) {
        error!(
            batch = %name, lines = name.lines, kept_in = %self.damaged().display(),
            "a batch is damaged: its lines are lost unless you mend and post them"
        );
        let file = name.file(kind);
        if let Err(error) = self
            .disk
            .rename(&self.batches().join(&file), &self.damaged().join(&file))
        {
            error!(batch = %name, %error, "the damaged batch cannot be moved aside");
        }
        self.lose(name);
    }

    /// Forgets a batch that cannot be delivered, and its keys with it, so that a sender that posts
    /// it again is heard.
    fn lose(&self, name: BatchName) {
        let mut state = self.state();
        let has_answers = state.index.remove(name);
        state.keys.forget(name);
        drop(state);
        if has_answers {
            // If it stays, it is deleted at the next start.
            let _ = self.remove(name, Kind::Answers);
        }
        self.metrics.lines_lost.add(name.lines);
        self.metrics.batches_damaged.add(1);
    }

    /// Deletes a file of a batch, if it is there.
    fn remove(&self, name: BatchName, kind: Kind) -> io::Result<()> {
        match self.disk.remove(&self.batches().join(name.file(kind))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
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

/// Whether the content is as long as the name says and has its checksum.
fn matches(mut file: impl Read, name: BatchName) -> io::Result<bool> {
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(buffer.get(..count).unwrap_or_default());
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes == name.bytes && hasher.finalize() == name.checksum)
}

#[cfg(test)]
mod tests;
