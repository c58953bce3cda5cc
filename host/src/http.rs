//! Serves the routes of the manifest over HTTP.

use crate::app::App;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::io::TokioIo;

/// Spin's own path for health checks, answered without a component.
const HEALTH: &str = "/.well-known/spin/health";

/// Serves the manifest's routes on `listener` until `stop`; connections that are busy then finish
/// as tasks of the app.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(app.clone(), stream, peer, stop.clone());
                app.tasks().spawn(connection);
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                // Out of file descriptors, as a rule: a busy loop would not free any.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(app: Arc<App>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(answer(&app, request, peer).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, "connection: {error}");
    }
}

async fn answer(app: &App, mut request: Request<Incoming>, peer: SocketAddr) -> Response<WasiBody> {
    let path = request.uri().path().to_owned();
    if path == HEALTH {
        return text(StatusCode::OK, "OK");
    }
    let Some((_, rest)) = app.route(&path) else {
        return text(
            StatusCode::NOT_FOUND,
            "no route of the manifest has this path",
        );
    };
    let headers = [
        ("spin-path-info", rest.to_owned()),
        ("spin-client-addr", peer.to_string()),
    ];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            request.headers_mut().insert(name, value);
        }
    }
    match app.http(request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!("{path}: {error}");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the component failed; the log says why",
            )
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let body = body.map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
