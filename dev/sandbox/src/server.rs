//! HTTP around the sandbox, on the loopback interface only.
//!
//! A server has its own runtime and threads, so that callers with and without one of their own can
//! use it. Bodies are made on threads that may block; at most two pieces of a body wait for the
//! network.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::reply::{Body, Outcome, json};
use crate::sandbox::Sandbox;
use crate::v1::ErrorBody;

/// The largest body of a request.
const MOST: usize = 1 << 20;
/// Bodies of answers go out in pieces of this size.
const PIECE: u64 = 1 << 16;

/// A running server. It stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Sandbox {
    /// Serves this sandbox over HTTP, in the background.
    ///
    /// # Errors
    ///
    /// If the listener is not on a loopback address, since the sandbox is a toy of this machine, or
    /// if the system has no threads or handles left.
    pub fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<Server> {
        let address = listener.local_addr()?;
        stay_home(address)?;
        listener.set_nonblocking(true)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(accept(self, listener));
        Ok(Server {
            address,
            runtime: Some(runtime),
        })
    }
}

/// Refuses an address that others can reach.
fn stay_home(address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let error = format!("{address} can be reached from outside; use a loopback address");
    Err(io::Error::new(io::ErrorKind::InvalidInput, error))
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Does not wait for the threads: a drop must be possible inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(sandbox: Arc<Sandbox>, listener: tokio::net::TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(Arc::clone(&sandbox), stream));
            }
            // Out of handles, most likely; some will be free in a moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn connection(sandbox: Arc<Sandbox>, stream: TcpStream) {
    let service = service_fn(|request| exchange(Arc::clone(&sandbox), request));
    // It ends with an error if the client goes away, or if a fault breaks it: nothing to tell.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Answers a request; an error makes hyper close the connection without an answer.
async fn exchange(
    sandbox: Arc<Sandbox>,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, io::Error> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MOST).collect().await else {
        let error = "The body is broken or too large";
        let response = json(StatusCode::PAYLOAD_TOO_LARGE, &ErrorBody { error });
        return Ok(response.map(Pieces::of));
    };
    let request = Request::from_parts(head, body.to_bytes().to_vec());
    // A cut answer is made twice, which may take long.
    let reply = tokio::task::spawn_blocking(move || sandbox.handle(&request)).await?;
    tokio::time::sleep(reply.delay).await;
    match reply.outcome {
        Outcome::Answer(response) => Ok(response.map(Pieces::of)),
        Outcome::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}

/// A body on its way to the network.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// The cut that is told at the next poll.
    cut: Option<io::Error>,
}

impl Pieces {
    fn of(mut body: Body) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            loop {
                let mut piece = Vec::new();
                let end = (&mut body).take(PIECE).read_to_end(&mut piece);
                let done = piece.is_empty();
                if !done && sender.blocking_send(Ok(piece.into())).is_err() {
                    return;
                }
                match end {
                    Ok(_) if done => return,
                    Ok(_) => {}
                    Err(error) => {
                        // If the client is gone already, so be it.
                        let _ = sender.blocking_send(Err(error));
                        return;
                    }
                }
            }
        });
        Self {
            pieces: receiver,
            cut: None,
        }
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(cut) = self.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        match ready!(self.pieces.poll_recv(context)) {
            // An error makes hyper drop what it has not written yet, and it writes only when a body
            // has nothing for it. So what comes before the cut goes out first.
            Some(Err(cut)) => {
                self.cut = Some(cut);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            piece => Poll::Ready(piece.map(|piece| piece.map(Frame::data))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_on_this_machine() {
        let check = |address: &str, good: bool| {
            assert_eq!(
                stay_home(address.parse().unwrap()).is_ok(),
                good,
                "{address}"
            );
        };
        check("127.0.0.1:1", true);
        check("127.9.9.9:1", true);
        check("[::1]:1", true);
        check("0.0.0.0:1", false);
        check("[::]:1", false);
        check("192.0.2.1:1", false);
    }
}
