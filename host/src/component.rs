//! Compiles the component and links it to what this runner offers.
//!
//! # Cache
//! Compiled code is kept in one file, so that a second start takes milliseconds:
//!
//! ```text
//! <state>/cache/component.compiled    the code, the SHA-256 of the wasm, the CRC-32 of the code
//! ```
//!
//! wasmtime itself refuses code that another version or other settings of it have made. The folder is
//! closed to other users, because the code is executed as it is. So the checksum only has to find
//! damage, and is one that costs little at each start.

use crate::bindings::cron::SpinCronPre;
use crate::bindings::spin::fermyon::spin::{key_value, variables};
use crate::error::{Error, Result};
use crate::imports::State;
use crate::store::private_folder;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::time::Instant;
use tempfile::NamedTempFile;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// The length of a SHA-256 and a CRC-32.
const FOOTER_BYTES: u64 = 32 + 4;

/// So much of a file is read at a time.
const PIECE_BYTES: usize = 64 << 10;

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
        let wasm = File::open(path).and_then(hash);
        let wasm = wasm.map_err(|reason| {
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
                let component = Component::from_file(&engine, path).map_err(unusable)?;
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

/// The SHA-256 of what `reader` gives.
fn hash(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut hash = Sha256::new();
    io::copy(
        &mut BufReader::with_capacity(PIECE_BYTES, reader),
        &mut hash,
    )?;
    Ok(hash.finalize().to_vec())
}

/// The CRC-32 of what `reader` gives.
fn checksum(reader: impl Read) -> io::Result<u32> {
    let mut reader = BufReader::with_capacity(PIECE_BYTES, reader);
    let mut checksum = crc32fast::Hasher::new();
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(checksum.finalize());
        }
        checksum.update(piece);
        let bytes = piece.len();
        reader.consume(bytes);
    }
}

/// What stands behind the code in its file.
fn footer(wasm: &[u8], checksum: u32) -> Vec<u8> {
    [wasm, &checksum.to_le_bytes()].concat()
}

/// The code in `file`, for the component with this hash; none if it is not there, damaged, of another
/// component or of another wasmtime.
fn load(engine: &Engine, wasm: &[u8], file: &Path) -> Option<Component> {
    let mut reader = File::open(file).ok()?;
    let code = reader.metadata().ok()?.len().checked_sub(FOOTER_BYTES)?;
    let checksum = checksum(reader.by_ref().take(code)).ok()?;
    let mut kept = Vec::new();
    reader.read_to_end(&mut kept).ok()?;
    if kept != footer(wasm, checksum) {
        return None;
    }
    #[allow(
        unsafe_code,
        reason = "the code comes from `keep`: the folder is closed to other users, and the footer is \
                  that of this component and this code. The file is mapped, and nothing changes it: `keep` \
                  puts a new one in its place"
    )]
    // SAFETY: see the reason above.
    let component = unsafe { Component::deserialize_file(engine, file) };
    component.ok()
}

/// Writes the code to `file`.
fn keep(component: &Component, wasm: &[u8], file: &Path) -> wasmtime::Result<()> {
    let folder = file.parent().unwrap_or(Path::new(""));
    private_folder(folder)?;
    let mut bytes = component.serialize()?;
    let footer = footer(wasm, crc32fast::hash(&bytes));
    bytes.extend_from_slice(&footer);
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
