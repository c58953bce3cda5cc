//! Takes connections, with TLS or without, and has their requests answered.
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
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::api::Service;
pub use crate::api::body::Timeouts;
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

/// Takes connections and serves them.
pub struct Server {
    /// Answers their requests.
    pub service: Arc<Service>,
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
    let bind = |address: SocketAddr| {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let mut absent = ("no address".to_owned(), io::ErrorKind::NotFound.into());
    for address in addresses {
        let error = match bind(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        let is_absent = error.kind() == io::ErrorKind::AddrNotAvailable
            || error.raw_os_error() == Some(libc::EAFNOSUPPORT);
        if !is_absent {
            return Err((address.to_string(), error));
        }
        warn!(%address, "this machine does not have this address: the next one of the name is taken (listen, --listen)");
        absent = (address.to_string(), error);
    }
    Err(absent)
}

impl Server {
    /// Takes connections until the relay is closing, and returns when all of them have ended.
    pub async fn serve(self, listener: TcpListener, limits: Limits) {
        let admission = Admission::new(limits, Arc::clone(&self.metrics));
        let server = Arc::new(self);
        let mut phase = server.phase.clone();
        let graceful = GracefulShutdown::new();
        // Dropped with the future, it ends them all.
        let mut tasks = JoinSet::new();
        let warned = LogThrottle::default();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // Without a sender the relay is gone, and this future soon too.
                _ = phase.wait_for(|phase| *phase >= Phase::Closing) => break,
                // A task that panicked has printed why.
                Some(_) = tasks.join_next() => continue,
            };
            match accepted {
                Ok((stream, sender)) => {
                    let ticket = admission.enter(sender).await;
                    let (server, watcher) = (Arc::clone(&server), graceful.watcher());
                    tasks.spawn(async move {
                        tokio::select! {
                            () = ticket.closed() => {}
                            () = server.connection(stream, &ticket, watcher) => {}
                        }
                    });
                }
                Err(error) => {
                    if warned.is_due() {
                        warn!(%error, "connections cannot be accepted: senders have to wait; raise the limit of open files (LimitNOFILE)");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        graceful.shutdown().await;
    }

    async fn connection(&self, stream: TcpStream, ticket: &Ticket, watcher: Watcher) {
        // Neither is needed for a right answer.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        let Some(tls) = &self.tls else {
            return self.requests(stream, ticket, watcher).await;
        };
        let handshake = TlsAcceptor::from(tls.current()).accept(stream);
        let error = match timeout(self.timeouts.head, handshake).await {
            Ok(Ok(stream)) => return self.requests(stream, ticket, watcher).await,
            Ok(Err(error)) => error,
            Err(late) => late.into(),
        };
        self.metrics.tls_failures.inc();
        debug!(sender = %ticket.sender, %error, "a TLS handshake failed");
    }

    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        ticket: &Ticket,
        watcher: Watcher,
    ) {
        let answer = service_fn(async |request| {
            Ok::<_, Infallible>(self.service.answer(request, ticket).await)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.timeouts.head)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), answer);
        let served = watcher.watch(connection).await;
        if let Err(error) = served {
            debug!(sender = %ticket.sender, %error, "a connection failed");
        }
    }
}
