//! Outgoing HTTP over `wasi:http`, blocking, but for posts: the next batch is made while one is under way.

use std::io::{self, Read};

use wasi::http::outgoing_handler;
use wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
    OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasi::io::streams::{InputStream, StreamError};

use super::{Request, Response, SendError, Started};

/// How we name ourselves; some proxies refuse requests without it.
const USER_AGENT: &str = concat!("catchpoint-graphite/", env!("CARGO_PKG_VERSION"));

/// Sends a request; the result waits for the head of the answer.
pub fn start<'h>(request: &Request<'_>) -> Started<'h> {
    let origin = origin(request.url).to_owned();
    match write(request) {
        Err(error) => Box::new(move || Err(error)),
        Ok((answer, written)) => Box::new(move || read(&answer, written, &origin)),
    }
}

/// Hands a request to the host, with its body. An answer can come before the whole body is sent
/// (401, 413): then writing fails, and the answer still counts.
fn write(
    request: &Request<'_>,
) -> Result<(FutureIncomingResponse, Result<(), SendError>), SendError> {
    let (outgoing, options) = build(request)?;
    let body = outgoing.body().map_err(|()| internal("body taken twice"))?;
    let failed = |code: ErrorCode| from_code(&code, origin(request.url));
    let answer = outgoing_handler::handle(outgoing, Some(options)).map_err(failed)?;
    let written = write_body(&body, request.body.unwrap_or_default())
        .and_then(|()| OutgoingBody::finish(body, None).map_err(failed));
    Ok((answer, written))
}

/// Waits for the head of an answer.
fn read(
    answer: &FutureIncomingResponse,
    written: Result<(), SendError>,
    origin: &str,
) -> Result<Response<'static>, SendError> {
    answer.subscribe().block();
    let answer = match answer.get() {
        Some(Ok(Ok(answer))) => answer,
        Some(Ok(Err(code))) => return Err(from_code(&code, origin)),
        Some(Err(())) | None => return Err(written.err().unwrap_or_else(|| internal("no answer"))),
    };
    let headers = answer.headers().entries().into_iter();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Ok(Response {
        status: answer.status(),
        headers: headers.map(|(name, value)| (name, text(&value))).collect(),
        body: Box::new(Body::new(answer)?),
    })
}

fn build(request: &Request<'_>) -> Result<(OutgoingRequest, RequestOptions), SendError> {
    let (scheme, rest) = match request.url.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        _ => return Err(internal("not an HTTP address")),
    };
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let headers = Fields::new();
    let set = |name: &str, value: &[u8]| {
        headers
            .append(&name.to_owned(), &value.to_vec())
            .map_err(|error| internal(&format!("header {name}: {error:?}")))
    };
    let mut given = request.headers.iter().map(|(name, _)| *name);
    if !given.any(|name| name == "user-agent") {
        set("user-agent", USER_AGENT.as_bytes())?;
    }
    for (name, value) in request.headers {
        set(name, value.as_bytes())?;
    }
    if let Some(body) = request.body {
        set("content-length", body.len().to_string().as_bytes())?;
    }
    let outgoing = OutgoingRequest::new(headers);
    let method = if request.body.is_some() {
        Method::Post
    } else {
        Method::Get
    };
    let timeout = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
    let options = RequestOptions::new();
    let set = outgoing
        .set_method(&method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(path)));
    set.map_err(|()| internal("not a valid address"))?;
    // A host that cannot bound a wait refuses the option; its own bounds hold then.
    let _ = options.set_connect_timeout(Some(timeout));
    let _ = options.set_first_byte_timeout(Some(timeout));
    let _ = options.set_between_bytes_timeout(Some(timeout));
    Ok((outgoing, options))
}

/// Writes as much at once as the host takes. The stream must be gone before its body is finished.
pub fn write_body(body: &OutgoingBody, bytes: &[u8]) -> Result<(), SendError> {
    let stream = body.write().map_err(|()| internal("body written twice"))?;
    let failed =
        |error| SendError::Unreachable(format!("the connection broke while sending: {error:?}"));
    let mut rest = bytes;
    while !rest.is_empty() {
        let permitted = stream.check_write().map_err(failed)?;
        let len = usize::try_from(permitted)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        let Some((now, later)) = rest.split_at_checked(len).filter(|_| len > 0) else {
            stream.subscribe().block();
            continue;
        };
        stream.write(now).map_err(failed)?;
        rest = later;
    }
    stream.blocking_flush().map_err(failed)
}

/// The body of an answer. The fields are dropped in this order: the stream before what it is of.
struct Body {
    stream: InputStream,
    _body: IncomingBody,
    _answer: IncomingResponse,
}

impl Body {
    fn new(answer: IncomingResponse) -> Result<Self, SendError> {
        let body = answer
            .consume()
            .map_err(|()| internal("answer read twice"))?;
        let stream = body.stream().map_err(|()| internal("answer read twice"))?;
        Ok(Self {
            stream,
            _body: body,
            _answer: answer,
        })
    }
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match self.stream.blocking_read(into.len() as u64) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    let len = bytes.len().min(into.len());
                    if let (Some(into), Some(bytes)) = (into.get_mut(..len), bytes.get(..len)) {
                        into.copy_from_slice(bytes);
                    }
                    return Ok(len);
                }
                Err(StreamError::Closed) => return Ok(0),
                Err(StreamError::LastOperationFailed(error)) => {
                    let text = error.to_debug_string();
                    let kind = if text.to_ascii_lowercase().contains("timeout") {
                        io::ErrorKind::TimedOut
                    } else {
                        io::ErrorKind::ConnectionReset
                    };
                    return Err(io::Error::new(kind, text));
                }
            }
        }
    }
}

/// `https://host:port` of an address.
fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url
        .get(after_scheme..)
        .and_then(|rest| rest.find(['/', '?']));
    let end = path.map_or(url.len(), |at| after_scheme + at);
    url.get(..end).unwrap_or(url)
}

/// The host's error in plain words.
fn from_code(code: &ErrorCode, origin: &str) -> SendError {
    let words = match code {
        ErrorCode::HttpRequestDenied => return SendError::Denied,
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout
        | ErrorCode::DnsTimeout => return SendError::TimedOut,
        ErrorCode::ConnectionRefused => format!("{origin} refuses the connection"),
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
            format!("{origin} closed the connection before it answered")
        }
        ErrorCode::ConnectionLimitReached => {
            format!("the host allows no more connections, to {origin} or at all")
        }
        ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => {
            format!("the host name of {origin} is not known; check its spelling and the DNS")
        }
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => {
            format!("there is no network route to {origin}")
        }
        ErrorCode::DestinationIpProhibited => {
            format!("the host forbids calls to the network address of {origin}")
        }
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => format!(
            "the TLS handshake with {origin} failed: the certificate is not trusted, or this is not an https port; if the certificate is of an authority of your own, name that authority, with Spin in [[client_tls]] of its runtime configuration"
        ),
        ErrorCode::TlsCertificateError => format!(
            "the certificate of {origin} is not trusted, has expired, or is for another name; if it is of an authority of your own, name that authority, with Spin in [[client_tls]] of its runtime configuration"
        ),
        ErrorCode::HttpProtocolError if origin.starts_with("http:") => {
            format!("{origin} does not answer in HTTP; it may be an https port")
        }
        ErrorCode::HttpProtocolError => format!("{origin} does not answer in HTTP"),
        ErrorCode::InternalError(Some(text)) => format!("{origin}: {text}"),
        other => format!("{origin}: {other:?}"),
    };
    SendError::Unreachable(words)
}

/// What cannot happen with a sound host; said rather than trapped on.
fn internal(what: &str) -> SendError {
    SendError::Unreachable(format!("request cannot be made: {what}"))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use wasi::http::types::DnsErrorPayload;

    use super::*;

    /// The words for some errors, one a line.
    fn words(url: &str, codes: &[ErrorCode]) -> String {
        let words = codes
            .iter()
            .map(|code| from_code(code, origin(url)).to_string());
        words.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn c16_the_hosts_errors_are_said_in_plain_words() {
        let dns = DnsErrorPayload {
            rcode: None,
            info_code: None,
        };
        let codes = [
            ErrorCode::HttpRequestDenied,
            ErrorCode::DnsTimeout,
            ErrorCode::HttpResponseTimeout,
            ErrorCode::ConnectionRefused,
            ErrorCode::ConnectionTerminated,
            ErrorCode::ConnectionLimitReached,
            ErrorCode::DnsError(dns),
            ErrorCode::DestinationUnavailable,
            ErrorCode::DestinationIpProhibited,
            ErrorCode::TlsProtocolError,
            ErrorCode::TlsCertificateError,
            ErrorCode::HttpProtocolError,
            ErrorCode::InternalError(Some("no permit".to_owned())),
            ErrorCode::LoopDetected,
        ];
        assert_snapshot!(words("https://relay.example:2080/v1/lines", &codes), @"
        the host does not allow calls to this address
        no answer in time
        no answer in time
        https://relay.example:2080 refuses the connection
        https://relay.example:2080 closed the connection before it answered
        the host allows no more connections, to https://relay.example:2080 or at all
        the host name of https://relay.example:2080 is not known; check its spelling and the DNS
        there is no network route to https://relay.example:2080
        the host forbids calls to the network address of https://relay.example:2080
        the TLS handshake with https://relay.example:2080 failed: the certificate is not trusted, or this is not an https port; if the certificate is of an authority of your own, name that authority, with Spin in [[client_tls]] of its runtime configuration
        the certificate of https://relay.example:2080 is not trusted, has expired, or is for another name; if it is of an authority of your own, name that authority, with Spin in [[client_tls]] of its runtime configuration
        https://relay.example:2080 does not answer in HTTP
        https://relay.example:2080: no permit
        https://relay.example:2080: ErrorCode::LoopDetected
        ");
        let http = words("http://relay.example", &[ErrorCode::HttpProtocolError]);
        assert_snapshot!(http, @"http://relay.example does not answer in HTTP; it may be an https port");
    }

    #[test]
    fn an_origin_is_all_before_the_path() {
        for (url, expect) in [
            ("https://a.example/b?c", "https://a.example"),
            ("http://a.example:80?c", "http://a.example:80"),
            ("https://a.example", "https://a.example"),
            ("a.example/b", "a.example"),
            ("", ""),
        ] {
            assert_eq!(origin(url), expect);
        }
    }
}
