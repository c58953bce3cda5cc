//! Sends what a guest wants to send, if it may.

use crate::outbound::AllowedHosts;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use wasmtime_wasi_http::p2::bindings::http::types::{DnsErrorPayload, ErrorCode};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

/// What Spin and wasmtime take for a timeout that the guest did not set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// The outgoing side of one instance.
pub(crate) struct Sender {
    component: String,
    allowed: Arc<AllowedHosts>,
}

impl Sender {
    pub fn new(component: &str, allowed: Arc<AllowedHosts>) -> Self {
        Self {
            component: component.to_owned(),
            allowed,
        }
    }

    /// One line that says what to change. Only the origin is shown: a path can hold a secret.
    fn refuse(&self, request: &Request<WasiBody>) {
        let uri = request.uri();
        let scheme = uri.scheme_str().unwrap_or("");
        let host = uri.host().unwrap_or("");
        let port = uri.port_u16().map(|port| format!(":{port}"));
        let origin = format!("{scheme}://{host}{}", port.unwrap_or_default());
        tracing::warn!(
            "refused a request of component `{id}` to {origin}: add \"{origin}\" to \
             `allowed_outbound_hosts` of [component.{id}] in the manifest, or set the variable \
             that is there for it",
            id = self.component,
        );
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Sender {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        if !self.allowed.allows(request.uri()) {
            self.refuse(&request);
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        Box::new(async move {
            let (response, io) = send(request, options).await?;
            let io: Io = Box::new(io);
            Ok((response.map(BodyExt::boxed_unsync), io))
        })
    }

    fn p2_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        connect_error(error)
    }

    // The guest gets the code and speaks for itself; a second line would only confuse.
    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        tracing::debug!("outgoing request: {error:?}");
        ErrorCode::HttpProtocolError
    }
}

/// wasmtime's own sender, whose connect timeout leaves out the TLS handshake: a peer that accepts
/// and then says nothing would hold the guest for good. The sum of both timeouts ends that.
async fn send(
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<
    (
        Response<impl http_body::Body<Data = bytes::Bytes, Error = Error> + Send + 'static>,
        impl Future<Output = Result<(), Error>> + Send + 'static,
    ),
    Error,
> {
    let connect = options.and_then(|options| options.connect_timeout);
    let first_byte = options.and_then(|options| options.first_byte_timeout);
    let all = connect
        .unwrap_or(DEFAULT_TIMEOUT)
        .saturating_add(first_byte.unwrap_or(DEFAULT_TIMEOUT));
    match tokio::time::timeout(all, default_send_request(request, options)).await {
        Ok(sent) => sent,
        Err(_) => Err(Error::ConnectionTimeout),
    }
}

fn connect_error(error: &io::Error) -> ErrorCode {
    match error.kind() {
        ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
        ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
        ErrorKind::HostUnreachable => ErrorCode::DestinationUnavailable,
        ErrorKind::NetworkUnreachable => ErrorCode::DestinationIpUnroutable,
        // The resolver's errors have no kind of their own in the standard library.
        _ if error.raw_os_error().is_none() => ErrorCode::DnsError(DnsErrorPayload {
            rcode: Some(error.to_string()),
            info_code: None,
        }),
        _ => ErrorCode::ConnectionTerminated,
    }
}
