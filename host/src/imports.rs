//! What an instance sees of the world: WASI, outgoing HTTP, variables, the key-value store.

use crate::bindings::spin::fermyon::spin::{key_value, variables};
use crate::error::stopped;
use crate::lease::{LEASE, Lease};
use crate::outgoing::Outgoing;
use crate::output::LineStream;
use crate::shared::Shared;
use crate::store::Store;
use crate::variables::{Variables, is_name};
use std::io;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use wasmtime::ResourceLimiter;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::error::Context;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// What the imports of one instance work on.
pub struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    variables: Variables,
    lease: Lease,
}

impl State {
    /// Of a new instance, with `variables` as the application's; `cut` stops it.
    pub(crate) fn new(
        shared: Arc<Shared>,
        variables: Variables,
        lease: Lease,
        cut: CancellationToken,
    ) -> wasmtime::Result<Self> {
        let mut wasi = WasiCtxBuilder::new();
        // The guest has a thread of its own.
        wasi.allow_blocking_current_thread(true);
        wasi.stdout(LineStream::default());
        wasi.stderr(LineStream::default());
        if let Some(mount) = &shared.manifest.component.mount {
            wasi.preopened_dir(&mount.source, &mount.destination, FsPerms::ReadOnly)
                .with_context(|| format!("cannot open the folder {}", mount.source.display()))?;
        }
        Ok(Self {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outgoing: Outgoing { shared, cut },
            variables,
            lease,
        })
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let (desired, mib) = (
            u64::try_from(desired)?,
            self.outgoing.shared.options.memory_mib,
        );
        if desired > u64::from(mib) << 20 {
            // Not `Ok(false)`: the guest could only panic then, and the reason would be lost.
            let reason = format!("it needs more than {mib} MiB of memory; raise --memory-mib");
            return Err(stopped(&reason).into());
        }
        self.outgoing.shared.stats.change(|figures| {
            figures.peak_memory = figures.peak_memory.max(desired);
        });
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
        Ok(
            match self.outgoing.shared.manifest.component.variables.get(&name) {
                Some(template) => Ok(self.variables.render(template).to_owned()),
                None => Err(variables::Error::Undefined(format!("no variable {name:?}"))),
            },
        )
    }
}

impl key_value::Host for State {}

type Answer<T> = wasmtime::Result<Result<T, key_value::Error>>;

impl key_value::HostStore for State {
    async fn open(&mut self, label: String) -> Answer<Resource<Store>> {
        match &self.outgoing.shared.store {
            Some(store) if label == "default" => Ok(Ok(self.table.push(store.clone())?)),
            _ => Ok(Err(key_value::Error::AccessDenied)),
        }
    }

    async fn get(&mut self, store: Resource<Store>, key: String) -> Answer<Option<Vec<u8>>> {
        self.on_store(&store, |store| store.get(&key))
    }

    async fn set(&mut self, store: Resource<Store>, key: String, value: Vec<u8>) -> Answer<()> {
        let lease = self.lease.clone();
        self.on_store(&store, |store| match key.as_str() {
            LEASE => lease.write(store, value),
            key => store.set(key, &value),
        })
    }

    async fn drop(&mut self, store: Resource<Store>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl State {
    /// Runs a file operation, on the guest's own thread: it holds up nobody else.
    fn on_store<T>(
        &mut self,
        store: &Resource<Store>,
        operation: impl FnOnce(&Store) -> io::Result<T>,
    ) -> Answer<T> {
        Ok(operation(self.table.get(store)?).map_err(|error| {
            // The guest may not log it.
            tracing::error!("{error}");
            key_value::Error::Other(error.to_string())
        }))
    }
}
