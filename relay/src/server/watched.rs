//! A value that is read from files, and again when they change: Kubernetes and certbot renew
//! certificates and tokens without a word to us.

use std::fmt;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tracing::{info, warn};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FileError {
    message: String,
    /// Whether another start may do better with the same settings: the file cannot be read, as when
    /// it is not mounted yet.
    pub may_pass: bool,
}

/// A file that a setting names.
#[derive(Debug, Clone)]
pub struct Named {
    /// What the file is for.
    pub what: &'static str,
    /// The settings that name it.
    pub key: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

impl Named {
    /// The file of a setting.
    #[must_use]
    pub fn new(what: &'static str, key: &'static str, path: &Path) -> Self {
        let path = path.to_owned();
        Self { what, key, path }
    }

    /// Its content.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> Result<Vec<u8>, FileError> {
        fs::read(&self.path).map_err(|error| FileError {
            may_pass: true,
            ..self.wrong(format!("cannot be read: {error}"))
        })
    }

    /// The error that its content is wrong.
    #[must_use]
    pub fn wrong(&self, problem: impl fmt::Display) -> FileError {
        let Self { what, key, path } = self;
        FileError {
            message: format!("{what} {} ({key}): {problem}", path.display()),
            may_pass: false,
        }
    }
}

type Load<T> = dyn Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync;

/// A value that is made of the contents of files.
pub struct Watched<T> {
    files: Vec<Named>,
    load: Box<Load<T>>,
    current: watch::Sender<Arc<T>>,
    hasher: RandomState,
    /// The hash of what the files held when they were last looked at.
    seen: Mutex<Option<u64>>,
}

impl<T> Watched<T> {
    /// Makes the value from these files' contents with `load`.
    ///
    /// # Errors
    /// When a file cannot be read, and those of `load`.
    pub fn new(
        files: Vec<Named>,
        load: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let contents = contents(&files)?;
        let value = load(&contents)?;
        let hasher = RandomState::new();
        Ok(Self {
            files,
            load: Box::new(load),
            current: watch::Sender::new(Arc::new(value)),
            seen: Mutex::new(Some(hasher.hash_one(&contents))),
            hasher,
        })
    }

    /// The value in force.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.borrow())
    }

    /// Reads the files again and makes a new value of them if they have changed. What cannot be used is
    /// logged once, and the value stays as it is.
    pub fn reload(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = contents(&self.files);
        let readable = contents.as_ref().ok();
        let now = readable.map(|contents| self.hasher.hash_one(contents));
        if *seen == now {
            return;
        }
        *seen = now;
        let what = self.files.first().map_or("file", |file| file.what);
        match contents.and_then(|contents| (self.load)(&contents)) {
            Ok(value) => {
                self.current.send_replace(Arc::new(value));
                info!("{what}: the changed file is in force");
            }
            Err(error) => {
                warn!(%error, "{what}: the changed file cannot be used, the old one stays in force; correct the file");
            }
        }
    }
}

fn contents(files: &[Named]) -> Result<Vec<Vec<u8>>, FileError> {
    files.iter().map(Named::read).collect()
}
