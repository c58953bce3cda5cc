//! The adapter for Spin: variables and the key-value store by its SDK, HTTP and clocks by WASI.

use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, Utc};
use spin_sdk::key_value::Store;
use spin_sdk::variables;

use super::{Host, Level, Request, Response, SendError, Started, http};
use crate::config::{Source, read_file};

/// Where spin.toml mounts the configuration folder.
const CONFIG: &str = "/config";

/// Spin, Fermyon Wasm Functions, or our own host.
pub struct Spin;

impl Source for Spin {
    fn file(&self, name: &str) -> std::io::Result<String> {
        read_file(CONFIG, name)
    }

    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match variables::get(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(variables::Error::Undefined(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Host for Spin {
    fn send(&self, request: &Request<'_>) -> Result<Response<'_>, SendError> {
        http::start(request)()
    }

    fn start(&self, request: &Request<'_>) -> Started<'_> {
        http::start(request)
    }

    fn now(&self) -> DateTime<Utc> {
        std::time::SystemTime::now().into()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self) -> u64 {
        wasi::random::random::get_random_u64()
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let store = Store::open_default().map_err(|error| error.to_string())?;
        store.get(key).map_err(|error| error.to_string())
    }

    fn save(&self, key: &str, value: &[u8]) -> Result<(), String> {
        let store = Store::open_default().map_err(|error| error.to_string())?;
        store.set(key, value).map_err(|error| error.to_string())
    }

    fn log(&self, level: Level, line: &str) {
        // `eprintln!` would panic where nobody reads stderr.
        let _ = writeln!(std::io::stderr(), "{} {line}", level.word());
    }
}
