//! The test types.

use std::fmt;

use serde::Serialize;

/// A type, as code and config files name it.
macro_rules! test_types {
    ($($variant:ident $name:literal $id:literal,)*) => {
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

            /// The vendor's number, from its OpenAPI document, but for `custom`: it has no such type
            /// any more.
            pub const fn id(self) -> u64 {
                match self {
                    $(Self::$variant => $id,)*
                }
            }
        }
    };
}

test_types! {
    Web "web" 0, Transaction "transaction" 27, Api "api" 9, Ping "ping" 6, Traceroute "traceroute" 12,
    Dns "dns" 5, Websocket "websocket" 13, Smtp "smtp" 7, Transport "transport" 4, Ftp "ftp" 3,
    Custom "custom" 17, Ntp "ntp" 14, Imap "imap" 15, Ssl "ssl" 18, Html "html" 2,
    Streaming "streaming" 10,
}

impl fmt::Display for TestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
