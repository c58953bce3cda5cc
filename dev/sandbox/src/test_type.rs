//! The test types.

use std::fmt;

use serde::Serialize;

/// A type, as code and config files name it.
macro_rules! test_types {
    ($($variant:ident $name:literal,)*) => {
        /// The test types, as the original script's config names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "lowercase")]
        #[expect(
            missing_docs,
            reason = "the names say it all, and Catchpoint's manual the rest"
        )]
        pub enum TestType {
            $($variant,)*
        }

        impl TestType {
            /// All of them, in the order of the original's config.
            pub const ALL: [Self; 16] = [$(Self::$variant),*];

            /// The name in config files and reports: `web`, `websocket`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

test_types! {
    Web "web", Transaction "transaction", Api "api", Ping "ping", Traceroute "traceroute", Dns "dns",
    Websocket "websocket", Smtp "smtp", Transport "transport", Ftp "ftp", Custom "custom", Ntp "ntp",
    Imap "imap", Ssl "ssl", Html "html", Streaming "streaming",
}

impl fmt::Display for TestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
