//! Key-value stores on disk: what a component keeps between its runs.
//!
//! # Layout
//! One folder a store, one file a key, so that an operator can `ls` and `cat` them:
//!
//! ```text
//! <state>/key_value/<label>/lock            held shared by writers, alone by the sweeper
//!                          /tmp/<random>    a value on its way
//!                          /<key>.value     the value, nothing else
//! ```
//!
//! In file names lower-case letters, digits, `-`, `_` and `.` stand for themselves, every other
//! byte is `%` and two lower-case hex digits: no two keys share a file, also where the file system
//! does not tell `A` from `a`.
//!
//! # Durability
//! A value is written to `tmp/`, fsynced, renamed over the old one, and the folder is fsynced: a
//! reader sees the old or the new value, whole, and after `set` has returned the new one survives a
//! power cut. Each operation is atomic, so two processes may share a store; as in Spin, nothing
//! makes a read and the write that follows one step. What a killed process left in `tmp/` is swept
//! when the store is opened and nobody writes.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// The longest file name that all usual file systems take, in bytes.
const LONGEST_NAME: usize = 255;
const SUFFIX: &str = ".value";

/// A store that is open; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    tmp: PathBuf,
    lock: PathBuf,
}

/// Why an operation on a store failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk.
    #[error("key-value store: cannot {action} {}: {reason}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        reason: io::Error,
    },
    /// A file name cannot hold the key.
    #[error(
        "key-value store: the key is too long: its file name has {length} bytes, {LONGEST_NAME} fit"
    )]
    LongKey {
        /// Bytes of the file name.
        length: usize,
    },
}

impl Store {
    /// Opens the store `label` below the folder `state`; makes it when it is new.
    pub fn open(state: &Path, label: &str) -> Result<Self, StoreError> {
        let folder = state.join("key_value").join(label);
        let inner = Inner {
            tmp: folder.join("tmp"),
            lock: folder.join("lock"),
            folder,
        };
        fs::create_dir_all(&inner.tmp).map_err(at("make", &inner.tmp))?;
        inner.sweep()?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The value of `key`, if it has one.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.inner.path(key)?;
        match fs::read(&path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read", &path)(error)),
        }
    }

    /// Whether `key` has a value.
    pub fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let path = self.inner.path(key)?;
        path.try_exists().map_err(at("look for", &path))
    }

    /// Gives `key` a value; it is on disk when this returns.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let inner = &self.inner;
        let path = inner.path(key)?;
        // Held until the end, so that nobody sweeps the file that is being written.
        let lock = inner.open_lock()?;
        lock.lock_shared().map_err(at("lock", &inner.lock))?;
        let mut file = tempfile::Builder::new()
            .tempfile_in(&inner.tmp)
            .map_err(at("write in", &inner.tmp))?;
        file.write_all(value)
            .and_then(|()| file.as_file().sync_all())
            .map_err(at("write", file.path()))?;
        file.persist(&path)
            .map_err(|error| at("write", &path)(error.error))?;
        inner.sync()
    }

    /// Takes `key` and its value out; no error if there is none.
    pub fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.inner.path(key)?;
        match fs::remove_file(&path) {
            Ok(()) => self.inner.sync(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at("delete", &path)(error)),
        }
    }

    /// All keys, sorted by file name.
    pub fn keys(&self) -> Result<Vec<String>, StoreError> {
        let folder = &self.inner.folder;
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(at("list", folder))? {
            names.push(entry.map_err(at("list", folder))?.file_name());
        }
        names.sort();
        // Whatever else somebody put into the folder is not a key.
        let key = |name: std::ffi::OsString| unescape(name.to_str()?.strip_suffix(SUFFIX)?);
        Ok(names.into_iter().filter_map(key).collect())
    }
}

impl Inner {
    fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        let name = escape(key) + SUFFIX;
        if name.len() > LONGEST_NAME {
            return Err(StoreError::LongKey { length: name.len() });
        }
        Ok(self.folder.join(name))
    }

    fn open_lock(&self) -> Result<File, StoreError> {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock)
            .map_err(at("open", &self.lock))
    }

    fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(at("sync", &self.folder))
    }

    fn sweep(&self) -> Result<(), StoreError> {
        let lock = self.open_lock()?;
        if lock.try_lock().is_err() {
            // Somebody writes just now; the next start sweeps.
            return Ok(());
        }
        for entry in fs::read_dir(&self.tmp).map_err(at("list", &self.tmp))? {
            let path = entry.map_err(at("list", &self.tmp))?.path();
            fs::remove_file(&path).map_err(at("delete", &path))?;
        }
        Ok(())
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |reason| StoreError::Disk {
        action,
        path: path.to_owned(),
        reason,
    }
}

fn escape(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

fn unescape(name: &str) -> Option<String> {
    let mut key = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            key.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            key.push(byte);
        }
    }
    String::from_utf8(key).ok()
}

#[cfg(test)]
mod tests;
