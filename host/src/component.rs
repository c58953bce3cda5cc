//! Compiles the component and links it to what this runner offers.
//!
//! # Cache
//! Compiled code is kept in one file, so that a second start takes milliseconds:
//!
//! ```text
//! <state>/cache/component.compiled    the code, then the SHA-256 of the wasm and the code
//! ```
//!
//! wasmtime itself refuses code that another version or other settings of it have made. The folder is
//! closed to other users, because the code is executed as it is.

use crate::bindings::cron::SpinCronPre;
use crate::bindings::spin::fermyon::spin::{key_value, variables};
use crate::error::{Error, Result};
use crate::imports::State;
use crate::store::private_folder;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::time::Instant;
use tempfile::NamedTempFile;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// A compiled component, ready to be instantiated; clones share it.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub engine: Engine,
    /// Its cron handler.
    pub cron: SpinCronPre<State>,
    /// Its HTTP handler.
    pub http: ProxyPre<State>,
}

impl Compiled {
    /// Compiles the component at `path`, or takes it from a file in the folder `cache`.
    pub fn new(path: &Path, cache: &Path) -> Result<Self> {
        let start = Instant::now();
        let failed = |error| Error::Failed(format!("cannot set up wasmtime: {error:#}"));
        let unusable = |error| Error::Usage(format!("cannot run {}: {error:#}", path.display()));
        let wasm = fs::read(path).map_err(|reason| {
            let path = path.display();
            Error::Usage(format!(
                "cannot read the component {path}: {reason}; build it with `cargo xtask build`, or \
                 change `source` in the manifest"
            ))
        })?;
        let engine = Engine::new(&Config::new()).map_err(failed)?;
        let file = cache.join("component.compiled");
        let component = match load(&engine, &wasm, &file) {
            Some(component) => component,
            None => {
                tracing::info!("compiling the component");
                let component = Component::from_binary(&engine, &wasm).map_err(unusable)?;
                if let Err(error) = keep(&component, &wasm, &file) {
                    tracing::warn!("cannot keep compiled code in {}: {error:#}", file.display());
                }
                component
            }
        };
        let linker = link(&engine).map_err(failed)?;
        let pre = linker.instantiate_pre(&component).map_err(unusable)?;
        tracing::info!("component ready after {} ms", start.elapsed().as_millis());
        // Spin starts a component without them, looks healthy and never runs anything.
        Ok(Self {
            cron: SpinCronPre::new(pre.clone()).map_err(unusable)?,
            http: ProxyPre::new(pre).map_err(unusable)?,
            engine,
        })
    }
}

fn checksum(wasm: &[u8], code: &[u8]) -> [u8; 32] {
    let digest = Sha256::new().chain_update(wasm).chain_update(code);
    digest.finalize().into()
}

/// The code in `file`; none if it is not there, damaged, of another component or of another wasmtime.
fn load(engine: &Engine, wasm: &[u8], file: &Path) -> Option<Component> {
    let bytes = fs::read(file).ok()?;
    let (code, kept) = bytes.split_last_chunk()?;
    if checksum(wasm, code) != *kept {
        return None;
    }
    #[allow(
        unsafe_code,
        reason = "the code comes from `keep`: the folder is closed to other users, and the checksum \
                  is that of this wasm and this code"
    )]
    // SAFETY: see the reason above.
    let component = unsafe { Component::deserialize(engine, code) };
    component.ok()
}

/// Writes the code to `file`.
fn keep(component: &Component, wasm: &[u8], file: &Path) -> wasmtime::Result<()> {
    let folder = file.parent().unwrap_or(Path::new(""));
    private_folder(folder)?;
    let mut bytes = component.serialize()?;
    bytes.extend_from_slice(&checksum(wasm, &bytes));
    let temporary = NamedTempFile::new_in(folder)?;
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
