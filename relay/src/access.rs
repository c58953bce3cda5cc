//! Who may post, and the TLS that keeps it secret: both read from files, and read again on SIGHUP.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem;
use tracing::{info, warn};

use crate::config::Settings;
use crate::tls::{self, TlsError};
use crate::tokens::{TokenError, Tokens};

/// What was read from the files.
#[derive(Clone, Default)]
pub struct Access {
    /// Without tokens everybody may post.
    pub tokens: Option<Arc<Tokens>>,
    /// Without TLS the inlet speaks plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The token file.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl AccessError {
    /// Whether another start may do better with the same files: one could not be read, as when it
    /// is not mounted yet.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Token(TokenError::Read { .. })
                | Self::Tls(
                    TlsError::Certificate {
                        source: pem::Error::Io(_),
                        ..
                    } | TlsError::Key {
                        source: pem::Error::Io(_),
                        ..
                    }
                )
        )
    }
}

impl Access {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn load(settings: &Settings) -> Result<Self, AccessError> {
        let tokens = settings
            .token_file
            .as_deref()
            .map(Tokens::load)
            .transpose()?;
        let tls = settings
            .tls
            .as_ref()
            .map(|files| tls::load(&files.cert, &files.key))
            .transpose()?;
        if let Some(tokens) = tokens.as_ref().filter(|tokens| tokens.short() > 0) {
            warn!(
                short = tokens.short(),
                "tokens of less than 16 characters can be guessed"
            );
        }
        Ok(Self {
            tokens: tokens.map(Arc::new),
            tls,
        })
    }
}

/// The access in force.
pub struct Gate(RwLock<Access>);

impl Gate {
    /// With this access.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self(RwLock::new(access))
    }

    /// What is in force now.
    #[must_use]
    pub fn access(&self) -> Access {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads the files again. When one of them cannot be used, all stays as it is.
    pub fn reload(&self, settings: &Settings) {
        match Access::load(settings) {
            Ok(access) => {
                let tokens = access.tokens.as_ref().map_or(0, |tokens| tokens.count());
                *self.0.write().unwrap_or_else(PoisonError::into_inner) = access;
                info!(tokens, "tokens and certificate were read again");
            }
            Err(error) => {
                warn!(%error, "tokens and certificate stay as they were");
            }
        }
    }
}
