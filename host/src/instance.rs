//! One run of the component: its limits, and how it ends.

use crate::bindings::cron::fermyon::spin_cron::cron_types::{Error as CronError, Metadata};
use crate::component::Compiled;
use crate::error::{Error, Result, stopped};
use crate::imports::State;
use crate::lease::Lease;
use crate::shared::Shared;
use crate::variables::Variables;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmtime::{Store, Trap};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

/// A fresh instance that has not been called yet.
pub(crate) struct Instance {
    compiled: Compiled,
    store: Store<State>,
    limits: Limits,
}

/// So long after its deadline a guest that does not wait for anything is left behind: far longer than
/// one page takes.
const LATE: Duration = Duration::from_secs(10);

/// The same, when the runner stops at once.
const LATE_AT_STOP: Duration = Duration::from_millis(500);

/// What ends an instance that does not end by itself.
#[derive(Clone)]
pub(crate) struct Limits {
    shared: Arc<Shared>,
    lease: Lease,
    /// Stops this instance.
    cut: CancellationToken,
}

impl Instance {
    pub fn new(compiled: &Compiled, shared: &Arc<Shared>, variables: Variables) -> Result<Self> {
        let (lease, cut) = (Lease::default(), shared.stop_now.child_token());
        let state = State::new(shared.clone(), variables, lease.clone(), cut.clone())
            .map_err(|error| Error::Failed(format!("the component cannot start: {error:#}")))?;
        let mut store = Store::new(&compiled.engine, state);
        store.limiter(|state| state);
        let shared = shared.clone();
        Ok(Self {
            compiled: compiled.clone(),
            store,
            limits: Limits { shared, lease, cut },
        })
    }

    /// What ends it.
    pub fn limits(&self) -> Limits {
        self.limits.clone()
    }

    /// Calls the cron handler; `timestamp` is in seconds since the epoch.
    pub async fn fire_cron(mut self, timestamp: u64) -> Result<()> {
        let call = async {
            let pre = &self.compiled.cron;
            let instance = pre.instantiate_async(&mut self.store).await?;
            instance
                .call_handle_cron_event(&mut self.store, Metadata { timestamp })
                .await
        };
        let called = self.limits.within(call).await?;
        called.map_err(|CronError::Other(reason)| failed(&reason))
    }

    /// Hands a request to the HTTP handler, and waits for its whole answer.
    pub async fn http(self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let Self {
            compiled,
            mut store,
            limits,
        } = self;
        let (sender, receiver) = oneshot::channel();
        let request = request.map(|body| {
            Full::new(body).map_err(|never| -> wasmtime_wasi_http::Error { match never {} })
        });
        let call = async move {
            let mut view = store.data_mut().http();
            let request = view.new_incoming_request(Scheme::Http, request)?;
            let out = view.new_response_outparam(sender)?;
            let proxy = compiled.http.instantiate_async(&mut store).await?;
            let handler = proxy.wasi_http_incoming_handler();
            handler.call_handle(&mut store, request, out).await
            // The store goes here, and what is left of the body with it.
        };
        let answer = async {
            let no_answer = "the component did not answer the request";
            let response = receiver.await;
            let response = response.map_err(|_| Error::Failed(no_answer.to_owned()))?;
            let response = response.map_err(|code| failed(&format!("{code:?}")))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await;
            let body = body.map_err(|error| failed(&error.to_string()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        // The guest may wait until what it has answered is read.
        let (called, answered) = tokio::join!(limits.within(call), answer);
        called?;
        answered
    }
}

impl Limits {
    /// Runs `call` until it ends, or until it waits for something after its time.
    async fn within<T>(&self, call: impl Future<Output = wasmtime::Result<T>>) -> Result<T> {
        let result = tokio::select! {
            error = self.over() => Err(error),
            result = call => result.map_err(trapped),
        };
        if result.is_err() {
            self.release();
        }
        result
    }

    /// Waits until the instance computes although its time is over.
    pub async fn computes_on(&self) -> Error {
        let error = self.over().await;
        let is_stop = matches!(error, Error::Stopped);
        tokio::time::sleep(if is_stop { LATE_AT_STOP } else { LATE }).await;
        self.release();
        if !is_stop {
            self.shared.left_behind.cancel();
        }
        error
    }

    /// Waits until its deadline has come, or the runner stops.
    async fn over(&self) -> Error {
        let seconds = self.shared.options.deadline;
        tokio::select! {
            () = self.cut.cancelled() => Error::Stopped,
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {
                stopped(&format!("it ran for more than {seconds} s; raise --deadline"))
            }
        }
    }

    fn release(&self) {
        if let Some(store) = &self.shared.store {
            self.lease.release(store);
        }
    }
}

fn trapped(error: wasmtime::Error) -> Error {
    // A limit has its own words.
    let error = match error.downcast::<Error>() {
        Ok(limit) => return limit,
        Err(error) => error,
    };
    tracing::debug!("{error:?}");
    let reason = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    failed(&format!(
        "{reason}; the log lines above say more. The next run starts anew; if it fails again, please \
         report it with these lines"
    ))
}

fn failed(reason: &str) -> Error {
    Error::Failed(format!("the component failed: {reason}"))
}
