//! The outgoing side of one instance: lets requests through that the manifest allows, counts them,
//! and stops a run between two calls.

use crate::origin::Origin;
use crate::shared::Shared;
use http::{Request, Response};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// The hooks of one instance.
pub(crate) struct Outgoing {
    pub shared: Arc<Shared>,
    /// Stops this instance.
    pub cut: CancellationToken,
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let shared = self.shared.clone();
        let Some(origin) = Origin::of(request.uri()) else {
            return Box::new(std::future::ready(Err(Error::HttpRequestUriInvalid)));
        };
        if !shared.allowed.allows(&origin) {
            tracing::warn!(
                "refused a request to {origin}: the manifest allows {} only; set the one that is \
                 for this address",
                shared.allowed.describe()
            );
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        let is_relay = shared.allowed.is_relay(&origin);
        if shared.stop_soon.is_cancelled() && !is_relay {
            self.cut.cancel();
            return Box::new(std::future::pending());
        }
        Box::new(async move {
            shared.stats.change(|figures| {
                *if is_relay {
                    &mut figures.posts
                } else {
                    &mut figures.calls
                } += 1;
                figures.waiting = Some((origin.to_string(), Instant::now()));
            });
            let sent = shared.client.send(&origin, request, options).await;
            shared.stats.change(|figures| {
                figures.waiting = None;
                if is_relay {
                    let answer = sent.as_ref().ok().map(|(answer, _)| answer.status());
                    figures.relay_answered(answer.map(|status| status.as_u16()));
                }
            });
            if let Err(error) = &sent {
                tracing::debug!("{origin}: {error}");
            }
            let (response, connection) = sent?;
            let connection: Io = Box::new(connection);
            Ok((response, connection))
        })
    }
}
