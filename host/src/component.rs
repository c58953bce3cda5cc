//! Compiles the component and links it to what this runner offers.
//!
//! # Cache
//! Compiled code is kept in one file, so that a second start takes milliseconds:
//!
//! ```text
//! <state>/cache/<key>.compiled    the code, then its SHA-256
//! ```
//!
//! The key is made of the wasm and of wasmtime's version and settings. The folder is closed to other
//! users, because the code is executed as it is.

use crate::bindings::cron::SpinCronPre;
use crate::bindings::spin::fermyon::spin::{key_value, variables};
use crate::imports::State;
use crate::store::private_folder;
use sha2::{Digest, Sha256};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// How often a guest that only computes gives way, and so can be stopped.
const TICK: Duration = Duration::from_millis(10);
const SUFFIX: &str = "compiled";
const CHECKSUM: usize = 32;

/// A compiled component, ready to be instantiated.
pub(crate) struct Compiled {
    pub engine: Engine,
    /// If it exports the cron handler.
    pub cron: Option<SpinCronPre<State>>,
    /// If it exports the HTTP handler.
    pub http: Option<ProxyPre<State>>,
}

/// Why the component cannot be made ready.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The file cannot be read.
    #[error("cannot read the component {}: {reason}; build it with `cargo xtask build`, or change `source` in the manifest", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// It is no component, or imports what this runner does not offer.
    #[error("cannot run {}: {reason}", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// wasmtime's reason.
        reason: String,
    },
    /// wasmtime itself does not start.
    #[error("cannot set up wasmtime: {0}")]
    Engine(String),
}

impl Compiled {
    /// Compiles the component at `path`, or takes it from the folder `cache`.
    pub fn new(path: &Path, cache: Option<&Path>) -> Result<Self, CompileError> {
        let start = Instant::now();
        let failed = |error: wasmtime::Error| CompileError::Engine(format!("{error:#}"));
        let unusable = |error: wasmtime::Error| CompileError::Unusable {
            path: path.to_owned(),
            reason: format!("{error:#}"),
        };
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(failed)?;
        tick(&engine).map_err(|error| CompileError::Engine(error.to_string()))?;
        let wasm = fs::read(path).map_err(|reason| CompileError::Read {
            path: path.to_owned(),
            reason,
        })?;
        let file = cache.map(|folder| folder.join(key(&engine, &wasm)).with_extension(SUFFIX));
        let cached = file.as_deref().and_then(|file| load(&engine, file));
        let from = if cached.is_some() {
            "loaded from the cache"
        } else {
            "compiled"
        };
        let component = match cached {
            Some(component) => component,
            None => {
                let component = Component::from_binary(&engine, &wasm).map_err(unusable)?;
                if let Some(file) = &file
                    && let Err(error) = keep(&component, file)
                {
                    tracing::warn!("cannot keep compiled code in {}: {error:#}", file.display());
                }
                component
            }
        };
        let linker = link(&engine).map_err(failed)?;
        let pre = linker.instantiate_pre(&component).map_err(unusable)?;
        tracing::info!("component {from} in {} ms", start.elapsed().as_millis());
        Ok(Self {
            cron: SpinCronPre::new(pre.clone()).ok(),
            http: ProxyPre::new(pre).ok(),
            engine,
        })
    }
}

fn key(engine: &Engine, wasm: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let wasm: String = Sha256::digest(wasm)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{wasm}-{:016x}", settings.finish())
}

/// The code in `file`; none if it is not there, damaged, or of another wasmtime.
fn load(engine: &Engine, file: &Path) -> Option<Component> {
    let bytes = fs::read(file).ok()?;
    let (code, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    if Sha256::digest(code).as_slice() != checksum {
        tracing::warn!("{} is damaged; compiling anew", file.display());
        return None;
    }
    #[allow(
        unsafe_code,
        reason = "the code comes from `keep`: the folder is closed to other users, the name holds \
                  the wasm and wasmtime's version and settings, and the checksum is right"
    )]
    // SAFETY: see the reason above.
    let component = unsafe { Component::deserialize(engine, code) };
    component.ok()
}

/// Writes the code to `file`, and deletes what older components left.
fn keep(component: &Component, file: &Path) -> wasmtime::Result<()> {
    let folder = file.parent().unwrap_or(Path::new(""));
    private_folder(folder)?;
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.path().extension().is_some_and(|ext| ext == SUFFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    let mut bytes = component.serialize()?;
    bytes.extend_from_slice(&Sha256::digest(&bytes));
    let temporary = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(temporary.path(), bytes)?;
    temporary.persist(file)?;
    Ok(())
}

fn link(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    variables::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    key_value::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// Advances the engine's epoch until the engine is gone.
fn tick(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let ticker = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new().name("epoch".into()).spawn(ticker)?;
    Ok(())
}
