//! The outgoing side of one instance: lets requests through that the manifest allows, counts them,
//! and stops a run between two calls.

use crate::app::Shared;
use crate::client::origin;
use http::{Request, Response};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// What the instances have sent: for a person who waits.
#[derive(Debug, Default)]
pub struct Traffic(Mutex<Counts>);

/// Requests so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// To Catchpoint.
    pub calls: u64,
    /// To the relay.
    pub posts: u64,
    /// Where an answer is waited for, and since when, by number of request.
    waiting: BTreeMap<u64, (String, Instant)>,
}

impl Traffic {
    /// The counts of this moment.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts that a panicking thread left behind are still counts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, host: &str, is_relay: bool) -> u64 {
        let mut counts = self.lock();
        if is_relay {
            counts.posts += 1;
        } else {
            counts.calls += 1;
        }
        let number = counts.calls + counts.posts;
        counts
            .waiting
            .insert(number, (host.to_owned(), Instant::now()));
        number
    }

    fn end(&self, number: u64) {
        self.lock().waiting.remove(&number);
    }
}

impl Counts {
    /// `3 calls to Catchpoint, 2 posts to the relay, waiting 4 s for io.catchpoint.com`.
    pub fn words(&self) -> String {
        let plural = |count| if count == 1 { "" } else { "s" };
        let (calls, posts) = (self.calls, self.posts);
        let mut words = format!(
            "{calls} call{} to Catchpoint, {posts} post{} to the relay",
            plural(calls),
            plural(posts)
        );
        if let Some((host, since)) = self.waiting.values().next() {
            let seconds = since.elapsed().as_secs();
            words += &format!(", waiting {seconds} s for {host}");
        }
        words
    }
}

/// The hooks of one instance.
pub(crate) struct Outgoing {
    shared: Arc<Shared>,
    /// Stops this instance.
    cut: CancellationToken,
}

impl Outgoing {
    pub fn new(shared: Arc<Shared>, cut: CancellationToken) -> Self {
        Self { shared, cut }
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let shared = self.shared.clone();
        // Only the origin is shown: a path can hold a secret.
        let origin = origin(request.uri());
        if !shared.allowed.allows(request.uri()) {
            tracing::warn!(
                "refused a request to {origin}: the manifest allows {} only; set the variable that \
                 is for this address",
                shared.allowed.describe()
            );
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        let is_relay = shared.allowed.is_relay(request.uri());
        if shared.stop_soon.is_cancelled() && !is_relay {
            self.cut.cancel();
            return Box::new(std::future::pending());
        }
        Box::new(async move {
            let number = shared.traffic.begin(&origin, is_relay);
            let sent = shared.client.send(request, options).await;
            shared.traffic.end(number);
            if let Err(error) = &sent {
                tracing::debug!("{origin}: {error}");
            }
            let (response, connection) = sent?;
            let connection: Io = Box::new(connection);
            Ok((response, connection))
        })
    }

    fn p2_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        ErrorCode::InternalError(Some(error.to_string()))
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        ErrorCode::InternalError(Some(error.to_string()))
    }
}
