//! An application: the components of a manifest, ready to be fired.

use crate::component::{CompileError, Compiler};
use crate::files::{MountError, Mounts, is_config};
use crate::incoming;
use crate::instance::{Blueprint, Limits, RunError};
use crate::key_value::{Store, StoreError};
use crate::manifest::{ComponentDeclaration, CronTrigger, Manifest, Mount};
use crate::outbound::{AllowedHosts, ExpandedHostError};
use crate::output::GuestOutput;
use crate::variables::{MissingVariables, Variables};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::WasiBody;

/// What the user decides beside the manifest. Not `Debug`: it holds secrets.
#[derive(Clone)]
pub struct Options {
    /// Values of variables, by name; they win over the manifest's defaults.
    pub variables: BTreeMap<String, String>,
    /// Replaces the source of the mount at `/config`.
    pub config: Option<PathBuf>,
    /// Holds the key-value stores.
    pub state: PathBuf,
    /// Holds compiled components; none means to compile at each start.
    pub cache: Option<PathBuf>,
    /// Per instance.
    pub limits: Limits,
    /// Takes what the guests print.
    pub output: GuestOutput,
}

impl Options {
    /// Everything as usual, with the key-value stores and the cache in the folder `state`.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        let state = state.into();
        Self {
            variables: BTreeMap::new(),
            config: None,
            cache: Some(state.join("cache")),
            state,
            limits: Limits::default(),
            output: GuestOutput::default(),
        }
    }
}

/// Why an application cannot start.
#[derive(Debug, Error)]
#[expect(
    missing_docs,
    reason = "each variant is documented by the error that it holds"
)]
pub enum StartError {
    #[error(transparent)]
    Variables(#[from] MissingVariables),
    #[error(transparent)]
    Hosts(#[from] ExpandedHostError),
    #[error(transparent)]
    Files(#[from] MountError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Export(#[from] RunError),
}

/// An application that is ready.
pub struct App {
    manifest: Manifest,
    variables: Variables,
    components: BTreeMap<String, Arc<Blueprint>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    peak_memory: Arc<AtomicUsize>,
}

impl App {
    /// Gives the variables their values, compiles the components and opens their stores; this
    /// blocks, for some seconds when a component is compiled for the first time.
    pub fn new(manifest: Manifest, options: &Options) -> Result<Self, StartError> {
        let variables = Variables::resolve(&manifest.variables, &options.variables)?;
        if options.config.is_some() && !has_config_mount(&manifest) {
            return Err(MountError::NoConfigMount.into());
        }
        let mut app = Self {
            components: BTreeMap::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            peak_memory: Arc::default(),
            manifest,
            variables,
        };
        let compiler = Compiler::new(options.cache.as_deref())?;
        for (id, declaration) in &app.manifest.components {
            let blueprint = app.blueprint(id, declaration, options, &compiler)?;
            app.components.insert(id.clone(), Arc::new(blueprint));
        }
        app.check_exports()?;
        Ok(app)
    }

    fn blueprint(
        &self,
        id: &str,
        declaration: &ComponentDeclaration,
        options: &Options,
        compiler: &Compiler,
    ) -> Result<Blueprint, StartError> {
        let allowed = AllowedHosts::resolve(&declaration.allowed_outbound_hosts, &self.variables)?;
        let root = self.manifest.path.parent().unwrap_or(Path::new(""));
        let mounts = Mounts::new(declaration, root, options.config.as_deref())?;
        let mut stores = BTreeMap::new();
        for label in &declaration.key_value_stores {
            stores.insert(label.clone(), Store::open(&options.state, label)?);
        }
        let compiled = compiler.compile(&declaration.source)?;
        let from = if compiled.cached {
            "cached"
        } else {
            "compiled"
        };
        let elapsed = compiled.elapsed.as_millis();
        tracing::info!("component `{id}` {from} in {elapsed} ms");
        Ok(Blueprint {
            id: id.to_owned(),
            compiled,
            variables: declaration.variables.clone(),
            environment: declaration.environment.clone(),
            mounts,
            stores,
            allowed_hosts: Arc::new(allowed),
            limits: options.limits,
            output: options.output.clone(),
            stop: self.stop.clone(),
            peak_memory: self.peak_memory.clone(),
        })
    }

    /// Spin starts without them, looks healthy and never runs anything.
    fn check_exports(&self) -> Result<(), RunError> {
        for trigger in &self.manifest.crons {
            let blueprint = self.component(&trigger.component)?;
            if blueprint.compiled.cron.is_none() {
                return Err(blueprint.no_export("handle-cron-event"));
            }
        }
        for trigger in &self.manifest.routes {
            let blueprint = self.component(&trigger.component)?;
            if blueprint.compiled.http.is_none() {
                return Err(blueprint.no_export("wasi:http/incoming-handler"));
            }
        }
        Ok(())
    }

    fn component(&self, id: &str) -> Result<&Arc<Blueprint>, RunError> {
        self.components
            .get(id)
            .ok_or_else(|| RunError::NoComponent {
                component: id.to_owned(),
            })
    }

    /// The manifest that it was made from.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The values of its variables; secrets do not print.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Fires one cron trigger: a fresh instance, in parallel to whatever runs. `timestamp` is in
    /// seconds since the epoch.
    pub async fn fire(&self, trigger: &CronTrigger, timestamp: u64) -> Result<(), RunError> {
        let component = self.component(&trigger.component)?;
        let run = component.cron(self.variables.clone(), timestamp);
        self.tasks.track_future(run).await
    }

    /// Fires all cron triggers, one after the other; stops at the first that fails.
    pub async fn fire_cron(&self, timestamp: u64) -> Result<(), RunError> {
        for trigger in &self.manifest.crons {
            self.fire(trigger, timestamp).await?;
        }
        Ok(())
    }

    /// Hands a request to the component whose route has its path. The URI or a `host` header must
    /// name an authority, as in any HTTP request.
    pub async fn http<B>(&self, request: Request<B>) -> Result<Response<WasiBody>, RunError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        self.http_with(&BTreeMap::new(), request).await
    }

    /// The same with other values of some variables, for this one instance.
    pub async fn http_with<B>(
        &self,
        changes: &BTreeMap<String, String>,
        request: Request<B>,
    ) -> Result<Response<WasiBody>, RunError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let path = request.uri().path();
        let component = self.route(path).map(|(component, _)| component);
        let component = component.ok_or_else(|| RunError::NoRoute {
            path: path.to_owned(),
        })?;
        let blueprint = self.component(component)?;
        incoming::call(
            &self.tasks,
            blueprint,
            self.variables.with(changes),
            request,
        )
        .await
    }

    /// The component that answers for `path`, and what of the path is below its route.
    pub fn route<'p>(&self, path: &'p str) -> Option<(&str, &'p str)> {
        let routes = self.manifest.routes.iter();
        let matching = routes.filter_map(|trigger| Some((trigger, trigger.route.rest(path)?)));
        let best = matching.max_by_key(|(trigger, _)| trigger.route.precision());
        best.map(|(trigger, rest)| (trigger.component.as_str(), rest))
    }

    /// The most linear memory that any instance has had so far, in bytes.
    pub fn peak_memory(&self) -> usize {
        self.peak_memory.load(Ordering::Relaxed)
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits until no instance runs, for `grace` at the most, then cuts off those that still do.
    /// Returns how many tasks that were. Afterwards the app is of no use.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.stop.cancel();
        // An instance notices at once; a connection may still be writing to a slow client.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
        left
    }
}

fn has_config_mount(manifest: &Manifest) -> bool {
    let mut mounts = manifest.components.values().flat_map(|c| &c.files);
    mounts.any(
        |mount| matches!(mount, Mount::Placement { destination, .. } if is_config(destination)),
    )
}
