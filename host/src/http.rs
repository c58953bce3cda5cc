//! HTTP: hands requests to components, and serves the routes of the manifest.

use crate::answer::AnswerBody;
use crate::app::App;
use crate::instance::{Blueprint, RunError};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

/// Spin's own path for health checks, answered without a component.
const HEALTH: &str = "/.well-known/spin/health";

/// Calls the HTTP handler of a fresh instance. The instance goes on after the answer has begun;
/// what goes wrong then is logged, and breaks off the body.
pub(crate) async fn call<B>(
    app: &App,
    blueprint: &Arc<Blueprint>,
    variables: crate::variables::Variables,
    request: Request<B>,
) -> Result<Response<WasiBody>, RunError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<wasmtime_wasi_http::Error>,
{
    let pre = blueprint.compiled.http.as_ref();
    let pre = pre
        .ok_or_else(|| blueprint.no_export("wasi:http/incoming-handler"))?
        .clone();
    let failed = |error: wasmtime::Error| blueprint.error(&error);
    let mut store = blueprint.store(variables)?;
    let (answer, mut answered) = oneshot::channel();
    let mut view = store.data_mut().http();
    let request = view
        .new_incoming_request(Scheme::Http, request)
        .map_err(failed)?;
    let answer = view.new_response_outparam(answer).map_err(failed)?;

    let running = blueprint.clone();
    let (ended, mut end) = oneshot::channel();
    app.tasks().spawn(async move {
        let call = async {
            let proxy = pre.instantiate_async(&mut store).await?;
            proxy
                .wasi_http_incoming_handler()
                .call_handle(&mut store, request, answer)
                .await
        };
        let result = running.within(call).await;
        // Before the store goes, and the body with it: the body asks for the end.
        if let Err(Err(error)) = ended.send(result) {
            tracing::error!("{error}");
        }
    });

    let component = blueprint.id.clone();
    let answer = tokio::select! {
        biased;
        Ok(answer) = &mut answered => answer,
        Ok(Err(error)) = &mut end => return Err(error),
        else => return Err(RunError::NoAnswer { component }),
    };
    let response = answer.map_err(|code| RunError::Failed {
        component,
        reason: format!("{code:?}"),
    })?;
    Ok(response.map(|body| AnswerBody::new(body, end).boxed_unsync()))
}

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
                tracing::warn!("can not accept a connection: {error}");
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
