//! What an instance sees of the world: WASI, outgoing HTTP, variables, the key-value store.

use crate::app::Shared;
use crate::bindings::spin::fermyon::spin::{key_value, variables};
use crate::outgoing::Outgoing;
use crate::store::{Store, StoreError};
use crate::variables::{Variables, is_name};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use wasmtime::ResourceLimiter;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::error::Context;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// The key under which the component keeps the right to be the one run that is under way.
const LEASE: &str = "lease";

/// What the imports of one instance work on.
pub struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    memory: MemoryLimit,
    shared: Arc<Shared>,
    variables: Variables,
    lease: Lease,
}

impl State {
    /// Of a new instance, with `variables` as the application's; `cut` stops it.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        variables: Variables,
        lease: Lease,
        cut: CancellationToken,
    ) -> wasmtime::Result<Self> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(shared.output.stream());
        wasi.stderr(shared.output.stream());
        if let Some(mount) = &shared.mount {
            wasi.preopened_dir(&mount.source, &mount.destination, FsPerms::ReadOnly)
                .with_context(|| format!("cannot open the folder {}", mount.source.display()))?;
        }
        Ok(Self {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outgoing: Outgoing::new(shared.clone(), cut),
            memory: MemoryLimit(shared.clone()),
            shared: shared.clone(),
            variables,
            lease,
        })
    }

    pub(crate) fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.memory
    }
}

/// The lease that an instance holds, as it has last written it.
#[derive(Clone, Default)]
pub(crate) struct Lease(Arc<Mutex<Option<Vec<u8>>>>);

impl Lease {
    fn written(&self, value: Option<&[u8]>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *held = value.map(<[u8]>::to_vec);
    }

    /// Deletes the lease of an instance that was stopped, if nobody has taken it over, so that the
    /// next run does not wait for its end.
    pub fn release(&self, store: &Store) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let released = held.is_some_and(|held| {
            let is_ours = store.get(LEASE).is_ok_and(|lease| lease == Some(held));
            is_ours && store.delete(LEASE).is_ok()
        });
        if released {
            tracing::debug!("lease released");
        }
    }
}

/// Stops a guest that wants too much memory.
struct MemoryLimit(Arc<Shared>);

/// The trap of a guest that wanted too much.
#[derive(Debug, Error)]
#[error("more memory than allowed")]
pub(crate) struct OutOfMemory;

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.0.limits.memory {
            // Not `Ok(false)`: the guest could only panic then, and the reason would be lost.
            return Err(OutOfMemory.into());
        }
        self.0.peak_memory.fetch_max(desired, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Far more than a Rust component has functions.
        Ok(desired < 1_000_000)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outgoing,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl variables::Host for State {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, variables::Error>> {
        if !is_name(&name) {
            return Ok(Err(variables::Error::InvalidName(name)));
        }
        Ok(match self.shared.variables.get(&name) {
            Some(template) => Ok(self.variables.render(template)),
            None => Err(variables::Error::Undefined(format!("no variable {name:?}"))),
        })
    }
}

impl key_value::Host for State {}

type Answer<T> = wasmtime::Result<Result<T, key_value::Error>>;

impl key_value::HostStore for State {
    async fn open(&mut self, label: String) -> Answer<Resource<Store>> {
        match &self.shared.store {
            Some(store) if label == "default" => Ok(Ok(self.table.push(store.clone())?)),
            _ => Ok(Err(key_value::Error::AccessDenied)),
        }
    }

    async fn get(&mut self, store: Resource<Store>, key: String) -> Answer<Option<Vec<u8>>> {
        self.on_store(&store, move |store| store.get(&key)).await
    }

    async fn set(&mut self, store: Resource<Store>, key: String, value: Vec<u8>) -> Answer<()> {
        if key == LEASE {
            self.lease.written(Some(&value));
        }
        self.on_store(&store, move |store| store.set(&key, &value))
            .await
    }

    async fn delete(&mut self, store: Resource<Store>, key: String) -> Answer<()> {
        if key == LEASE {
            self.lease.written(None);
        }
        self.on_store(&store, move |store| store.delete(&key)).await
    }

    async fn exists(&mut self, store: Resource<Store>, key: String) -> Answer<bool> {
        self.on_store(&store, move |store| Ok(store.get(&key)?.is_some()))
            .await
    }

    async fn get_keys(&mut self, store: Resource<Store>) -> Answer<Vec<String>> {
        self.on_store(&store, Store::keys).await
    }

    async fn drop(&mut self, store: Resource<Store>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl State {
    /// Runs a file operation where it may block.
    async fn on_store<T: Send + 'static>(
        &mut self,
        store: &Resource<Store>,
        operation: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let store = self.table.get(store)?.clone();
        let result = tokio::task::spawn_blocking(move || operation(&store)).await?;
        Ok(result.map_err(|error| {
            // The guest may not log it.
            tracing::error!("{error}");
            key_value::Error::Other(error.to_string())
        }))
    }
}
