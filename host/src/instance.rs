//! One instance of a component: what it sees of the world, within which limits it runs, and how it
//! ends.

use crate::bindings::cron::fermyon::spin_cron::cron_types::{Error as CronError, Metadata};
use crate::bindings::spin::fermyon::spin::{key_value, variables};
use crate::component::Compiled;
use crate::files::Mounts;
use crate::key_value::{Store as KeyValueStore, StoreError};
use crate::manifest::validate::is_words;
use crate::outbound::AllowedHosts;
use crate::output::GuestOutput;
use crate::sender::Sender;
use crate::template::Template;
use crate::variables::Variables;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::{ResourceLimiter, Store, Trap};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// What an instance may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of linear memory.
    pub memory: usize,
    /// From its start to its end.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            deadline: Duration::from_secs(900),
        }
    }
}

/// How a run of an instance can fail.
#[derive(Debug, Error)]
pub enum RunError {
    /// The guest panicked or went wrong otherwise.
    #[error(
        "component `{component}` trapped: {reason}; what it printed before says more. The next \
         run starts anew; if it traps again, please report it with these lines"
    )]
    Trapped {
        /// Its id.
        component: String,
        /// wasmtime's reason.
        reason: String,
    },
    /// The guest wanted more memory than it may have.
    #[error("component `{component}` was stopped: it needs more than {} MiB of memory; raise `--memory-mib`", limit >> 20)]
    Memory {
        /// Its id.
        component: String,
        /// Bytes.
        limit: usize,
    },
    /// The guest ran for too long.
    #[error("component `{component}` was stopped: it ran for more than {} s; raise `--deadline`", limit.as_secs())]
    Deadline {
        /// Its id.
        component: String,
        /// The limit.
        limit: Duration,
    },
    /// The host is about to stop and did not want to wait any longer.
    #[error("component `{component}` was cut off in its run; its next run goes on from there")]
    CutOff {
        /// Its id.
        component: String,
    },
    /// The guest's handler says that it failed.
    #[error("component `{component}` failed: {reason}")]
    Failed {
        /// Its id.
        component: String,
        /// The guest's reason.
        reason: String,
    },
    /// The guest returned without an answer.
    #[error("component `{component}` did not answer the request")]
    NoAnswer {
        /// Its id.
        component: String,
    },
    /// No such component.
    #[error("the manifest has no component `{component}`")]
    NoComponent {
        /// The id.
        component: String,
    },
    /// No HTTP trigger answers for a path.
    #[error("no [[trigger.http]] of the manifest has a route for `{path}`")]
    NoRoute {
        /// The path.
        path: String,
    },
    /// The component does not export what the trigger calls.
    #[error("component `{component}` does not export `{export}`, which its trigger calls")]
    NoExport {
        /// Its id.
        component: String,
        /// The missing export.
        export: &'static str,
    },
}

/// A component with all that its instances share.
pub(crate) struct Blueprint {
    pub id: String,
    pub compiled: Compiled,
    pub variables: BTreeMap<String, Template>,
    pub environment: BTreeMap<String, String>,
    pub mounts: Mounts,
    pub stores: BTreeMap<String, KeyValueStore>,
    pub allowed_hosts: Arc<AllowedHosts>,
    pub limits: Limits,
    pub output: GuestOutput,
    pub stop: CancellationToken,
    /// The most bytes of linear memory that an instance has had.
    pub peak_memory: Arc<AtomicUsize>,
}

/// What the imports of an instance work on.
pub struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    sender: Sender,
    memory: MemoryLimit,
    blueprint: Arc<Blueprint>,
    variables: Variables,
}

impl Blueprint {
    /// A fresh instance's state, with `variables` as the application's.
    pub fn state(self: &Arc<Self>, variables: Variables) -> wasmtime::Result<Store<State>> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(self.output.stream());
        wasi.stderr(self.output.stream());
        for (name, value) in &self.environment {
            wasi.env(name, value);
        }
        self.mounts.add_to(&mut wasi)?;
        let state = State {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            sender: Sender::new(&self.id, self.allowed_hosts.clone()),
            memory: MemoryLimit {
                limit: self.limits.memory,
                peak: self.peak_memory.clone(),
            },
            blueprint: self.clone(),
            variables,
        };
        let mut store = Store::new(self.compiled.engine(), state);
        store.limiter(|state| &mut state.memory);
        // Gives way at each tick, so that `within` can stop it.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        Ok(store)
    }

    /// Calls the cron handler of a fresh instance; `timestamp` is in seconds since the epoch.
    pub async fn cron(
        self: &Arc<Self>,
        variables: Variables,
        timestamp: u64,
    ) -> Result<(), RunError> {
        let pre = self.compiled.cron.as_ref();
        let pre = pre.ok_or_else(|| self.no_export("handle-cron-event"))?;
        let mut store = self.state(variables).map_err(|error| self.error(&error))?;
        let call = async {
            let instance = pre.instantiate_async(&mut store).await?;
            instance
                .call_handle_cron_event(&mut store, Metadata { timestamp })
                .await
        };
        match self.within(call).await? {
            Ok(()) => Ok(()),
            Err(CronError::Other(reason)) => Err(RunError::Failed {
                component: self.id.clone(),
                reason,
            }),
        }
    }

    /// Runs `call` until it ends, its deadline has come, or the host stops.
    pub async fn within<T>(
        &self,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> Result<T, RunError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(RunError::CutOff { component: self.id.clone() }),
            result = tokio::time::timeout(self.limits.deadline, call) => match result {
                Ok(result) => result.map_err(|error| self.error(&error)),
                Err(_) => Err(RunError::Deadline {
                    component: self.id.clone(),
                    limit: self.limits.deadline,
                }),
            },
        }
    }

    pub fn no_export(&self, export: &'static str) -> RunError {
        RunError::NoExport {
            component: self.id.clone(),
            export,
        }
    }

    pub fn error(&self, error: &wasmtime::Error) -> RunError {
        let component = self.id.clone();
        if let Some(OutOfMemory) = error.downcast_ref() {
            return RunError::Memory {
                component,
                limit: self.limits.memory,
            };
        }
        tracing::debug!(component, "{error:?}");
        let reason = match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        RunError::Trapped { component, reason }
    }
}

/// Stops a guest that wants too much memory.
struct MemoryLimit {
    limit: usize,
    peak: Arc<AtomicUsize>,
}

#[derive(Debug, Error)]
#[error("more memory than allowed")]
struct OutOfMemory;

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
