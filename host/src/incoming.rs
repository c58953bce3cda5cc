//! Hands a request to a component.

use crate::answer::AnswerBody;
use crate::instance::{Blueprint, RunError};
use crate::variables::Variables;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Body;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

/// Calls the HTTP handler of a fresh instance, as one of `tasks`. The instance goes on after the
/// answer has begun; what goes wrong then is logged, and breaks off the body.
pub(crate) async fn call<B>(
    tasks: &TaskTracker,
    blueprint: &Arc<Blueprint>,
    variables: Variables,
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
    tasks.spawn(async move {
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
