//! What tells that carbon may have restarted.

use std::fmt;
use std::io;

/// A sign that carbon may have lost from its memory what it had confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It was gone: nobody listens at its address.
    Gone,
    /// There is no connection to be had, for whatever reason.
    Unreachable,
    /// It has closed an idle connection, and takes new ones.
    ClosedIdle,
}

impl Sign {
    /// Of a connection that could not be made.
    pub fn of(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            Self::Gone
        } else {
            Self::Unreachable
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "carbon has restarted",
            Self::Unreachable => "carbon may have restarted, for it cannot be reached",
            Self::ClosedIdle => "carbon may have restarted, for it has closed an idle connection",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_connection_shows_that_carbon_is_gone() {
        let refused = io::ErrorKind::ConnectionRefused.into();
        assert_eq!(Sign::of(&refused), Sign::Gone);
        // A name that does not resolve, a way that is closed, no descriptor left.
        for error in [
            io::Error::other("failed to lookup address information"),
            io::ErrorKind::TimedOut.into(),
            io::ErrorKind::HostUnreachable.into(),
            io::Error::from_raw_os_error(libc::EMFILE),
        ] {
            assert_eq!(Sign::of(&error), Sign::Unreachable, "{error}");
        }
    }
}
