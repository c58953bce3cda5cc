//! The bearer tokens that let a sender in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// A token shorter than this can be guessed.
const SHORT: usize = 16;

/// The tokens in force. Any of them lets in, so that a new one can be added before the old one is
/// taken away.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Digests only: they are of one length, and tell nothing when printed by mistake.
    digests: Vec<[u8; 32]>,
    short: usize,
}

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("the token file {} (--token-file) cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no token in it.
    #[error(
        "the token file {} (--token-file) holds no token, write one a line (`openssl rand -hex 32` makes one)",
        .0.display()
    )]
    Empty(PathBuf),
}

impl Tokens {
    /// Reads a file with one token a line; empty lines and lines that begin with `#` do not count.
    ///
    /// # Errors
    /// When it cannot be read or holds no token.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path).map_err(|source| TokenError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).ok_or_else(|| TokenError::Empty(path.to_owned()))
    }

    /// Reads the text of such a file; none if there is no token in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let tokens = || {
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
        };
        let digests: Vec<_> = tokens().map(|token| digest(token.as_bytes())).collect();
        (!digests.is_empty()).then(|| Self {
            digests,
            short: tokens().filter(|token| token.len() < SHORT).count(),
        })
    }

    /// Whether this is one of them, in a time that depends on nothing but its length.
    #[must_use]
    pub fn allow(&self, given: &[u8]) -> bool {
        let given = digest(given);
        self.digests
            .iter()
            .fold(Choice::from(0), |found, token| found | token.ct_eq(&given))
            .into()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.digests.len()
    }

    /// How many are so short that they can be guessed.
    #[must_use]
    pub fn short(&self) -> usize {
        self.short
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.digests.len())
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_token_of_the_file_lets_in_and_nothing_else() {
        let tokens =
            Tokens::parse("# old\nfirst-token-of-two\n\n  second-token-of-two  \r\n").unwrap();
        assert_eq!((tokens.count(), tokens.short()), (2, 0));
        for (given, expect) in [
            ("first-token-of-two", true),
            ("second-token-of-two", true),
            ("first-token-of-tw", false),
            ("first-token-of-two ", false),
            ("# old", false),
            ("", false),
        ] {
            assert_eq!(tokens.allow(given.as_bytes()), expect, "{given}");
        }
        assert_eq!(format!("{tokens:?}"), "2 tokens");
    }

    #[test]
    fn a_file_without_a_token_is_none() {
        assert_eq!(Tokens::parse("# nothing\n\n"), None);
        assert_eq!(Tokens::parse("short").unwrap().short(), 1);
    }
}
