//! Opening a spool: the lock, and what is found on the disk.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tracing::{error, warn};

use super::disk::Disk;
use super::name::{BatchName, Kind};
use super::store::parse_answers;
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
    /// A folder or file in it cannot be made or read.
    #[error("{} cannot be opened as a spool (--spool): {source}", path.display())]
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
        let lock = open_lock(&path).map_err(OpenError::at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(OpenError::at(&path)(source)),
        }
        let spool = Self {
            dir: dir.to_owned(),
            limits,
            disk,
            metrics,
            state: Mutex::new(State {
                writable: true,
                ..State::default()
            }),
            arrival: Notify::new(),
            _lock: lock,
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
        let entries = self.disk.list(&dir).map_err(OpenError::at(&dir))?;
        let mut found = Vec::new();
        let mut answers = HashMap::new();
        for entry in entries {
            match BatchName::parse_file(&entry.name) {
                Some((name, Kind::Answers)) if entry.is_file => {
                    answers.insert(name, entry.bytes);
                }
                Some((name, kind @ (Kind::Waiting | Kind::Confirmed))) => {
                    // A folder of that name is no batch of any length.
                    let bytes = entry.is_file.then_some(entry.bytes);
                    found.push((name, kind, bytes));
                }
                _ => {
                    warn!(path = %dir.join(&entry.name).display(), "not a file of the spool: moved aside");
                    self.move_aside(&entry.name);
                }
            }
        }
        // Should both files of a batch be there, the last of these counts: a whole one, and of two
        // whole ones the one that is confirmed.
        found.sort_unstable_by_key(|(name, kind, bytes)| {
            (*name, *bytes == Some(name.bytes), *kind == Kind::Confirmed)
        });
        for (name, kind, bytes) in found {
            // New batches come after it, even if the clock was set back since; but a number that
            // no clock gives is not of our making.
            if name.sequence < FAR_FUTURE {
                let mut state = self.state();
                state.last_sequence = state.last_sequence.max(name.sequence);
            }
            if bytes == Some(name.bytes) {
                let answers_bytes = answers.remove(&name);
                self.state().index.insert(name, kind, answers_bytes);
                if answers_bytes.is_some() {
                    self.remember_answers(name);
                }
            } else {
                self.set_aside(name, kind);
            }
        }
        for (name, _) in answers {
            let path = dir.join(name.file(Kind::Answers));
            self.disk.remove(&path).map_err(OpenError::at(&path))?;
        }
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

    /// Reads the keys that the posts of a batch had.
    fn remember_answers(&self, name: BatchName) {
        let path = self.batches().join(name.file(Kind::Answers));
        let mut content = Vec::new();
        let read = self
            .disk
            .open(&path)
            .and_then(|mut file| file.read_to_end(&mut content));
        if let Err(error) = read {
            warn!(path = %path.display(), %error, "idempotency keys cannot be read: their posts would be stored again");
        }
        let keys = parse_answers(&content).map(|keyed| keyed.key).collect();
        let max_keys = self.limits.max_keys;
        self.state().keys.remember(name, keys, max_keys);
    }

    fn move_aside(&self, file: &str) {
        let (from, to) = (self.batches().join(file), self.damaged().join(file));
        if let Err(error) = self.disk.rename(&from, &to) {
            error!(path = %from.display(), %error, "it cannot be moved aside");
        }
    }
}

/// Opens the lock file, made if it is missing, for reading only: an administrator could not turn
/// a disk read-only while a file on it is open for writing.
fn open_lock(path: &Path) -> io::Result<File> {
    if !path.exists() {
        File::options().append(true).create(true).open(path)?;
    }
    File::open(path)
}
