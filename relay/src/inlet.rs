//! Takes connections, with TLS or without, and hands their requests to the [`Service`].
//!
//! # Layout
//! - this file: accepting and serving
//! - [`connections`] who has to go when there are too many

pub mod connections;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::config::Patience;
use crate::http::Service;
use crate::log_throttle::LogThrottle;
use crate::phase::Phase;
use connections::{Connections, Ticket};

/// Most connections at once that are at work on a post, and most that are not.
const MAX_CONNECTIONS: usize = 256;
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

/// Listens on the first of these addresses that can be had.
///
/// # Errors
/// That of the last one.
pub fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
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
        match listener() {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Takes connections until the relay is closing, and returns when all of them have ended.
pub async fn serve(listener: TcpListener, service: Arc<Service>, patience: Patience) {
    let connections = Connections::new(MAX_CONNECTIONS, Arc::clone(&service.metrics));
    let mut phase = service.phase.clone();
    // Dropped with the future, it ends them all.
    let mut tasks = JoinSet::new();
    let mut warned = LogThrottle::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing(&mut phase) => break,
            // A task that panicked has printed why.
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.room().await;
                let ticket = connections.enter();
                let service = Arc::clone(&service);
                tasks.spawn(async move {
                    ticket.begin();
                    tokio::select! {
                        () = ticket.evicted() => {}
                        () = connection(stream, &service, &ticket, patience) => {}
                    }
                });
            }
            Err(error) => {
                if warned.is_due() {
                    warn!(%error, "connections cannot be taken: senders have to wait");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

async fn closing(phase: &mut watch::Receiver<Phase>) {
    // Without a sender the relay is gone, and this future soon too.
    let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
}

async fn connection(stream: TcpStream, service: &Service, ticket: &Ticket, patience: Patience) {
    // Neither is needed for a right answer.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    let Some(config) = service.gate.access().tls else {
        return requests(stream, service, ticket, patience).await;
    };
    match timeout(patience.head, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, service, ticket, patience).await,
        Ok(Err(error)) => {
            service.metrics.tls_failures.add(1);
            debug!(%error, "a TLS handshake failed");
        }
        Err(_) => service.metrics.tls_failures.add(1),
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    service: &Service,
    ticket: &Ticket,
    patience: Patience,
) {
    let mut phase = service.phase.clone();
    let answer = service_fn(|request| service.answer(request, ticket));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
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
        debug!(%error, "a connection ended badly");
    }
}
