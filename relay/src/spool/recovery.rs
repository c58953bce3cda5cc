//! Opening a spool: the lock, and what is found on the disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tracing::warn;

use super::disk::Disk;
use super::index::Index;
use super::name::{BatchName, Kind};
use super::{Limits, Spool, State};
use crate::metrics::Metrics;

/// The year 2286, as a sequence.
const FAR_FUTURE: u64 = 10_000_000_000_000_000;

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another relay has it.
    #[error(
        "the spool {} is in use by another relay, stop that one or give this one its own with --spool",
        .0.display()
    )]
    Locked(PathBuf),
    /// A folder or file in it cannot be made, locked or read.
    #[error("{} cannot be opened as a spool: {source}; give the relay a folder on a local disk with --spool", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Says where a step of opening has failed.
fn at<T>(path: &Path, done: io::Result<T>) -> Result<T, OpenError> {
    done.map_err(|source| OpenError::Disk {
        path: path.to_owned(),
        source,
    })
}

impl Spool {
    /// Opens the spool in `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// When another relay has it, or the disk fails.
    pub fn open(
        dir: &Path,
        limits: Limits,
        disk: Arc<dyn Disk>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        at(dir, std::fs::create_dir_all(dir))?;
        for above in dir.ancestors().skip(1) {
            let here = above == Path::new("");
            // A folder that we may not read is not one in which we have made ours just now.
            let _ = disk.sync_dir(if here { Path::new(".") } else { above });
        }
        let lock = match lock(&path, File::try_lock) {
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(dir.to_owned())),
            Err(TryLockError::Error(error)) => at(&path, Err(error)),
            Ok(lock) => Ok(lock),
        }?;
        let state = State {
            index: Index::new(metrics.lines_replayed.clone()),
            is_writable: true,
            ..State::default()
        };
        let spool = Self {
            dir: dir.to_owned(),
            limits,
            disk,
            metrics,
            state: Mutex::new(state),
            arrival: Notify::new(),
            lock,
        };
        spool.recover()?;
        Ok(spool)
    }

    fn recover(&self) -> Result<(), OpenError> {
        for dir in [self.tmp(), self.batches(), self.damaged()] {
            at(&dir, self.disk.create_dir(&dir))?;
        }
        at(&self.dir, self.disk.sync_dir(&self.dir))?;
        let tmp = self.tmp();
        for entry in at(&tmp, self.disk.list(&tmp))? {
            let path = tmp.join(&entry.name);
            if entry.is_file {
                at(&path, self.disk.remove(&path))?;
            }
        }
        let dir = self.batches();
        // A relay that was killed before it had synced this folder has not answered the post. What is
        // answered from here on must not depend on it.
        at(&dir, self.disk.sync_dir(&dir))?;
        let mut damaged = Vec::new();
        for entry in at(&dir, self.disk.list(&dir))? {
            let path = dir.join(&entry.name);
            match BatchName::parse_file(&entry.name) {
                Some((_, Kind::Answers)) if entry.is_file => {
                    at(&path, self.disk.remove(&path))?;
                }
                Some((name, kind @ (Kind::Lines | Kind::Sent))) => {
                    // A folder of that name is no batch of any length.
                    if !entry.is_file || entry.bytes != name.bytes {
                        damaged.push((name, entry.name));
                        continue;
                    }
                    if kind == Kind::Sent {
                        at(&path, self.disk.rename(&path, &dir.join(name.file())))?;
                    }
                    self.take_in(name);
                }
                _ => {
                    warn!(path = %path.display(), "not a file of the spool: moved to damaged/");
                    // The log has what cannot be moved.
                    let _ = self.move_aside(&entry.name);
                }
            }
        }
        for (name, file) in damaged {
            if self.state().index.contains(name) {
                // A whole file of version 0.1 has the same lines.
                let _ = self.move_aside(&file);
            } else {
                self.set_aside(name, &file);
            }
        }
        Ok(())
    }

    /// New batches come after this one, even if the clock was set back since. But a number that no clock
    /// gives is not of our making.
    fn take_in(&self, name: BatchName) {
        let mut state = self.state();
        if name.sequence < FAR_FUTURE {
            state.last_sequence = state.last_sequence.max(name.sequence);
        }
        state.index.insert(name);
    }
}

/// Opens and locks the lock file, which is made if it is missing. For reading only, because an
/// administrator could not turn a disk read-only while a file on it is open for writing. Only NFS
/// needs it open for writing.
fn lock(
    path: &Path,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<File, TryLockError> {
    let open = |options: &mut OpenOptions| options.open(path).map_err(TryLockError::Error);
    if !path.exists() {
        open(File::options().append(true).create(true))?;
    }
    let file = open(File::options().read(true))?;
    match try_lock(&file) {
        Err(TryLockError::Error(error)) if error.raw_os_error() == Some(libc::EBADF) => {
            let file = open(File::options().append(true))?;
            try_lock(&file)?;
            Ok(file)
        }
        locked => locked.map(|()| file),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn r08_the_lock_file_is_opened_for_writing_where_the_file_system_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let needs_writing = |file: &File| match (&*file).write(&[]) {
            Ok(_) => Ok(()),
            Err(error) => Err(TryLockError::Error(error)),
        };
        assert!(lock(&path, needs_writing).is_ok());
    }
}
