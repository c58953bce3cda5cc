//! One run of a component: its limits, and how it ends.

use crate::bindings::cron::fermyon::spin_cron::cron_types::{Error as CronError, Metadata};
use crate::component::Compiled;
use crate::files::Mounts;
use crate::imports::{OutOfMemory, State};
use crate::key_value;
use crate::outbound::AllowedHosts;
use crate::output::GuestOutput;
use crate::template::Template;
use crate::variables::Variables;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use wasmtime::{Store, Trap};

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
    /// What the guest is to see is not there any more, such as a folder of `files`.
    #[error("component `{component}` cannot start: {reason}")]
    NotStarted {
        /// Its id.
        component: String,
        /// What is missing.
        reason: String,
    },
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
    pub stores: BTreeMap<String, key_value::Store>,
    pub allowed_hosts: Arc<AllowedHosts>,
    pub limits: Limits,
    pub output: GuestOutput,
    pub stop: CancellationToken,
    /// The most bytes of linear memory that an instance has had.
    pub peak_memory: Arc<AtomicUsize>,
}

impl Blueprint {
    /// A fresh instance's store, with `variables` as the application's.
    pub fn store(self: &Arc<Self>, variables: Variables) -> Result<Store<State>, RunError> {
        let state = State::new(self, variables).map_err(|error| RunError::NotStarted {
            component: self.id.clone(),
            reason: format!("{error:#}"),
        })?;
        let mut store = Store::new(self.compiled.engine(), state);
        store.limiter(|state| state.limiter());
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
        let mut store = self.store(variables)?;
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
