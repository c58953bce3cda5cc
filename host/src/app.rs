//! The application of a manifest, ready to be fired.

use crate::client::Client;
use crate::component::Compiled;
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::manifest::Manifest;
use crate::options::Options;
use crate::outbound::AllowedHosts;
use crate::shared::Shared;
use crate::stats::{Figures, Stats};
use crate::store::Store;
use crate::variables::Variables;
use bytes::Bytes;
use http::{Request, Response};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An application that is ready.
pub struct App {
    compiled: Compiled,
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

impl App {
    /// Compiles the component and opens its store; this blocks, for some seconds when the component
    /// is compiled for the first time.
    ///
    /// # Errors
    /// The first thing that is missing or wrong.
    pub fn new(mut manifest: Manifest, options: Options) -> Result<Self> {
        let component = &mut manifest.component;
        let hosts = &component.allowed_outbound_hosts;
        let allowed = AllowedHosts::resolve(hosts, &manifest.variables)?;
        match (&mut component.mount, &options.config) {
            (Some(mount), Some(config)) => mount.source.clone_from(config),
            (None, Some(_)) => {
                let problem = "--config replaces the entry of `files`, and the manifest has none";
                return Err(Error::Usage(problem.to_owned()));
            }
            _ => {}
        }
        if let Some(mount) = &component.mount {
            std::fs::read_dir(&mount.source).map_err(|reason| {
                let path = mount.source.display();
                Error::Usage(format!(
                    "cannot read the folder {path}: {reason}; name the folder of config_catchpoint.yaml \
                     and config_graphite.yaml with --config"
                ))
            })?;
        }
        let client = Client::new(&options.ca_files)?;
        let has_store = !component.key_value_stores.is_empty();
        let store = has_store.then(|| Store::open(&options.state)).transpose();
        let store = store.map_err(|error| Error::Failed(error.to_string()))?;
        let compiled = Compiled::new(&component.source, &options.state.join("cache"))?;
        let shared = Shared {
            manifest,
            options,
            allowed,
            client,
            store,
            stats: Stats::default(),
            stop_soon: CancellationToken::new(),
            stop_now: CancellationToken::new(),
            left_behind: CancellationToken::new(),
        };
        Ok(Self {
            compiled,
            shared: Arc::new(shared),
            tasks: TaskTracker::new(),
        })
    }

    /// The manifest that it was made from, with the values of the variables; secrets do not print.
    pub fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    /// The limits and paths that it was made with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// What the instances have done so far.
    pub fn figures(&self) -> Figures {
        self.shared.stats.now()
    }

    /// Fires the cron trigger: a fresh instance, in parallel to whatever runs. `timestamp` is in
    /// seconds since the epoch.
    ///
    /// # Errors
    /// The run did not end well; what it reports itself is no error.
    pub async fn fire_cron(&self, timestamp: u64) -> Result<()> {
        let stats = &self.shared.stats;
        stats.change(|figures| figures.runs += 1);
        let variables = self.manifest().variables.clone();
        let ended = self
            .run(variables, move |instance| instance.fire_cron(timestamp))
            .await;
        if matches!(ended, Err(Error::Usage(_) | Error::Failed(_))) {
            stats.change(|figures| figures.broken += 1);
        }
        ended
    }

    /// Hands a request to the component, with these values of the variables. Its URI or its `host`
    /// header must name an authority, as in any HTTP request. The instance goes on when the future is
    /// dropped.
    ///
    /// # Errors
    /// The run did not end well, whatever it has answered.
    pub async fn http(
        &self,
        variables: Variables,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>> {
        self.run(variables, |instance| instance.http(request)).await
    }

    /// Calls a new instance, on a thread of its own. On one of the runtime's workers, a connection that
    /// the guest writes to would wait until the guest waits itself; and nothing can interrupt a guest
    /// that only computes: interruptible code is a fifth slower. Such a guest is left behind.
    async fn run<T, F>(
        &self,
        variables: Variables,
        call: impl FnOnce(Instance) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
    {
        let instance = Instance::new(&self.compiled, &self.shared, variables)?;
        let failed =
            |error: &dyn std::error::Error| Error::Failed(format!("a run failed: {error}"));
        let (limits, runtime) = (instance.limits(), Handle::current());
        let (sender, ended) = oneshot::channel();
        let guest = move || {
            // Nobody may wait for it any more.
            let _ = sender.send(runtime.block_on(call(instance)));
        };
        // A thread of the runtime would keep the process from ending.
        let thread = thread::Builder::new().name("guest".to_owned());
        thread.spawn(guest).map_err(|error| failed(&error))?;
        let ended = self.tasks.spawn(async move {
            tokio::select! {
                ended = ended => ended.unwrap_or_else(|error| Err(failed(&error))),
                error = limits.computes_on() => Err(error),
            }
        });
        ended.await.unwrap_or_else(|error| Err(failed(&error)))
    }

    /// Waits until an instance was left behind, which computes without an end: the process should end
    /// and be started again.
    pub async fn left_behind(&self) {
        self.shared.left_behind.cancelled().await;
    }

    /// Has each instance stop before its next call to Catchpoint, and waits for their end. What the
    /// last call brought is still delivered to the relay. Afterwards the app is of no use.
    pub async fn stop_soon(&self) {
        self.shared.stop_soon.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Stops all instances now, and returns how many there were. Each gives its lease back.
    pub async fn stop_now(&self) -> usize {
        let left = self.tasks.len();
        self.shared.stop_now.cancel();
        self.tasks.close();
        // An instance notices at once.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
        left
    }
}
