//! Takes connections, with TLS or without, and hands their requests to a [`Handler`].
//!
//! # Layout
//! - this file: accepting and serving
//! - [`admission`] how many connections at once, and who makes room
//! - [`auth`] the tokens that let a sender in
//! - [`tls`] certificates
//! - [`watched`] files that are read again when they change

pub mod admission;
pub mod auth;
pub mod tls;
pub mod watched;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use crate::shutdown::Phase;
use admission::{Admission, Limits, Ticket};
use watched::Watched;

/// Connections that the system may hold for us until we take them. With the usual 128 a flood of
/// connections makes the system drop those of others, who try again only after a second.
const BACKLOG: u32 = 4096;
/// Buffer of a connection, and so the largest head that is read at all. Bodies come in pieces of
/// this size.
const BUFFER_BYTES: usize = 32 << 10;
/// How long the senders' machines may be silent before their connections count as dead.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// A pause after the system would not give us a connection, for instance for want of file
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the server waits for senders.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a whole head, from the first moment, and for a TLS handshake.
    pub head: Duration,
    /// For the next piece of a body.
    pub body_piece: Duration,
    /// For a whole body.
    pub body: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            body_piece: Duration::from_secs(10),
            body: Duration::from_secs(300),
        }
    }
}

/// An answer to a request.
pub type Answer = Response<Full<Bytes>>;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request that came over the connection with this ticket, from this address.
    fn answer(
        &self,
        request: Request<Incoming>,
        ticket: &Ticket,
        sender: SocketAddr,
    ) -> impl Future<Output = Answer> + Send;
}

/// Takes connections and serves them.
pub struct Server<H> {
    /// Answers their requests.
    pub handler: Arc<H>,
    /// Without it the server speaks plain HTTP.
    pub tls: Option<Arc<Watched<ServerConfig>>>,
    /// How long it waits.
    pub timeouts: Timeouts,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// How far the relay is with stopping.
    pub phase: watch::Receiver<Phase>,
}

/// Listens on the first of these addresses. Only if this machine has no such address, as without
/// IPv6, the next one is taken.
///
/// # Errors
/// The address that cannot be had, and why.
pub fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, (String, io::Error)> {
    let mut failed = ("no address".to_owned(), io::ErrorKind::NotFound.into());
    for address in addresses {
        let listener = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(*address)?;
            socket.listen(BACKLOG)
        };
        let error = match listener() {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        let is_absent = error.kind() == io::ErrorKind::AddrNotAvailable
            || error.raw_os_error() == Some(libc::EAFNOSUPPORT);
        failed = (address.to_string(), error);
        if !is_absent {
            break;
        }
        warn!(%address, "this machine does not have this address (listen, --listen)");
    }
    Err(failed)
}

impl<H: Handler> Server<H> {
    /// Takes connections until the relay is closing, and returns when all of them have ended.
    pub async fn serve(self, listener: TcpListener, limits: Limits) {
        let admission = Admission::new(limits, Arc::clone(&self.metrics));
        let server = Arc::new(self);
        let mut phase = server.phase.clone();
        // Dropped with the future, it ends them all.
        let mut tasks = JoinSet::new();
        let warned = LogThrottle::default();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closing(&mut phase) => break,
                // A task that panicked has printed why.
                Some(_) = tasks.join_next() => continue,
            };
            match accepted {
                Ok((stream, sender)) => {
                    admission.room().await;
                    let ticket = admission.enter(sender.ip());
                    let server = Arc::clone(&server);
                    tasks.spawn(async move {
                        tokio::select! {
                            () = ticket.closed() => {}
                            () = server.connection(stream, &ticket, sender) => {}
                        }
                    });
                }
                Err(error) => {
                    if warned.is_due() {
                        warn!(%error, "connections cannot be accepted: senders have to wait");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        while tasks.join_next().await.is_some() {}
    }

    async fn connection(&self, stream: TcpStream, ticket: &Ticket, sender: SocketAddr) {
        // Neither is needed for a right answer.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        let Some(tls) = &self.tls else {
            return self.requests(stream, ticket, sender).await;
        };
        let handshake = TlsAcceptor::from(tls.current()).accept(stream);
        let error = match timeout(self.timeouts.head, handshake).await {
            Ok(Ok(stream)) => return self.requests(stream, ticket, sender).await,
            Ok(Err(error)) => error,
            Err(late) => late.into(),
        };
        self.metrics.tls_failures.inc();
        debug!(%sender, %error, "a TLS handshake failed");
    }

    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        ticket: &Ticket,
        sender: SocketAddr,
    ) {
        let mut phase = self.phase.clone();
        let answer = service_fn(async |request| {
            Ok::<_, Infallible>(self.handler.answer(request, ticket, sender).await)
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.timeouts.head)
                .max_buf_size(BUFFER_BYTES)
                .serve_connection(TokioIo::new(stream), answer)
        );
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = closing(&mut phase) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            debug!(%sender, %error, "a connection failed");
        }
    }
}

async fn closing(phase: &mut watch::Receiver<Phase>) {
    // Without a sender the relay is gone, and this future soon too.
    let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
}
