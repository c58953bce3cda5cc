//! The test types.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The test types, as the original script's config names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "the names say it all, and Catchpoint's manual the rest"
)]
pub enum TestType {
    Web,
    Transaction,
    Api,
    Ping,
    Traceroute,
    Dns,
    Websocket,
    Smtp,
    Transport,
    Ftp,
    Custom,
    Ntp,
    Imap,
    Ssl,
    Html,
    Streaming,
}

impl TestType {
    /// All of them, in the order of the original's config.
    pub const ALL: [Self; 16] = [
        Self::Web,
        Self::Transaction,
        Self::Api,
        Self::Ping,
        Self::Traceroute,
        Self::Dns,
        Self::Websocket,
        Self::Smtp,
        Self::Transport,
        Self::Ftp,
        Self::Custom,
        Self::Ntp,
        Self::Imap,
        Self::Ssl,
        Self::Html,
        Self::Streaming,
    ];

    /// The name in config files and reports: `web`, `websocket`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Transaction => "transaction",
            Self::Api => "api",
            Self::Ping => "ping",
            Self::Traceroute => "traceroute",
            Self::Dns => "dns",
            Self::Websocket => "websocket",
            Self::Smtp => "smtp",
            Self::Transport => "transport",
            Self::Ftp => "ftp",
            Self::Custom => "custom",
            Self::Ntp => "ntp",
            Self::Imap => "imap",
            Self::Ssl => "ssl",
            Self::Html => "html",
            Self::Streaming => "streaming",
        }
    }
}

impl fmt::Display for TestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
