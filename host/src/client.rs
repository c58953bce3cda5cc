//! Sends requests: directly or through a proxy, with TLS, and with plain words for what fails.
//!
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are read as curl reads them, in both cases
//! of letters; addresses of this machine never go through a proxy.
//!
//! wasi:http has a fixed list of error codes. Where one of them says it all the guest gets that one;
//! else it gets `internal-error` with a sentence that names the host.

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use thiserror::Error as ThisError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// What Spin and wasmtime take for a timeout that the guest did not set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Sends requests.
pub(crate) struct Client {
    tls: TlsConnector,
    proxies: Matcher,
}

/// A file of `--ca-file` that cannot be used.
#[derive(Debug, ThisError)]
#[error("--ca-file {}: {reason}; it must be a PEM file with at least one certificate", path.display())]
pub struct CaError {
    path: PathBuf,
    reason: String,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The task that drives a connection; it ends with the handle.
type Connection = AbortOnDropJoinHandle<Result<(), Error>>;

impl Client {
    /// With the public authorities, those in `ca_files`, and the proxies of the environment.
    pub fn new(ca_files: &[PathBuf]) -> Result<Self, CaError> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.into(),
        };
        for path in ca_files {
            let error = |reason: String| CaError {
                path: path.clone(),
                reason,
            };
            let read =
                |path: &Path| CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
            let certificates = read(path).map_err(|reason| error(reason.to_string()))?;
            if certificates.is_empty() {
                return Err(error("no certificate in it".to_owned()));
            }
            for certificate in certificates {
                let added = roots.add(certificate);
                added.map_err(|reason| error(reason.to_string()))?;
            }
        }
        // Fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            proxies: Matcher::from_env(),
        })
    }

    /// Sends a request and waits for the head of the answer. The handle drives the rest.
    pub async fn send(
        &self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<(Response<WasiBody>, Connection), Error> {
        let options = options.unwrap_or_default();
        let target = Target::of(request.uri())?;
        let proxy = if target.is_this_machine() {
            None
        } else {
            self.proxies.intercept(request.uri())
        };
        let connect = options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let stream = timeout(connect, self.connect(&target, proxy.as_ref())).await;
        let stream = stream.map_err(|_| Error::ConnectionTimeout)??;

        match proxy.filter(|_| !target.https) {
            // A proxy for plain HTTP takes the whole address; a server only the path.
            Some(proxy) => {
                if let Some(value) = proxy.basic_auth() {
                    let headers = request.headers_mut();
                    headers.insert(PROXY_AUTHORIZATION, value.clone());
                }
            }
            None => {
                let path = request.uri().path_and_query().cloned();
                *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
            }
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| target.http_error(&error))?;
        let shown = target.clone();
        let connection = spawn(async move {
            let ended = connection.await;
            ended.map_err(|error| shown.http_error(&error))
        });
        let first_byte = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let response = timeout(first_byte, sender.send_request(request))
            .await
            .map_err(|_| Error::ConnectionReadTimeout)?
            .map_err(|error| target.http_error(&error))?;
        let between = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let body = |incoming| {
            TimedBody {
                incoming,
                between,
                timer: Box::pin(sleep(between)),
                target,
            }
            .boxed_unsync()
        };
        Ok((response.map(body), connection))
    }

    /// A stream to the target, with TLS if it has that.
    async fn connect(
        &self,
        target: &Target,
        proxy: Option<&Intercept>,
    ) -> Result<Box<dyn Stream>, Error> {
        let Some(proxy) = proxy else {
            let stream = tcp(target, "").await?;
            return if target.https {
                self.tls(target, stream).await
            } else {
                Ok(Box::new(stream))
            };
        };
        let via = Target::of(proxy.uri()).map_err(|_| {
            let uri = proxy.uri();
            told(format!(
                "the proxy {uri} is not supported: write http://host:port"
            ))
        })?;
        let stream = tcp(&via, "the proxy ").await?;
        let stream: Box<dyn Stream> = if via.https {
            self.tls(&via, stream).await?
        } else {
            Box::new(stream)
        };
        if !target.https {
            return Ok(stream);
        }
        let tunnel = tunnel(&via, target, stream, proxy.basic_auth()).await?;
        self.tls(target, tunnel).await
    }

    async fn tls(
        &self,
        target: &Target,
        stream: impl Stream + 'static,
    ) -> Result<Box<dyn Stream>, Error> {
        let name = target
            .host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(name).map_err(|_| Error::HttpRequestUriInvalid)?;
        let connected = self.tls.connect(name, stream).await;
        match connected {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(target.tls_error(&error)),
        }
    }
}

/// Whom a connection is for.
#[derive(Clone)]
struct Target {
    https: bool,
    /// IPv6 addresses in brackets.
    host: String,
    port: u16,
}

/// `scheme://host[:port]` of an address: what a message may show of it.
pub(crate) fn origin(uri: &Uri) -> String {
    let port = uri.port_u16().map(|port| format!(":{port}"));
    format!(
        "{}://{}{}",
        uri.scheme_str().unwrap_or(""),
        uri.host().unwrap_or(""),
        port.unwrap_or_default()
    )
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().filter(|host| !host.is_empty());
        match (host, https || uri.scheme() == Some(&Scheme::HTTP)) {
            (Some(host), true) => Ok(Self {
                https,
                host: host.to_owned(),
                port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
            }),
            _ => Err(Error::HttpRequestUriInvalid),
        }
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn is_this_machine(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        match address.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    fn tls_error(&self, error: &io::Error) -> Error {
        let of = self.address();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        told(match inner {
            Some(rustls::Error::InvalidCertificate(reason)) => match reason {
                CertificateError::UnknownIssuer => format!(
                    "the certificate of {of} is from an authority that is not trusted here: \
                     pass the authority's certificate with --ca-file"
                ),
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    format!("the certificate of {of} is for another name: {reason}")
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    format!("the certificate of {of} has expired: {reason}")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    format!(
                        "the certificate of {of} is not valid yet, or the clock of this machine is wrong: {reason}"
                    )
                }
                _ if format!("{reason:?}").contains("CaUsedAsEndEntity") => format!(
                    "the certificate of {of} is made for an authority, not for a server: make one with \
                     basicConstraints=CA:FALSE"
                ),
                _ => format!("the certificate of {of} is not accepted: {reason}"),
            },
            Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
                format!("{of} offers no TLS version or cipher that this program has")
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                format!("{of} refused the TLS connection: {alert:?}")
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                format!("{of} does not speak TLS on this port: use http:// or its port for https")
            }
            Some(other) => format!("no TLS connection to {of}: {other}"),
            None if error.kind() == ErrorKind::UnexpectedEof => format!(
                "{of} closed the connection instead of speaking TLS: use http:// or its port for https"
            ),
            None => format!("no TLS connection to {of}: {error}"),
        })
    }

    fn http_error(&self, error: &hyper::Error) -> Error {
        let of = self.address();
        told(if error.is_parse() && self.https {
            format!("{of} does not answer with HTTP: {error}")
        } else if error.is_parse() {
            format!("{of} does not answer with plain HTTP: use https:// if it has TLS")
        } else if error.is_incomplete_message() {
            format!("{of} closed the connection before the end of its answer")
        } else {
            let mut text = format!("{of}: {error}");
            if let Some(source) = std::error::Error::source(error) {
                text += &format!(": {source}");
            }
            text
        })
    }
}

/// An error for which there is no code.
fn told(words: String) -> Error {
    Error::InternalError(Some(words))
}

async fn tcp(target: &Target, what: &str) -> Result<TcpStream, Error> {
    let at = target.address();
    let addresses = lookup_host(&at).await.map_err(|error| {
        if what.is_empty() {
            Error::DnsError {
                rcode: Some(error.to_string()),
                info_code: None,
            }
        } else {
            told(format!("no such host name: {what}{}", target.host))
        }
    })?;
    let mut failed = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A request is written as a whole; waiting for more to write only delays it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    if !what.is_empty() {
        return Err(told(format!("cannot connect to {what}{at}: {failed}")));
    }
    Err(match failed.kind() {
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        ErrorKind::HostUnreachable => Error::DestinationUnavailable,
        ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        _ => told(format!("cannot connect to {at}: {failed}")),
    })
}

/// A stream to the target through the proxy `via`.
async fn tunnel(
    via: &Target,
    target: &Target,
    stream: Box<dyn Stream>,
    credentials: Option<&HeaderValue>,
) -> Result<TokioIo<hyper::upgrade::Upgraded>, Error> {
    let (via, at) = (via.address(), target.address());
    let failed = |error: &dyn std::fmt::Display| {
        told(format!("the proxy {via} does not connect to {at}: {error}"))
    };
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&at)
        .header(HOST, &at);
    if let Some(credentials) = credentials {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|error| failed(&error))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    // It ends when the stream has been taken out of it.
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| failed(&error))?;
    if !response.status().is_success() {
        return Err(failed(&format!("it answered {}", response.status())));
    }
    let upgraded = hyper::upgrade::on(response).await;
    Ok(TokioIo::new(upgraded.map_err(|error| failed(&error))?))
}

/// The body of an answer, with a bound on the time between two pieces.
struct TimedBody {
    incoming: Incoming,
    between: Duration,
    timer: Pin<Box<Sleep>>,
    target: Target,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(context) {
            Poll::Ready(frame) => {
                this.timer.as_mut().reset(Instant::now() + this.between);
                Poll::Ready(
                    frame.map(|frame| frame.map_err(|error| this.target.http_error(&error))),
                )
            }
            Poll::Pending => {
                ready!(this.timer.as_mut().poll(context));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
