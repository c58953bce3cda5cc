//! The bearer tokens that let a sender in.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tracing::warn;

use super::watched::{FileError, Named, Watched};

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

impl Tokens {
    /// Reads a file with one token a line, and again when it changes; empty lines and lines that
    /// begin with `#` do not count.
    ///
    /// # Errors
    /// When it cannot be read or holds no token.
    pub fn load(path: &Path) -> Result<Watched<Self>, FileError> {
        let file = Named::new("token file", "token_file, --token-file", path);
        Watched::new(vec![file.clone()], move |contents| {
            let content = contents.concat();
            let text = std::str::from_utf8(&content)
                .map_err(|_| file.wrong("is not text in UTF-8, save it as UTF-8"))?;
            let tokens = Self::parse(text).ok_or_else(|| {
                file.wrong("holds no token, write one a line (`openssl rand -hex 32` makes one)")
            })?;
            if tokens.short > 0 {
                warn!(
                    short = tokens.short,
                    "tokens of less than 16 characters can be guessed"
                );
            }
            Ok(tokens)
        })
    }

    /// Reads the text of such a file; none if there is no token in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
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

    /// Whether the `Authorization` header has one of them, in a time that depends on nothing but
    /// its length.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        authorization(headers, b"Bearer ").is_some_and(|token| self.has(token))
    }

    /// The same for who only reads: a browser has no other way than a password, of any user name. It
    /// also sends one along when a page of another site has it post, so a password lets nobody post.
    #[must_use]
    pub fn allow_reader(&self, headers: &HeaderMap) -> bool {
        let password = || {
            let encoded = authorization(headers, b"Basic ")?;
            let decoded = STANDARD.decode(encoded).ok()?;
            let colon = decoded.iter().position(|byte| *byte == b':')?;
            Some(self.has(decoded.get(colon + 1..)?.trim_ascii()))
        };
        self.allow(headers) || password() == Some(true)
    }

    fn has(&self, token: &[u8]) -> bool {
        let given = digest(token);
        self.digests
            .iter()
            .fold(Choice::from(0), |found, token| found | token.ct_eq(&given))
            .into()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.digests.len())
    }
}

/// What stands behind this scheme in the `Authorization` header; its name is case-insensitive.
fn authorization<'a>(headers: &'a HeaderMap, scheme: &[u8]) -> Option<&'a [u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (name, given) = value.split_at_checked(scheme.len())?;
    name.eq_ignore_ascii_case(scheme)
        .then(|| given.trim_ascii())
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokens: &Tokens, header: &str, expect: bool) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
        assert_eq!(tokens.allow(&headers), expect, "{header}");
        assert!(!expect || tokens.allow_reader(&headers), "{header}");
    }

    #[test]
    fn a_password_lets_read_and_not_post() {
        let tokens = Tokens::parse("first-token-of-two\nsecond:token-of-two").unwrap();
        for (text, expect) in [
            (":first-token-of-two", true),
            ("anybody:second:token-of-two", true),
            ("anybody:first-token-of-tw", false),
            ("first-token-of-two:", false),
            ("first-token-of-two", false),
            ("", false),
        ] {
            let header = format!("basic {}", STANDARD.encode(text));
            let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
            assert_eq!(tokens.allow_reader(&headers), expect, "{text}");
            assert!(!tokens.allow(&headers), "{text}");
        }
        let headers = HeaderMap::from_iter([(AUTHORIZATION, "Basic %%%".parse().unwrap())]);
        assert!(!tokens.allow_reader(&headers));
        assert!(!tokens.allow_reader(&HeaderMap::new()));
    }

    #[test]
    fn any_token_of_the_file_lets_in_and_nothing_else() {
        let text = "# old\nfirst-token-of-two\n\n  second-token-of-two  \r\n";
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!(tokens.short, 0);
        for (header, expect) in [
            ("Bearer first-token-of-two", true),
            ("bearer second-token-of-two", true),
            ("Bearer first-token-of-tw", false),
            ("Bearer first-token-of-twox", false),
            ("Bearer # old", false),
            ("Bearer ", false),
            ("Basic first-token-of-two", false),
            ("first-token-of-two", false),
        ] {
            check(&tokens, header, expect);
        }
        assert!(!tokens.allow(&HeaderMap::new()));
        assert_eq!(format!("{tokens:?}"), "2 tokens");
    }

    #[test]
    fn a_file_without_a_token_is_none() {
        assert_eq!(Tokens::parse("# nothing\n\n"), None);
        assert_eq!(Tokens::parse("short").unwrap().short, 1);
    }

    #[test]
    fn r11_r18_a_byte_order_mark_is_no_part_of_a_token() {
        let tokens = Tokens::parse("\u{feff}first-token-of-two\n").unwrap();
        check(&tokens, "Bearer first-token-of-two", true);
    }
}
