//! Reading batches: those that are damaged, cannot be read, or are away with the whole folder.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Spool;
use super::name::BatchName;

/// A batch is read in parts of so many bytes: the memory for a delivery does not grow with it.
const PART_BYTES: u64 = 256 << 10;

/// A batch that cannot be read for so long is given up: it holds back the deletion of all behind it,
/// which have to be sent again after it.
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
    /// Checks that a batch can be read, and is what its name says.
    ///
    /// # Errors
    /// A batch that is not is moved aside: nothing of it must reach carbon, for a flipped bit may
    /// have made a line that harms its neighbours there. One that the disk does not give is passed
    /// over until it does.
    pub fn check(&self, name: BatchName) -> Result<(), ReadError> {
        match self.is_whole(name) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.read_failed(name, &io::ErrorKind::InvalidData.into())),
            Err(error) => Err(self.read_failed(name, &error)),
        }
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
            error!(batch = %name, lines = name.lines, "a batch is missing from the spool: its lines are lost; find out who deletes files there, and backfill the time");
            self.lose(name);
            return ReadError::Damaged(name);
        }
        let mut state = self.state();
        state.index.skip(name, Instant::now());
        if state.unreadable_log.is_due() {
            warn!(
                batch = %name, %error, unreadable_batches = state.index.unreadable().len(),
                "a batch cannot be read now: the others go on, and it is tried again; check the disk and \
                 the permissions of the file"
            );
        }
        ReadError::Unreadable(name)
    }

    /// Reads the next part of a batch that was checked, behind so many bytes of it.
    ///
    /// # Errors
    /// When the disk does not give it any more. It is passed over, too.
    pub fn read_part(&self, name: BatchName, from: u64) -> Result<Vec<u8>, ReadError> {
        let most = name.bytes.saturating_sub(from).min(PART_BYTES);
        let part = match self.read_file(name, from, most) {
            Ok(part) if part.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            part => part,
        };
        part.map_err(|error| self.read_failed(name, &error))
    }

    /// Checks a batch and reads all of it.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn read(&self, name: BatchName) -> Result<Vec<u8>, ReadError> {
        self.check(name)?;
        let mut lines = Vec::new();
        while (lines.len() as u64) < name.bytes {
            lines.append(&mut self.read_part(name, lines.len() as u64)?);
        }
        Ok(lines)
    }

    fn read_file(&self, name: BatchName, from: u64, max_bytes: u64) -> io::Result<Vec<u8>> {
        let path = self.batches().join(name.file());
        self.disk.read(&path, from, max_bytes)
    }

    /// Whether the file is as long as the name says and has its checksum.
    fn is_whole(&self, name: BatchName) -> io::Result<bool> {
        let mut checksum = crc32fast::Hasher::new();
        let mut bytes = 0;
        while bytes <= name.bytes {
            let part = self.read_file(name, bytes, PART_BYTES)?;
            if part.is_empty() {
                return Ok(bytes == name.bytes && checksum.finalize() == name.checksum);
            }
            checksum.update(&part);
            bytes += part.len() as u64;
        }
        Ok(false)
    }

    /// Tries the batches that could not be read, for [`resume`](Self::resume). One that could not be read
    /// for long is given up. Takes long on a disk that is dying.
    pub fn retry_unreadable(&self, now: Instant) {
        let unreadable = self.state().index.unreadable().clone();
        for (name, since) in unreadable {
            match self.check(name) {
                Ok(()) => {
                    self.state().readable_again = Some(name);
                    return;
                }
                Err(ReadError::Away(_)) => return,
                Err(ReadError::Unreadable(_))
                    if now.saturating_duration_since(since) >= UNREADABLE_FOR =>
                {
                    // It is tried again, and the log has why.
                    let _ = self.give_up(name);
                }
                Err(_) => {}
            }
        }
    }

    /// Lets the position go back to a batch that can be read again. Not during a delivery, for all that
    /// follows has to go again after it. Does not block.
    pub fn resume(&self) {
        let mut state = self.state();
        if let Some(name) = state.readable_again.take() {
            info!(batch = %name, "a batch can be read again, and is sent with all that follows it");
            state.index.move_back_to(name);
        }
    }

    /// Moves a batch that cannot be read to the damaged ones.
    ///
    /// # Errors
    /// When the disk does not do that.
    pub(super) fn give_up(&self, name: BatchName) -> io::Result<()> {
        self.move_aside(&name.file())?;
        error!(
            batch = %name, lines = name.lines, kept_in = %self.damaged().display(),
            "a batch could not be read for an hour, or until its room was needed: its lines are \
             lost unless you repair and post them; check the disk"
        );
        self.lose(name);
        Ok(())
    }

    /// Moves the file of a damaged batch out of the way.
    pub(super) fn set_aside(&self, name: BatchName, file: &str) {
        error!(
            batch = %name, lines = name.lines, kept_in = %self.damaged().display(),
            "a batch is damaged: its lines are lost unless you repair and post them; check the disk"
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
            error!(path = %from.display(), %error, "a file cannot be moved to damaged/: check the disk and the permissions of these folders");
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
