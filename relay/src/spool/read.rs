//! Reading batches: those that are damaged, cannot be read, or are away with the whole folder.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Spool;
use super::name::BatchName;

/// A batch that cannot be read for so long is given up: it holds back the deletion of all behind it,
/// and posts for which there is no room then are refused.
const UNREADABLE_FOR: Duration = Duration::from_secs(3600);

/// Why a batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is lost: not what its name says, or no longer there.
    #[error("batch {0} is damaged")]
    Damaged(BatchName),
    /// The disk does not give it now. It is passed over.
    #[error("batch {0} cannot be read")]
    Unreadable(BatchName),
    /// The folder of the spool is not there.
    #[error("the folder of the spool is not there: {0}")]
    Away(io::Error),
}

impl Spool {
    /// Reads a batch. It is no larger than one post, or than a few megabytes of small ones.
    ///
    /// # Errors
    /// A batch that is not what its name says is moved aside: nothing of it must reach carbon, for a
    /// flipped bit may have made a line that harms its neighbours there. One that the disk does not
    /// give is passed over until it does.
    pub fn read(&self, name: BatchName) -> Result<Vec<u8>, ReadError> {
        let path = self.batches().join(name.file());
        // A byte more, to see whether the file is longer.
        let lines = self.disk.read(&path, name.bytes.saturating_add(1));
        let whole = lines.and_then(|lines| {
            let is_whole =
                lines.len() as u64 == name.bytes && crc32fast::hash(&lines) == name.checksum;
            is_whole
                .then_some(lines)
                .ok_or_else(|| io::ErrorKind::InvalidData.into())
        });
        whole.map_err(|error| self.read_failed(name, &error))
    }

    fn read_failed(&self, name: BatchName, error: &io::Error) -> ReadError {
        if error.kind() == io::ErrorKind::InvalidData {
            self.set_aside(name, &name.file());
            return ReadError::Damaged(name);
        }
        // A folder that is away has none of its files.
        if let Err(error) = self.check_present() {
            return ReadError::Away(error);
        }
        if error.kind() == io::ErrorKind::NotFound {
            error!(batch = %name, lines = name.lines, "a batch is missing from the spool: its lines are lost");
            self.lose(name);
            return ReadError::Damaged(name);
        }
        let mut state = self.state();
        state.index.skip(name, Instant::now());
        if state.unreadable_log.is_due() {
            warn!(
                batch = %name, %error, unreadable_batches = state.index.unreadable().len(),
                "a batch cannot be read now: the others go on, and it is tried again"
            );
        }
        ReadError::Unreadable(name)
    }

    /// Tries the batches that could not be read. The first that can be is sent in its place, after the
    /// delivery that is under way. One that could not be read for long is given up. Takes long on a
    /// disk that is dying.
    pub fn retry_unreadable(&self, now: Instant) {
        let unreadable = self.state().index.unreadable().clone();
        for (name, since) in unreadable {
            match self.read(name) {
                Ok(_) => {
                    info!(batch = %name, "a batch can be read again, and is sent with all that follows it");
                    self.state().index.note_readable(name);
                    return;
                }
                Err(ReadError::Away(_)) => return,
                Err(ReadError::Unreadable(_))
                    if now.saturating_duration_since(since) >= UNREADABLE_FOR =>
                {
                    // Sent when newer batches are gone, its values would replace theirs. So one that
                    // stays is tried again.
                    if self.move_aside(&name.file()).is_ok() {
                        error!(
                            batch = %name, lines = name.lines, kept_in = %self.damaged().display(),
                            "a batch could not be read for an hour: its lines are lost unless you \
                             repair and post them"
                        );
                        self.lose(name);
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// Moves the file of a damaged batch out of the way.
    pub(super) fn set_aside(&self, name: BatchName, file: &str) {
        error!(
            batch = %name, lines = name.lines, kept_in = %self.damaged().display(),
            "a batch is damaged: its lines are lost unless you repair and post them"
        );
        // A file that stays is found again at the next start.
        let _ = self.move_aside(file);
        self.lose(name);
    }

    pub(super) fn move_aside(&self, file: &str) -> io::Result<()> {
        let (from, to) = (self.batches().join(file), self.damaged().join(file));
        // Somebody may have deleted the folder.
        let made = self.disk.create_dir(&self.damaged());
        let moved = made.and_then(|()| self.disk.rename(&from, &to));
        if let Err(error) = &moved {
            error!(path = %from.display(), %error, "a file cannot be moved to damaged/");
        }
        moved
    }

    /// Forgets a batch that cannot be delivered, and its keys with it, so that a sender that posts
    /// it again is heard.
    fn lose(&self, name: BatchName) {
        let mut state = self.state();
        state.index.remove(name);
        state.keys.forget(&name.to_string());
        drop(state);
        self.metrics.lines_lost.inc_by(name.lines);
        self.metrics.batches_damaged.inc();
    }

    /// Checks that the folder of the spool is the one that was locked, and has its folders.
    pub(super) fn check_present(&self) -> io::Result<()> {
        let (here, locked) = (
            std::fs::metadata(self.dir.join("lock"))?,
            self.lock.metadata()?,
        );
        if (here.dev(), here.ino()) != (locked.dev(), locked.ino()) {
            return Err(io::Error::other("another folder is in its place"));
        }
        self.disk.create_dir(&self.tmp())?;
        self.disk.create_dir(&self.batches())
    }
}
