//! What an instance sees of the world: WASI, outgoing HTTP, variables, key-value stores.

use crate::bindings::spin::fermyon::spin::{key_value, variables};
use crate::instance::Blueprint;
use crate::key_value::{Store as KeyValueStore, StoreError};
use crate::manifest::validate::is_words;
use crate::sender::Sender;
use crate::variables::Variables;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use thiserror::Error;
use wasmtime::ResourceLimiter;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// What the imports of one instance work on.
pub struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    sender: Sender,
    memory: MemoryLimit,
    blueprint: Arc<Blueprint>,
    variables: Variables,
}

impl State {
    /// Of an instance of `blueprint`, with `variables` as the application's.
    pub(crate) fn new(blueprint: &Arc<Blueprint>, variables: Variables) -> wasmtime::Result<Self> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(blueprint.output.stream());
        wasi.stderr(blueprint.output.stream());
        for (name, value) in &blueprint.environment {
            wasi.env(name, value);
        }
        blueprint.mounts.add_to(&mut wasi)?;
        Ok(Self {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            sender: Sender::new(&blueprint.id, blueprint.allowed_hosts.clone()),
            memory: MemoryLimit {
                limit: blueprint.limits.memory,
                peak: blueprint.peak_memory.clone(),
            },
            blueprint: blueprint.clone(),
            variables,
        })
    }

    pub(crate) fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.memory
    }
}

/// Stops a guest that wants too much memory.
struct MemoryLimit {
    limit: usize,
    peak: Arc<AtomicUsize>,
}

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
        if desired > self.limit {
            // Not `Ok(false)`: the guest could only panic then, and the reason would be lost.
            return Err(OutOfMemory.into());
        }
        self.peak.fetch_max(desired, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Far more than a Rust component has functions; a table only grows by a guest's malice.
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
            hooks: &mut self.sender,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl variables::Host for State {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, variables::Error>> {
        if !is_words(&name, '_') {
            return Ok(Err(variables::Error::InvalidName(name)));
        }
        let undefined = || {
            let id = &self.blueprint.id;
            variables::Error::Undefined(format!("no variable for {id:?}.{name:?}"))
        };
        let Some(template) = self.blueprint.variables.get(&name) else {
            return Ok(Err(undefined()));
        };
        Ok(self.variables.render(template).map_err(|_| undefined()))
    }
}

impl key_value::Host for State {}

impl key_value::HostStore for State {
    async fn open(
        &mut self,
        label: String,
    ) -> wasmtime::Result<Result<Resource<KeyValueStore>, key_value::Error>> {
        match self.blueprint.stores.get(&label) {
            Some(store) => Ok(Ok(self.table.push(store.clone())?)),
            None => Ok(Err(key_value::Error::AccessDenied)),
        }
    }

    async fn get(
        &mut self,
        store: Resource<KeyValueStore>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, key_value::Error>> {
        self.on_store(&store, move |store| store.get(&key)).await
    }

    async fn set(
        &mut self,
        store: Resource<KeyValueStore>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), key_value::Error>> {
        self.on_store(&store, move |store| store.set(&key, &value))
            .await
    }

    async fn delete(
        &mut self,
        store: Resource<KeyValueStore>,
        key: String,
    ) -> wasmtime::Result<Result<(), key_value::Error>> {
        self.on_store(&store, move |store| store.delete(&key)).await
    }

    async fn exists(
        &mut self,
        store: Resource<KeyValueStore>,
        key: String,
    ) -> wasmtime::Result<Result<bool, key_value::Error>> {
        self.on_store(&store, move |store| store.exists(&key)).await
    }

    async fn get_keys(
        &mut self,
        store: Resource<KeyValueStore>,
    ) -> wasmtime::Result<Result<Vec<String>, key_value::Error>> {
        self.on_store(&store, KeyValueStore::keys).await
    }

    async fn drop(&mut self, store: Resource<KeyValueStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl State {
    /// Runs a file operation where it may block.
    async fn on_store<T: Send + 'static>(
        &mut self,
        store: &Resource<KeyValueStore>,
        operation: impl FnOnce(&KeyValueStore) -> Result<T, StoreError> + Send + 'static,
    ) -> wasmtime::Result<Result<T, key_value::Error>> {
        let store = self.table.get(store)?.clone();
        let result = tokio::task::spawn_blocking(move || operation(&store)).await?;
        Ok(result.map_err(|error| {
            // The guest may not say it; the disk of the host is the host's business.
            tracing::error!("{error}");
            key_value::Error::Other(error.to_string())
        }))
    }
}
