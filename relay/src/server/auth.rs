//! The bearer tokens that let a sender in.

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
pub struct Tokens {
    /// Of one length, so that they are compared in the same time.
    digests: Vec<[u8; 32]>,
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
            Self::parse(text).ok_or_else(|| {
                file.wrong("holds no token, write one a line (`openssl rand -hex 32` makes one)")
            })
        })
    }

    /// Reads the text of such a file; none if there is no token in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().map(str::trim);
        let tokens = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let short = tokens.clone().filter(|token| token.len() < SHORT).count();
        if short > 0 {
            warn!(
                short,
                "tokens of less than {SHORT} characters can be guessed, `openssl rand -hex 32` makes long ones"
            );
        }
        let digests: Vec<_> = tokens.map(|token| digest(token.as_bytes())).collect();
        (!digests.is_empty()).then_some(Self { digests })
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
            let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
            let (_, password) = decoded.split_once(':')?;
            Some(self.has(password.trim().as_bytes()))
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

    /// Whether this header lets post, and whether it lets read.
    fn check(tokens: &Tokens, header: &str, posts: bool, reads: bool) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
        let allowed = (tokens.allow(&headers), tokens.allow_reader(&headers));
        assert_eq!(allowed, (posts, reads), "{header}");
    }

    #[test]
    fn r11_r18_any_token_of_the_file_lets_in_and_nothing_else() {
        // With a byte order mark, which is no part of a token.
        let text = "\u{feff}first-token-of-two\n# old\n\n  second:token-of-two  \r\n";
        let tokens = Tokens::parse(text).unwrap();
        for (header, lets_in) in [
            ("Bearer first-token-of-two", true),
            ("bearer second:token-of-two", true),
            ("Bearer first-token-of-tw", false),
            ("Bearer first-token-of-twox", false),
            ("Bearer # old", false),
            ("Bearer ", false),
            ("Basic first-token-of-two", false),
            ("Basic %%%", false),
            ("first-token-of-two", false),
        ] {
            check(&tokens, header, lets_in, lets_in);
        }
        // A password lets read only.
        for (password, lets_read) in [
            (":first-token-of-two", true),
            ("anybody:second:token-of-two", true),
            ("anybody:first-token-of-tw", false),
            ("first-token-of-two:", false),
            ("first-token-of-two", false),
            ("", false),
        ] {
            let header = format!("basic {}", STANDARD.encode(password));
            check(&tokens, &header, false, lets_read);
        }
        assert!(!tokens.allow_reader(&HeaderMap::new()));
        assert!(Tokens::parse("# nothing\n\n").is_none());
    }
}
