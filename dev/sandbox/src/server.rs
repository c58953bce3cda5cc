//! HTTP around the sandbox, on the loopback interface only.
//!
//! A server has its own runtime and threads, so that callers with and without one of their own can
//! use it.

use std::io::{self, Read};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::control;
use crate::reply::{Body, Reply};
use crate::sandbox::Sandbox;

/// The largest body of a request.
const MOST: usize = 1 << 20;
/// An error makes hyper drop what it has not written yet, so a cut waits this long for the network.
const FLUSH: Duration = Duration::from_millis(50);

/// A running server. It stops when it is dropped.
pub struct Server(Option<Runtime>);

impl Sandbox {
    /// Serves this sandbox over HTTP, in the background.
    ///
    /// # Errors
    ///
    /// If the listener is not on a loopback address, since the sandbox has no protection, or if the
    /// system has no threads or handles left.
    pub fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<Server> {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            let error = format!("{address} can be reached from outside; use a loopback address");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
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
        Ok(Server(Some(runtime)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Does not wait for the threads: a drop must be possible inside another runtime.
        if let Some(runtime) = self.0.take() {
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
) -> io::Result<Response<Channel<Bytes, io::Error>>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MOST).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes().to_vec();
    let request = Request::from_parts(head, body);
    // A large answer takes a second.
    let answer = move || match control::handle(&sandbox, &request) {
        Some(response) => Reply {
            delay: Duration::ZERO,
            answer: Some(response),
        },
        None => sandbox.handle(&request),
    };
    let reply = tokio::task::spawn_blocking(answer).await?;
    tokio::time::sleep(reply.delay).await;
    let answer = reply.answer.ok_or(io::ErrorKind::ConnectionRefused)?;
    Ok(answer.map(send))
}

/// A body on its way to the network.
fn send(mut body: Body) -> Channel<Bytes, io::Error> {
    let (mut sender, channel) = Channel::new(1);
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        let end = body.read_to_end(&mut bytes);
        // The client may be gone.
        if sender.send_data(bytes.into()).await.is_ok()
            && let Err(cut) = end
        {
            tokio::time::sleep(FLUSH).await;
            sender.abort(cut);
        }
    });
    channel
}
