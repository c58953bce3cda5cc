//! The application of a manifest, ready to be fired.

use crate::client::{CaError, Client};
use crate::component::{CompileError, Compiled};
use crate::instance::{self, Limits, RunError};
use crate::manifest::{Manifest, Mount};
use crate::outbound::{AllowedHosts, HostError};
use crate::outgoing::Traffic;
use crate::output::GuestOutput;
use crate::store::{Store, StoreError};
use crate::variables::{Template, Variables};
use bytes::Bytes;
use http::{Request, Response};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the user decides beside the manifest. Not `Debug`: it holds secrets.
#[derive(Clone)]
pub struct Options {
    /// Values of variables, by name; they win over the manifest's defaults.
    pub variables: BTreeMap<String, String>,
    /// Replaces the source of the manifest's mount.
    pub config: Option<PathBuf>,
    /// Holds the key-value store.
    pub state: PathBuf,
    /// Holds compiled code; none means to compile at each start.
    pub cache: Option<PathBuf>,
    /// PEM files with authorities to trust beside the public ones.
    pub ca_files: Vec<PathBuf>,
    /// Per instance.
    pub limits: Limits,
    /// Takes what the guest prints.
    pub output: GuestOutput,
}

impl Options {
    /// Everything as usual, with the key-value store and the cache in the folder `state`.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        let state = state.into();
        Self {
            variables: BTreeMap::new(),
            config: None,
            cache: Some(state.join("cache")),
            state,
            ca_files: Vec::new(),
            limits: Limits::default(),
            output: GuestOutput::default(),
        }
    }
}

/// Why an application cannot start.
#[derive(Debug, Error)]
#[expect(
    missing_docs,
    reason = "most variants are documented by the error that they hold"
)]
pub enum StartError {
    #[error(transparent)]
    Hosts(#[from] HostError),
    #[error("cannot read the folder {}: {reason}; it is mounted at {destination}", path.display())]
    Folder {
        path: PathBuf,
        destination: String,
        reason: std::io::Error,
    },
    #[error("--config replaces the entry of `files`, and the manifest has none")]
    NoMount,
    #[error(transparent)]
    Authorities(#[from] CaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Export(#[from] RunError),
}

/// What all instances share.
pub(crate) struct Shared {
    pub compiled: Compiled,
    /// Of the component, by name.
    pub variables: BTreeMap<String, Template>,
    pub mount: Option<Mount>,
    pub store: Option<Store>,
    pub allowed: AllowedHosts,
    pub client: Client,
    pub limits: Limits,
    pub output: GuestOutput,
    /// Stops each instance at its next call to Catchpoint.
    pub stop_soon: CancellationToken,
    /// Stops all instances.
    pub stop_now: CancellationToken,
    pub traffic: Traffic,
    /// The most bytes of linear memory that an instance has had.
    pub peak_memory: AtomicUsize,
}

/// An application that is ready.
pub struct App {
    manifest: Manifest,
    variables: Variables,
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

impl App {
    /// Gives the variables their values, compiles the component and opens its store; this blocks,
    /// for some seconds when the component is compiled for the first time.
    ///
    /// # Errors
    /// The first thing that is missing or wrong.
    pub fn new(manifest: Manifest, options: &Options) -> Result<Self, StartError> {
        let variables = Variables::new(&manifest.variables, &options.variables);
        let allowed = AllowedHosts::resolve(&manifest.allowed_outbound_hosts, &variables)?;
        let mount = mount(&manifest, options)?;
        let store = manifest.store.then(|| Store::open(&options.state));
        let shared = Shared {
            client: Client::new(&options.ca_files)?,
            store: store.transpose()?,
            compiled: Compiled::new(&manifest.source, options.cache.as_deref())?,
            variables: manifest.component_variables.clone(),
            mount,
            allowed,
            limits: options.limits,
            output: options.output.clone(),
            stop_soon: CancellationToken::new(),
            stop_now: CancellationToken::new(),
            traffic: Traffic::default(),
            peak_memory: AtomicUsize::default(),
        };
        // Spin starts without them, looks healthy and never runs anything.
        if manifest.cron.is_some() && shared.compiled.cron.is_none() {
            return Err(RunError::NoExport("handle-cron-event").into());
        }
        if manifest.http && shared.compiled.http.is_none() {
            return Err(RunError::NoExport("wasi:http/incoming-handler").into());
        }
        Ok(Self {
            manifest,
            variables,
            shared: Arc::new(shared),
            tasks: TaskTracker::new(),
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

    /// The limits of each instance.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Whether the component may call `origin`, such as `https://io.catchpoint.com`.
    pub fn allows(&self, origin: &str) -> bool {
        let uri = origin.parse();
        uri.is_ok_and(|uri| self.shared.allowed.allows(&uri))
    }

    /// What the instances have sent so far.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// The most linear memory that any instance has had so far, in bytes.
    pub fn peak_memory(&self) -> usize {
        self.shared.peak_memory.load(Ordering::Relaxed)
    }

    /// Fires the cron trigger: a fresh instance, in parallel to whatever runs. `timestamp` is in
    /// seconds since the epoch.
    ///
    /// # Errors
    /// The run did not end well; what it reports itself is no error.
    pub async fn fire_cron(&self, timestamp: u64) -> Result<(), RunError> {
        let run = instance::cron(self.shared.clone(), self.variables.clone(), timestamp);
        self.tasks.track_future(run).await
    }

    /// Hands a request to the component. Its URI or its `host` header must name an authority, as
    /// in any HTTP request. The instance goes on when the future is dropped.
    ///
    /// # Errors
    /// The run did not end well, whatever it has answered.
    pub async fn http(&self, request: Request<Bytes>) -> Result<Response<Bytes>, RunError> {
        self.http_with(self.variables.clone(), request).await
    }

    /// The same with other values of the variables, for this one instance.
    ///
    /// # Errors
    /// As for [`App::http`].
    pub async fn http_with(
        &self,
        variables: Variables,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, RunError> {
        let run = instance::http(self.shared.clone(), variables, request);
        let run = self.tasks.spawn(run);
        run.await
            .unwrap_or_else(|error| Err(RunError::Trapped(error.to_string())))
    }

    /// Has each instance stop before its next call to Catchpoint. What the last call brought is
    /// still delivered to the relay.
    pub fn stop_soon(&self) {
        self.shared.stop_soon.cancel();
    }

    /// Stops all instances now.
    pub fn stop_now(&self) {
        self.shared.stop_now.cancel();
    }

    /// Stops the instances, those that still run after `grace` at once, and returns how many that
    /// were. Each gives its lease back. Afterwards the app is of no use.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.stop_soon();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.stop_now();
        // An instance notices at once.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
        left
    }
}

/// The folder that the guest sees, once it is sure that it can be read.
fn mount(manifest: &Manifest, options: &Options) -> Result<Option<Mount>, StartError> {
    let mut mount = manifest.mount.clone();
    match (&mut mount, &options.config) {
        (Some(mount), Some(config)) => mount.source.clone_from(config),
        (None, Some(_)) => return Err(StartError::NoMount),
        _ => {}
    }
    if let Some(mount) = &mount {
        std::fs::read_dir(&mount.source).map_err(|reason| StartError::Folder {
            path: mount.source.clone(),
            destination: mount.destination.clone(),
            reason,
        })?;
    }
    Ok(mount)
}
