//! TLS 1.2 and 1.3 for senders, with certificates of their own if the settings ask for them.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::watched::{FileError, Named, Watched};

/// The files of the settings, all in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of the senders' certificates; without them no sender needs one.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads the files; again all of them when one changes.
    ///
    /// # Errors
    /// When one cannot be read, or certificate and key do not go together.
    pub fn load(&self) -> Result<Watched<ServerConfig>, FileError> {
        let cert = Named::new("TLS certificate", "tls_cert, --tls-cert", &self.cert);
        let key = Named::new("TLS key", "tls_key, --tls-key", &self.key);
        let ca = self.client_ca.as_deref();
        let ca = ca.map(|path| Named::new("TLS client authorities", "tls_client_ca", path));
        let files = [&cert, &key].into_iter().chain(&ca).cloned().collect();
        Watched::new(files, move |contents| {
            let mut contents = contents.iter().map(Vec::as_slice);
            let mut next = || contents.next().unwrap_or_default();
            let chain = certificates(&cert, next())?;
            let private = PrivateKeyDer::from_pem_slice(next());
            let private = private.map_err(|error| key.wrong(not_pem(&error)))?;
            let verifier = match &ca {
                None => WebPkiClientVerifier::no_client_auth(),
                Some(ca) => verifier(ca, next())?,
            };
            let config = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .and_then(|config| {
                    let config = config.with_client_cert_verifier(verifier);
                    config.with_single_cert(chain, private)
                });
            let mut config = config
                .map_err(|error| cert.wrong(format!("cannot be used with its key: {error}")))?;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(config)
        })
    }
}

/// Named, so that another crate's choice of provider cannot decide for us.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn verifier(ca: &Named, content: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, content)? {
        roots.add(certificate).map_err(|error| ca.wrong(error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
        .map_err(|error| ca.wrong(error))
}

fn certificates(file: &Named, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(file.wrong(not_pem(&pem::Error::NoItemsFound))),
        Err(error) => Err(file.wrong(not_pem(&error))),
    }
}

/// Without the error's own text, which shows what is in the file: a whole key that stands in one line.
fn not_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => "is not in this file, or not in PEM",
        _ => {
            "cannot be read as PEM: its BEGIN and END must each have a line of their own, with base64 between them"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_one_line_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let key = "MC4CAQAwBQYDK2VwBCIEIB";
        for text in [
            format!("-----BEGIN PRIVATE KEY----- {key} -----END PRIVATE KEY-----"),
            format!("-----BEGIN PRIVATE KEY----- {key}"),
            format!("-----BEGIN PRIVATE KEY-----\n{key}%\n-----END PRIVATE KEY-----"),
        ] {
            let file = Named::new("TLS key", "tls_key", &path);
            let contents = [Vec::new(), text.clone().into_bytes()];
            let error = PrivateKeyDer::from_pem_slice(&contents[1]).unwrap_err();
            let message = file.wrong(not_pem(&error)).to_string();
            // The crate shows bytes in decimal.
            assert!(
                !message.contains(key) && !message.contains("77, 67"),
                "{message}"
            );
            assert!(message.contains("PEM"), "{message}");
        }
    }
}
