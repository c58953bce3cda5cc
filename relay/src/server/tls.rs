//! TLS 1.2 and 1.3 for senders, with certificates of their own if the settings ask for them.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
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

/// The server's side of TLS. Each of its files is read again when it changes.
pub struct Tls {
    identity: Watched<CertifiedKey>,
    clients: Option<Watched<Arc<dyn ClientCertVerifier>>>,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or certificate and key do not go together.
    pub fn load(files: &TlsFiles) -> Result<Self, FileError> {
        let cert = Named::new("TLS certificate", "tls_cert, --tls-cert", &files.cert);
        let key = Named::new("TLS key", "tls_key, --tls-key", &files.key);
        let named = cert.clone();
        let load = {
            let (cert, key) = (cert.clone(), key.clone());
            move |contents: &[Vec<u8>]| certified_key(&cert, &key, contents)
        };
        let identity = Watched::new(vec![cert, key], load)?;
        let clients = match &files.client_ca {
            None => None,
            Some(path) => {
                let ca = Named::new("TLS client authorities", "tls_client_ca", path);
                let load = {
                    let ca = ca.clone();
                    move |contents: &[Vec<u8>]| verifier(&ca, contents)
                };
                Some(Watched::new(vec![ca], load)?)
            }
        };
        let config = config(&identity, clients.as_ref());
        let config = RwLock::new(config.map_err(|error| named.wrong(error))?);
        Ok(Self {
            identity,
            clients,
            config,
        })
    }

    /// What is in force.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again if they have changed.
    pub fn reload(&self) {
        let identity = self.identity.reload();
        let clients = self.clients.as_ref().is_some_and(Watched::reload);
        if identity || clients {
            // The same versions and ciphers were good at the start.
            if let Ok(config) = config(&self.identity, self.clients.as_ref()) {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
            }
        }
    }
}

fn config(
    identity: &Watched<CertifiedKey>,
    clients: Option<&Watched<Arc<dyn ClientCertVerifier>>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let verifier = clients.map_or_else(WebPkiClientVerifier::no_client_auth, |clients| {
        Arc::clone(&clients.current())
    });
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.current())));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Named, so that another crate's choice of provider cannot decide for us.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certified_key(
    cert: &Named,
    key: &Named,
    contents: &[Vec<u8>],
) -> Result<CertifiedKey, FileError> {
    let [chain, private] = contents else {
        return Err(cert.wrong("a file is missing"));
    };
    let chain = certificates(cert, chain)?;
    let private =
        PrivateKeyDer::from_pem_slice(private).map_err(|error| key.wrong(not_pem(&error)))?;
    CertifiedKey::from_der(chain, private, &provider())
        .and_then(|pair| pair.keys_match().map(|()| pair))
        .map_err(|error| cert.wrong(format!("cannot be used with its key: {error}")))
}

fn verifier(ca: &Named, contents: &[Vec<u8>]) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, &contents.concat())? {
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
        pem::Error::NoItemsFound => "cannot be read as PEM: nothing of this kind is in it",
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
