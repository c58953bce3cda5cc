//! Takes connections, with TLS or without, and hands their requests to the [`Service`].
//!
//! # Layout
//! - this file: accepting and serving
//! - [`connections`] who has to go when there are too many

pub mod connections;

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::config::Patience;
use crate::http::Service;
use connections::{Connections, Ticket};

/// Most connections at once.
const MAX_CONNECTIONS: usize = 512;
/// Buffer of a connection, and so the largest head that is read at all. Bodies come in pieces of
/// this size.
const BUFFER_BYTES: usize = 32 << 10;
/// How long the senders' machines may be silent before their connections count as dead.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// A pause after the system would not give us a connection, for instance for want of file
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until the future is dropped.
pub async fn serve(listener: TcpListener, service: Arc<Service>, patience: Patience) {
    let connections = Connections::new(MAX_CONNECTIONS, Arc::clone(&service.metrics));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let ticket = connections.enter();
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    tokio::select! {
                        () = ticket.evicted() => {}
                        () = connection(stream, &service, &ticket, patience) => {}
                    }
                });
            }
            Err(error) => {
                warn!(%error, "a connection cannot be taken");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
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
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request| service.answer(request, ticket)),
        )
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection ended badly");
    }
}
