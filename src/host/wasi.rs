//! The adapter for any WASI host: variables from the environment, state in a mounted folder.

use std::env::VarError;
use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Host, Level, Request, Response, SendError, Started, http};
use crate::config::{Source, read_file};

/// Where the configuration folder is mounted: `--dir config::/config`.
const CONFIG: &str = "/config";

/// Where the state folder is mounted: `--dir state::/state`.
const STATE: &str = "/state";

/// A host that runs a `wasi:cli` command.
pub struct Wasi;

impl Source for Wasi {
    fn file(&self, name: &str) -> io::Result<String> {
        read_file(CONFIG, name)
    }

    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match std::env::var(name.to_uppercase()) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err("it is not UTF-8".to_owned()),
        }
    }
}

impl Host for Wasi {
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
        match fs::read(format!("{STATE}/{key}.json")) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!(
                "{STATE}: {error}; mount a folder there, `--dir state::{STATE}`"
            )),
        }
    }

    fn save(&self, key: &str, value: &[u8]) -> Result<(), String> {
        // A name of its own, because two runs may write at once.
        let new = format!("{STATE}/{key}.{:016x}.new", self.random());
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&new)?;
            file.write_all(value)?;
            file.sync_all()?;
            fs::rename(&new, format!("{STATE}/{key}.json"))
        };
        let written = write();
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        // WASI leaves it to the host whether a folder can be synced. If not, a power failure may
        // bring the value before this one back, which costs calls and no data.
        let _ = fs::File::open(STATE).and_then(|folder| folder.sync_all());
        written.map_err(|error| {
            format!("{STATE}: {error}; mount a folder there, `--dir state::{STATE}`")
        })
    }

    fn log(&self, level: Level, line: &str) {
        // `eprintln!` would panic where nobody reads stderr.
        let _ = writeln!(std::io::stderr(), "{} {line}", level.word());
    }
}
