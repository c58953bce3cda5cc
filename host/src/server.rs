//! HTTP of `up`: `/healthz`, `/metrics`, and the component's paths.

use crate::{api, metrics};
use bytes::Bytes;
use catchpoint_graphite_host::app::App;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The most bytes of a request: the component takes half as many.
const MOST_BODY: usize = 2 << 20;
/// How long a client may take for the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// Most requests that the component serves at once. Further ones are answered 503 at once, and a node of
/// Catchpoint posts again: if they waited while the relay hangs, it would have given up when their turn
/// comes. An instance takes a thread of tokio's 512, and the others need some as well.
const MOST_REQUESTS: usize = 400;
/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves on `listener` until `stop`.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MOST_REQUESTS));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let (app, places) = (app.clone(), places.clone());
                tokio::spawn(serve_connection(app, places, stream, stop.clone()));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                // Out of file descriptors, as a rule: a busy loop would not free any.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(
    app: Arc<App>,
    places: Arc<Semaphore>,
    stream: TcpStream,
    stop: CancellationToken,
) {
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(answer(&app, &places, request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("connection: {error}");
    }
}

async fn answer(
    app: &App,
    places: &Semaphore,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/healthz" | "/.well-known/spin/health" => text(StatusCode::OK, "ok\n"),
        "/metrics" => {
            let last = api::last_report(app).await.unwrap_or_else(|error| {
                tracing::warn!("no last report for /metrics: {error:#}");
                None
            });
            text(StatusCode::OK, metrics::page(app, last.as_ref()))
        }
        _ if app.manifest().trigger.http.is_none() => text(
            StatusCode::NOT_FOUND,
            "the manifest has no [[trigger.http]]\n",
        ),
        _ => answer_of_component(app, places, request).await,
    }
}

async fn answer_of_component(
    app: &App,
    places: &Semaphore,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = Limited::new(body, MOST_BODY).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n"),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n"),
    };
    // Only now: a client that still sends its body would not get to read the answer.
    let Ok(_place) = places.try_acquire() else {
        let words = "too many requests are being served, try again in a minute\n";
        return text(StatusCode::SERVICE_UNAVAILABLE, words);
    };
    let request = Request::from_parts(head, body.to_bytes());
    match app.http(app.manifest().variables.clone(), request).await {
        Ok(response) => response.map(Full::new),
        Err(error) => {
            tracing::error!("{path}: {error}");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the component failed; the log says why\n",
            )
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
