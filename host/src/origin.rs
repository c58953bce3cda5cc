//! Scheme, host and port of an address, and what is said when a connection to it fails.

use http::Uri;
use rustls::CertificateError::UnknownIssuer;
use rustls::Error as TlsError;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use wasmtime_wasi_http::Error;

/// Whom a connection is for. It is all that a message may show of an address: a path can hold a
/// secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub https: bool,
    /// In lower case; IPv6 addresses in brackets.
    pub host: String,
    pub port: u16,
}

impl Origin {
    /// None if `uri` is no absolute address with `http` or `https`.
    pub fn of(uri: &Uri) -> Option<Self> {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Self {
            https,
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(default_port(https)),
        })
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The host as certificates name it: IPv6 addresses without brackets.
    pub fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub fn is_this_machine(&self) -> bool {
        match self.name().parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }

    pub fn tls_error(&self, error: &io::Error) -> Error {
        let of = self.address();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        told(match inner {
            Some(TlsError::InvalidCertificate(UnknownIssuer)) => format!(
                "the certificate of {of} is from an authority that is not trusted here: pass the \
                 authority's certificate with --ca-file"
            ),
            Some(TlsError::InvalidCertificate(reason))
                if format!("{reason:?}").contains("CaUsedAsEndEntity") =>
            {
                format!(
                    "the certificate of {of} is made for an authority, not for a server: make one \
                     with basicConstraints=CA:FALSE"
                )
            }
            // Another name, a time that is over or has not come: the reason says it in words.
            Some(TlsError::InvalidCertificate(reason)) => {
                format!("the certificate of {of} is not accepted: {reason}")
            }
            Some(TlsError::InvalidMessage(_)) => {
                format!("{of} does not speak TLS on this port: use http:// or its port for https")
            }
            None if error.kind() == ErrorKind::UnexpectedEof => format!(
                "{of} closed the connection instead of speaking TLS: use http:// or its port for https"
            ),
            _ => format!("no TLS connection to {of}: {error}"),
        })
    }

    pub fn http_error(&self, error: &hyper::Error) -> Error {
        let of = self.address();
        told(if error.is_parse() && !self.https {
            format!("{of} does not answer with plain HTTP: use https:// if it has TLS")
        } else if error.is_incomplete_message() {
            format!("{of} closed the connection before the end of its answer")
        } else {
            let source = std::error::Error::source(error);
            let source = source.map(|source| format!(": {source}"));
            format!("{of}: {error}{}", source.unwrap_or_default())
        })
    }
}

/// `scheme://host`, and the port if it is not the usual one.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        match self.port {
            port if port == default_port(self.https) => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// An error for which wasi:http has no code.
pub(crate) fn told(words: String) -> Error {
    Error::InternalError(Some(words))
}
