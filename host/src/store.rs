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
//! A key is of ASCII letters, digits, `-` and `_`, as the component's are.
//!
//! # Durability
//! A value is written to `tmp/`, fsynced, renamed over the old one, and the folder is fsynced: a
//! reader sees the old or the new value, whole, and after `set` has returned the new one survives a
//! power cut. Each operation is atomic, so two processes may share a store; as in Spin, nothing
//! makes a read and the write that follows one step.
//!
//! # Secrecy
//! One value is a bearer token. Files are 0600, folders 0700, older ones included.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;

/// A value that is still in `tmp/` after this time was left there by a killed process.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A store that is open; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    folder: Arc<PathBuf>,
}

/// Makes `folder` if it is not there, and closes it to other users.
///
/// # Errors
/// It cannot be made.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
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
    pub fn open(state: &Path) -> io::Result<Self> {
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
    pub fn get(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(key)?;
        if_there(fs::read(&path)).map_err(at("read", &path))
    }

    /// Gives `key` a value; it is on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, key: &str, value: &[u8]) -> io::Result<()> {
        let path = self.path(key)?;
        let write = || {
            // Such files are 0600.
            let mut file = NamedTempFile::new_in(self.folder.join("tmp"))?;
            file.write_all(value)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            self.sync()
        };
        write().map_err(at("write", &path))
    }

    /// Takes `key` and its value out; no error if there is none.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub fn delete(&self, key: &str) -> io::Result<()> {
        let path = self.path(key)?;
        let deleted = if_there(fs::remove_file(&path)).and_then(|_| self.sync());
        deleted.map_err(at("delete", &path))
    }

    fn path(&self, key: &str) -> io::Result<PathBuf> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if key.is_empty() || !key.chars().all(is_plain) {
            let problem =
                format!("state store: {key:?} is not a key: write letters, digits, - and _");
            return Err(io::Error::new(ErrorKind::InvalidInput, problem));
        }
        Ok(self.folder.join(format!("{key}.value")))
    }

    /// Makes the names in the folder durable.
    fn sync(&self) -> io::Result<()> {
        File::open(self.folder.as_path())?.sync_all()
    }
}

/// The result, or none if there is no such file.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| {
        let path = path.display();
        io::Error::other(format!("state store: cannot {action} {path}: {error}"))
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
        for (key, value) in [("token", "t"), ("a-b_C1", ""), ("token", "u")] {
            let store = Store::open(state.path()).unwrap();
            store.set(key, value.as_bytes()).unwrap();
            let found = Store::open(state.path()).unwrap().get(key).unwrap();
            assert_eq!(found.as_deref(), Some(value.as_bytes()), "{key}");
        }
        let store = Store::open(state.path()).unwrap();
        for key in ["", "a/b", "../token", "é", "a.b"] {
            assert!(store.set(key, b"x").is_err(), "{key}");
        }
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
