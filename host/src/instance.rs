//! One run of the component: its limits, and how it ends.

use crate::app::Shared;
use crate::bindings::cron::fermyon::spin_cron::cron_types::{Error as CronError, Metadata};
use crate::imports::{Lease, OutOfMemory, State};
use crate::variables::Variables;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmtime::{Store, Trap};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

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
    /// What the guest is to see is not there any more, such as its folder.
    #[error("the component cannot start: {0}")]
    NotStarted(String),
    /// The guest panicked or went wrong otherwise.
    #[error(
        "the component failed: {0}; the lines before say more. The next run starts anew; if it \
         fails again, please report it with these lines"
    )]
    Trapped(String),
    /// The guest wanted more memory than it may have; the limit in bytes.
    #[error("the component was stopped: it needs more than {} MiB of memory; raise --memory-mib", .0 >> 20)]
    Memory(usize),
    /// The guest ran for longer than this.
    #[error("the component was stopped: it ran for more than {} s; raise --deadline", .0.as_secs())]
    Deadline(Duration),
    /// The runner was told to stop.
    #[error("the run was stopped; the next run continues from there")]
    Stopped,
    /// The guest's handler says that it failed.
    #[error("the component failed: {0}")]
    Failed(String),
    /// The guest returned without an answer.
    #[error("the component did not answer the request")]
    NoAnswer,
    /// The component does not export what is called.
    #[error("the component does not export `{0}`, which its trigger calls")]
    NoExport(&'static str),
}

/// A fresh instance that has not been called yet.
struct Instance {
    store: Store<State>,
    lease: Lease,
    /// Stops this instance.
    cut: CancellationToken,
}

impl Instance {
    fn new(shared: &Arc<Shared>, variables: Variables) -> Result<Self, RunError> {
        let (lease, cut) = (Lease::default(), shared.stop_now.child_token());
        let state = State::new(shared, variables, lease.clone(), cut.clone())
            .map_err(|error| RunError::NotStarted(format!("{error:#}")))?;
        let mut store = Store::new(&shared.compiled.engine, state);
        store.limiter(|state| state.limiter());
        // Gives way at each tick, so that `within` can stop it.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        Ok(Self { store, lease, cut })
    }
}

/// Calls the cron handler of a fresh instance; `timestamp` is in seconds since the epoch.
pub(crate) async fn cron(
    shared: Arc<Shared>,
    variables: Variables,
    timestamp: u64,
) -> Result<(), RunError> {
    let pre = shared.compiled.cron.as_ref();
    let pre = pre.ok_or(RunError::NoExport("handle-cron-event"))?;
    let Instance {
        mut store,
        lease,
        cut,
    } = Instance::new(&shared, variables)?;
    let call = async {
        let instance = pre.instantiate_async(&mut store).await?;
        instance
            .call_handle_cron_event(&mut store, Metadata { timestamp })
            .await
    };
    match within(&shared, &lease, &cut, call).await? {
        Ok(()) => Ok(()),
        Err(CronError::Other(reason)) => Err(RunError::Failed(reason)),
    }
}

/// Hands a request to the HTTP handler of a fresh instance, and waits for its whole answer.
pub(crate) async fn http(
    shared: Arc<Shared>,
    variables: Variables,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, RunError> {
    let pre = shared.compiled.http.as_ref();
    let pre = pre.ok_or(RunError::NoExport("wasi:http/incoming-handler"))?;
    let mut instance = Instance::new(&shared, variables)?;
    let failed = |error: wasmtime::Error| run_error(&shared, &error);
    let (sender, receiver) = oneshot::channel();
    let mut view = instance.store.data_mut().http();
    let request = request.map(|body| {
        Full::new(body).map_err(|never| -> wasmtime_wasi_http::Error { match never {} })
    });
    let request = view
        .new_incoming_request(Scheme::Http, request)
        .map_err(failed)?;
    let out = view.new_response_outparam(sender).map_err(failed)?;
    let Instance {
        mut store,
        lease,
        cut,
    } = instance;
    let call = async move {
        let proxy = pre.instantiate_async(&mut store).await?;
        proxy
            .wasi_http_incoming_handler()
            .call_handle(&mut store, request, out)
            .await
        // The store goes here, and what is left of the body with it.
    };
    let answer = async {
        let response = match receiver.await {
            Ok(Ok(response)) => response,
            Ok(Err(code)) => return Err(RunError::Failed(format!("{code:?}"))),
            Err(_) => return Err(RunError::NoAnswer),
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await;
        let body = body.map_err(|error| RunError::Failed(error.to_string()))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    // The guest may wait until what it has answered is read.
    let (called, answered) = tokio::join!(within(&shared, &lease, &cut, call), answer);
    called?;
    answered
}

/// Runs `call` until it ends, its deadline has come, or the runner stops.
async fn within<T>(
    shared: &Shared,
    lease: &Lease,
    cut: &CancellationToken,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, RunError> {
    let deadline = shared.limits.deadline;
    let result = tokio::select! {
        () = cut.cancelled() => Err(RunError::Stopped),
        result = tokio::time::timeout(deadline, call) => match result {
            Ok(result) => result.map_err(|error| run_error(shared, &error)),
            Err(_) => Err(RunError::Deadline(deadline)),
        },
    };
    if result.is_err()
        && let Some(store) = &shared.store
    {
        lease.release(store);
    }
    result
}

fn run_error(shared: &Shared, error: &wasmtime::Error) -> RunError {
    if error.downcast_ref::<OutOfMemory>().is_some() {
        return RunError::Memory(shared.limits.memory);
    }
    tracing::debug!("{error:?}");
    RunError::Trapped(match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    })
}
