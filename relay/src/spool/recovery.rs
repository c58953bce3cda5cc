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

impl OpenError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Disk {
            path: path.to_owned(),
            source,
        }
    }
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
        std::fs::create_dir_all(dir).map_err(OpenError::at(dir))?;
        for above in dir.ancestors().skip(1) {
            let here = above == Path::new("");
            // A folder that we may not read is not one in which we have made ours just now.
            let _ = disk.sync_dir(if here { Path::new(".") } else { above });
        }
        let lock = lock(&path, File::try_lock).map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked(dir.to_owned()),
            TryLockError::Error(error) => OpenError::at(&path)(error),
        })?;
        let spool = Self {
            dir: dir.to_owned(),
            limits,
            disk,
            metrics,
            state: Mutex::new(State {
                is_writable: true,
                ..State::default()
            }),
            arrival: Notify::new(),
            lock,
        };
        spool.recover()?;
        Ok(spool)
    }

    fn recover(&self) -> Result<(), OpenError> {
        for dir in [self.tmp(), self.batches(), self.damaged()] {
            self.disk.create_dir(&dir).map_err(OpenError::at(&dir))?;
        }
        self.disk
            .sync_dir(&self.dir)
            .map_err(OpenError::at(&self.dir))?;
        self.empty_tmp()?;
        let dir = self.batches();
        // A relay that was killed before it had synced this folder has not answered the post. What is
        // answered from here on must not depend on it.
        self.disk.sync_dir(&dir).map_err(OpenError::at(&dir))?;
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for entry in self.disk.list(&dir).map_err(OpenError::at(&dir))? {
            match BatchName::parse_file(&entry.name) {
                Some((_, Kind::Answers)) if entry.is_file => {
                    let path = dir.join(&entry.name);
                    self.disk.remove(&path).map_err(OpenError::at(&path))?;
                }
                Some((name, kind @ (Kind::Lines | Kind::Sent))) => {
                    // A folder of that name is no batch of any length.
                    if entry.is_file && entry.bytes == name.bytes {
                        if kind == Kind::Sent {
                            let (from, to) = (dir.join(&entry.name), dir.join(name.file()));
                            self.disk.rename(&from, &to).map_err(OpenError::at(&from))?;
                        }
                        found.push(name);
                    } else {
                        damaged.push((name, entry.name));
                    }
                }
                _ => {
                    warn!(path = %dir.join(&entry.name).display(), "not a file of the spool: moved to damaged/; let nothing else write into this folder");
                    // The log has what cannot be moved.
                    let _ = self.move_aside(&entry.name);
                }
            }
        }
        found.sort_unstable();
        for (name, file) in damaged {
            if found.binary_search(&name).is_ok() {
                // A whole file of version 0.1 has the same lines.
                let _ = self.move_aside(&file);
            } else {
                self.set_aside(name, &file);
            }
        }
        let mut state = self.state();
        // New batches come after all of these, even if the clock was set back since. But a number
        // that no clock gives is not of our making.
        let sequences = found.iter().map(|name| name.sequence);
        let last = sequences.filter(|sequence| *sequence < FAR_FUTURE).max();
        state.last_sequence = last.unwrap_or(0);
        state.index = Index::of(found);
        Ok(())
    }

    fn empty_tmp(&self) -> Result<(), OpenError> {
        let tmp = self.tmp();
        for entry in self.disk.list(&tmp).map_err(OpenError::at(&tmp))? {
            let path = tmp.join(&entry.name);
            if entry.is_file {
                self.disk.remove(&path).map_err(OpenError::at(&path))?;
            }
        }
        Ok(())
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
