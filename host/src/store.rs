//! The key-value store on disk: what the component keeps between its runs.
//!
//! # Layout
//! One file a key, so that an operator can `ls` and `cat` them:
//!
//! ```text
//! <state>/key_value/default/<key>.value     the value, nothing else
//!                          /tmp/<random>    a value on its way
//! ```
//!
//! In file names every byte of a key that is not an ASCII letter, a digit, `-`, `_` or `.` is `%` and
//! two hex digits.
//!
//! # Durability
//! A value is written to `tmp/`, fsynced, renamed over the old one, and the folder is fsynced: a
//! reader sees the old or the new value, whole, and after `set` has returned the new one survives a
//! power cut. Each operation is atomic, so two processes may share a store; as in Spin, nothing
//! makes a read and the write that follows one step.
//!
//! # Secrecy
//! One value is a bearer token. Files are 0600, folders 0700, older ones included.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

const SUFFIX: &str = ".value";
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A value that is still in `tmp/` after this time was left there by a killed process.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A store that is open; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    folder: Arc<PathBuf>,
}

/// The disk failed, or is not ours.
#[derive(Debug, Error)]
#[error("state store: cannot {action} {}: {reason}", path.display())]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    reason: io::Error,
}

/// Makes `folder` if it is not there, and closes it to other users.
///
/// # Errors
/// It cannot be made.
pub(crate) fn private_folder(folder: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(folder).map_err(at("make", folder))?;
    // A folder that another user made for us, such as a mounted volume, keeps its mode; what is put
    // into it is closed all the same.
    if let Err(error) = fs::set_permissions(folder, Permissions::from_mode(0o700)) {
        tracing::debug!("cannot set the mode of {}: {error}", folder.display());
    }
    Ok(())
}

impl Store {
    /// Opens the store below the folder `state`; makes it when it is new.
    ///
    /// # Errors
    /// The folder cannot be made or cleaned.
    pub fn open(state: &Path) -> Result<Self, StoreError> {
        let folder = state.join("key_value/default");
        let tmp = folder.join("tmp");
        for folder in [state, &state.join("key_value"), &folder, &tmp] {
            private_folder(folder)?;
        }
        for entry in fs::read_dir(&tmp).map_err(at("list", &tmp))?.flatten() {
            let written = entry.metadata().and_then(|data| data.modified());
            let age = written.ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED) {
                fs::remove_file(entry.path()).map_err(at("delete", &entry.path()))?;
            }
        }
        Ok(Self {
            folder: Arc::new(folder),
        })
    }

    /// The value of `key`, if it has one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(key);
        match fs::read(&path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read", &path)(error)),
        }
    }

    /// Gives `key` a value; it is on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let (path, tmp) = (self.path(key), self.folder.join("tmp"));
        // Such files are 0600.
        let mut file = tempfile::NamedTempFile::new_in(&tmp).map_err(at("write in", &tmp))?;
        file.write_all(value)
            .and_then(|()| file.as_file().sync_all())
            .map_err(at("write", file.path()))?;
        file.persist(&path)
            .map_err(|error| at("write", &path)(error.error))?;
        self.sync()
    }

    /// Takes `key` and its value out; no error if there is none.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at("delete", &path)(error)),
        }
    }

    /// All keys, sorted.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn keys(&self) -> Result<Vec<String>, StoreError> {
        let entries = fs::read_dir(self.folder.as_path()).map_err(at("list", &self.folder))?;
        let key = |name: std::ffi::OsString| {
            let escaped = name.to_str()?.strip_suffix(SUFFIX)?;
            let key = percent_decode_str(escaped).decode_utf8().ok()?;
            Some(key.into_owned())
        };
        let mut keys: Vec<String> = entries
            .flatten()
            .filter_map(|entry| key(entry.file_name()))
            .collect();
        keys.sort();
        Ok(keys)
    }

    fn path(&self, key: &str) -> PathBuf {
        let name = utf8_percent_encode(key, ESCAPED).to_string() + SUFFIX;
        self.folder.join(name)
    }

    fn sync(&self) -> Result<(), StoreError> {
        File::open(self.folder.as_path())
            .and_then(|folder| folder.sync_all())
            .map_err(at("sync", &self.folder))
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |reason| StoreError {
        action,
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::Store;
    use std::fs::{self, File, FileTimes};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::SystemTime;

    #[test]
    fn keeps_values_over_restarts() {
        let state = tempfile::tempdir().unwrap();
        for (key, value) in [("token", "t"), ("a/b c", "x"), ("../é", ""), ("token", "u")] {
            let store = Store::open(state.path()).unwrap();
            store.set(key, value.as_bytes()).unwrap();
            let found = Store::open(state.path()).unwrap().get(key).unwrap();
            assert_eq!(found.as_deref(), Some(value.as_bytes()), "{key}");
        }
        let store = Store::open(state.path()).unwrap();
        assert_eq!(store.keys().unwrap(), ["../é", "a/b c", "token"]);
        store.delete("token").unwrap();
        store.delete("token").unwrap();
        assert_eq!(store.get("token").unwrap(), None);
        let left = fs::read_dir(state.path().join("key_value/default/tmp")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn others_can_read_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
        Store::open(&state).unwrap().set("token", b"t").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join("key_value/default/token.value")), 0o600);
    }

    #[test]
    fn what_a_killed_process_left_is_deleted_after_an_hour() {
        let state = tempfile::tempdir().unwrap();
        Store::open(state.path()).unwrap();
        let tmp = state.path().join("key_value/default/tmp");
        File::create(tmp.join("new")).unwrap();
        let old = File::create(tmp.join("old")).unwrap();
        let long_ago = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        old.set_times(long_ago).unwrap();
        Store::open(state.path()).unwrap();
        assert!(tmp.join("new").exists() && !tmp.join("old").exists());
    }
}
