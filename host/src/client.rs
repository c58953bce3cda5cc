//! Sends requests: directly or through a proxy, with TLS, and with plain words for what fails.
//!
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are read as curl reads them, in both cases
//! of letters; addresses of this machine never go through a proxy.
//!
//! wasi:http has a fixed list of error codes. Where one of them says it all the guest gets that one;
//! else it gets `internal-error` with a sentence that names the host.

use crate::error::{self, Error::Usage};
use crate::origin::{Origin, told};
use anyhow::ensure;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
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

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The task that drives a connection; it ends with the handle.
type Connection = AbortOnDropJoinHandle<Result<(), Error>>;

impl Client {
    /// With the public authorities, those in `ca_files`, and the proxies of the environment.
    pub fn new(ca_files: &[PathBuf]) -> error::Result<Self> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.into(),
        };
        for path in ca_files {
            add_authorities(&mut roots, path).map_err(|reason| {
                let path = path.display();
                Usage(format!(
                    "--ca-file {path}: {reason}; it must be a PEM file with at least one certificate"
                ))
            })?;
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

    /// Sends a request to `origin` and waits for the head of the answer. The handle drives the rest.
    pub async fn send(
        &self,
        origin: &Origin,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<(Response<WasiBody>, Connection), Error> {
        let options = options.unwrap_or_default();
        let [connect, first_byte, between_bytes] = [
            options.connect_timeout,
            options.first_byte_timeout,
            options.between_bytes_timeout,
        ]
        .map(|timeout| timeout.unwrap_or(DEFAULT_TIMEOUT));
        let proxy = self.proxies.intercept(request.uri());
        let proxy = proxy.filter(|_| !origin.is_this_machine());
        let stream = timeout(connect, self.connect(origin, proxy.as_ref())).await;
        let stream = stream.map_err(|_| Error::ConnectionTimeout)??;

        match proxy.filter(|_| !origin.https) {
            // A proxy for plain HTTP takes the whole address; a server only the path.
            Some(proxy) => authenticate(&mut request, &proxy),
            None => {
                let path = request.uri().path_and_query().cloned();
                *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
            }
        }
        let failed = |error: hyper::Error| origin.http_error(&error);
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(failed)?;
        let of = origin.clone();
        let connection =
            spawn(async move { connection.await.map_err(|error| of.http_error(&error)) });
        let response = timeout(first_byte, sender.send_request(request)).await;
        let response = response.map_err(|_| Error::ConnectionReadTimeout)?;
        let response = response.map_err(failed)?;
        let of = origin.clone();
        Ok((
            response.map(|body| bounded(body, between_bytes, of)),
            connection,
        ))
    }

    /// A stream to the origin, through the proxy if there is one.
    async fn connect(
        &self,
        origin: &Origin,
        proxy: Option<&Intercept>,
    ) -> Result<Box<dyn Stream>, Error> {
        let Some(proxy) = proxy else {
            let stream = tcp(origin).await?;
            return self.secure(origin, stream).await;
        };
        let Some(via) = Origin::of(proxy.uri()) else {
            let uri = proxy.uri();
            return Err(told(format!(
                "the proxy {uri} is not supported: write http://host:port"
            )));
        };
        let (at, of) = (origin.address(), via.address());
        let stream = tcp(&via).await;
        let stream =
            stream.map_err(|error| told(format!("cannot connect to the proxy {of}: {error}")))?;
        let stream = self.secure(&via, stream).await?;
        if !origin.https {
            return Ok(stream);
        }
        let stream = tunnel(stream, &at, proxy)
            .await
            .map_err(|error| told(format!("the proxy {of} does not connect to {at}: {error}")))?;
        self.secure(origin, stream).await
    }

    /// The stream with TLS, if the origin has that.
    async fn secure(
        &self,
        origin: &Origin,
        stream: impl Stream + 'static,
    ) -> Result<Box<dyn Stream>, Error> {
        if !origin.https {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(origin.name().to_owned());
        let name = name.map_err(|_| Error::HttpRequestUriInvalid)?;
        let stream = self.tls.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| origin.tls_error(&error))?))
    }
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> anyhow::Result<()> {
    let certificates = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(!certificates.is_empty(), "no certificate in it");
    for certificate in certificates {
        roots.add(certificate)?;
    }
    Ok(())
}

async fn tcp(origin: &Origin) -> Result<TcpStream, Error> {
    let at = origin.address();
    let addresses = lookup_host(&at).await;
    let addresses: Vec<SocketAddr> = addresses
        .map_err(|error| Error::DnsError {
            rcode: Some(error.to_string()),
            info_code: None,
        })?
        .collect();
    let stream = TcpStream::connect(addresses.as_slice()).await;
    let stream = stream.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        ErrorKind::HostUnreachable => Error::DestinationUnavailable,
        ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        _ => told(format!("cannot connect to {at}: {error}")),
    })?;
    // A request is written as a whole; waiting for more to write only delays it.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A stream to the address `at` through the proxy that `stream` leads to.
async fn tunnel(
    stream: Box<dyn Stream>,
    at: &str,
    proxy: &Intercept,
) -> anyhow::Result<impl Stream + 'static> {
    let request = Request::connect(at).header(HOST, at);
    let mut request = request.body(Empty::<Bytes>::new())?;
    authenticate(&mut request, proxy);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the stream has been taken out of it.
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await?;
    let status = response.status();
    ensure!(status.is_success(), "it answered {status}");
    Ok(TokioIo::new(hyper::upgrade::on(response).await?))
}

fn authenticate<T>(request: &mut Request<T>, proxy: &Intercept) {
    if let Some(value) = proxy.basic_auth() {
        let headers = request.headers_mut();
        headers.insert(PROXY_AUTHORIZATION, value.clone());
    }
}

/// The body of an answer of `origin`, with a bound on the time between two pieces.
fn bounded(body: Incoming, between: Duration, origin: Origin) -> WasiBody {
    let frames = unfold((body, origin), move |(mut body, origin)| async move {
        let frame = match timeout(between, body.frame()).await {
            Ok(frame) => frame?.map_err(|error| origin.http_error(&error)),
            Err(_) => Err(Error::ConnectionReadTimeout),
        };
        Some((frame, (body, origin)))
    });
    StreamBody::new(frames).boxed_unsync()
}
