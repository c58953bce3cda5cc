//! Compiles components and knows what they can be called for.
//!
//! Compiled code is kept in wasmtime's own cache, keyed by the wasm and the compiler: a second
//! start takes milliseconds.

use crate::bindings::cron::SpinCronPre;
use crate::bindings::spin::fermyon::spin::{key_value, variables};
use crate::imports::State;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// How often a guest that only computes gives way, and so can be stopped.
const TICK: Duration = Duration::from_millis(10);

/// Compiles and links components.
pub struct Compiler {
    engine: Engine,
    linker: Linker<State>,
    cache: Option<Cache>,
}

/// A compiled component, ready to be instantiated.
pub struct Compiled {
    pre: InstancePre<State>,
    /// If it exports the cron handler.
    pub(crate) cron: Option<SpinCronPre<State>>,
    /// If it exports the HTTP handler.
    pub(crate) http: Option<ProxyPre<State>>,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether it came out of the cache.
    pub cached: bool,
}

/// Why a component cannot be made ready.
#[derive(Debug, Error)]
pub enum CompileError {
    /// There is no such file.
    #[error(
        "no component at {}; build it with `cargo xtask build`, or mend `source` in the manifest",
        path.display()
    )]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It is no component, or imports what this host does not offer.
    #[error("cannot run {}: {reason}", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// wasmtime's reason.
        reason: String,
    },
    /// wasmtime itself does not start, or has no place for its cache.
    #[error("cannot set up wasmtime: {0}")]
    Engine(String),
}

impl Compiler {
    /// A compiler with its cache in the folder `cache`, which is made when needed; without one
    /// everything is compiled anew.
    pub fn new(cache: Option<&Path>) -> Result<Self, CompileError> {
        let failed = |error: wasmtime::Error| CompileError::Engine(format!("{error:#}"));
        let cache = cache.map(open_cache).transpose()?;
        let mut config = Config::new();
        config.epoch_interruption(true).cache(cache.clone());
        let engine = Engine::new(&config).map_err(failed)?;
        tick(&engine).map_err(|error| CompileError::Engine(error.to_string()))?;
        Ok(Self {
            linker: link(&engine).map_err(failed)?,
            engine,
            cache,
        })
    }

    /// Compiles the component at `path` and links it.
    pub fn compile(&self, path: &Path) -> Result<Compiled, CompileError> {
        if !path.exists() {
            return Err(CompileError::Missing {
                path: path.to_owned(),
            });
        }
        let unusable = |error: wasmtime::Error| CompileError::Unusable {
            path: path.to_owned(),
            reason: format!("{error:#}"),
        };
        let start = Instant::now();
        let hits = self.hits();
        let component = Component::from_file(&self.engine, path).map_err(unusable)?;
        let pre = self.linker.instantiate_pre(&component).map_err(unusable)?;
        Ok(Compiled {
            cron: SpinCronPre::new(pre.clone()).ok(),
            http: ProxyPre::new(pre.clone()).ok(),
            pre,
            elapsed: start.elapsed(),
            cached: self.hits() > hits,
        })
    }

    fn hits(&self) -> usize {
        self.cache.as_ref().map_or(0, Cache::cache_hits)
    }
}

impl Compiled {
    /// The engine that runs it.
    pub(crate) fn engine(&self) -> &Engine {
        self.pre.engine()
    }
}

fn open_cache(folder: &Path) -> Result<Cache, CompileError> {
    let failed = |reason: String| {
        CompileError::Engine(format!("cache folder {}: {reason}", folder.display()))
    };
    // wasmtime takes absolute paths only.
    let folder_absolute = std::path::absolute(folder).map_err(|error| failed(error.to_string()))?;
    let mut config = CacheConfig::new();
    config.with_directory(folder_absolute);
    Cache::new(config).map_err(|error| failed(format!("{error:#}")))
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
