//! Whom a connection is for, and what is said when it fails.

use http::Uri;
use http::uri::Scheme;
use rustls::{AlertDescription, CertificateError};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use wasmtime_wasi_http::Error;

/// Whom a connection is for.
#[derive(Clone)]
pub(crate) struct Target {
    pub https: bool,
    /// IPv6 addresses in brackets.
    pub host: String,
    pub port: u16,
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
    pub fn of(uri: &Uri) -> Result<Self, Error> {
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

    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub fn is_this_machine(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        match address.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    pub fn tls_error(&self, error: &io::Error) -> Error {
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

    pub fn http_error(&self, error: &hyper::Error) -> Error {
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
pub(crate) fn told(words: String) -> Error {
    Error::InternalError(Some(words))
}
