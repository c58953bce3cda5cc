//! The liveness connection: one idle connection to each address of carbon, which tells when that
//! carbon goes away.
//!
//! What carbon has read it keeps in memory for a while, and loses when it stops. So the relay must
//! notice every restart of carbon, also a quick one between two deliveries, after which nothing
//! would ever be refused. An open connection notices: carbon's end closes it, and keepalive probes,
//! every two seconds, find that carbon's machine has lost power or was started again.
//!
//! The relay never closes such a connection while it could still tell something: a machine that lost
//! power says nothing until it is probed.
//!
//! When the connection ends in an orderly way and carbon accepts a new one at once, carbon has most
//! likely only closed an idle connection (`METRIC_CLIENT_IDLE_TIMEOUT`, off by default, or the
//! timeout of a load balancer). That is uncertain evidence of a restart. So the new connection is
//! tried in the same moment, whatever the forwarder is doing: a carbon that restarts refuses it.
//! Behind something that accepts connections for carbon the relay sees no better, which is why it
//! should connect to carbon itself.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connect::{Network, Stream};
use super::delivery::PROOF_TIME;

/// The kernel counts in ticks, at most so long.
const TICK: Duration = Duration::from_millis(20);

/// The connection.
pub struct Liveness<S> {
    stream: Arc<S>,
    end: JoinHandle<End<S>>,
    /// Whether this peer is known to be carbon's plaintext listener.
    pub is_carbon: bool,
}

/// How a liveness connection has ended.
pub enum End<S> {
    /// Carbon has closed it and has accepted this one at once.
    Reconnected(S),
    /// Carbon is gone, for this reason.
    Gone(String),
}

impl<S: Stream> Liveness<S> {
    /// Watches the carbon at this address by this connection, on which nothing is ever sent.
    pub fn new<N: Network<Stream = S>>(stream: S, address: SocketAddr, network: Arc<N>) -> Self {
        let stream = Arc::new(stream);
        let watched = Arc::clone(&stream);
        Self {
            stream,
            end: tokio::spawn(async move { watch(&*watched, address, &*network).await }),
            is_carbon: false,
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.end.is_finished() || self.stream.is_disturbed()
    }

    /// Waits for its end.
    pub fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<End<S>> {
        let end = ready!(Pin::new(&mut self.end).poll(context));
        Poll::Ready(end.unwrap_or_else(|error| End::Gone(error.to_string())))
    }

    /// Whether carbon's machine has acknowledged something, a keepalive probe too, since this time.
    pub fn has_answered_since(&self, time: Instant) -> bool {
        let since = time.elapsed();
        self.stream.last_ack().is_ok_and(|ago| ago + TICK < since)
    }
}

impl<S> Drop for Liveness<S> {
    fn drop(&mut self) {
        self.end.abort();
    }
}

async fn watch<N: Network>(stream: &N::Stream, address: SocketAddr, network: &N) -> End<N::Stream> {
    let opened = Instant::now();
    match stream.read().await {
        Ok(true) => return End::Gone("something else answers in its place".to_owned()),
        // As something does that accepts connections for a carbon that is not there.
        Ok(false) if opened.elapsed() < PROOF_TIME => {
            return End::Gone("it closes a connection as soon as it has accepted it".to_owned());
        }
        Ok(false) => {}
        Err(error) => return End::Gone(error.to_string()),
    }
    match network.connect(address, None).await {
        Ok(stream) => End::Reconnected(stream),
        Err(error) => End::Gone(error.to_string()),
    }
}
