//! API v1's bearer token: fetched once, kept across runs until a minute before it expires.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::body::{BodyError, excerpt, read_short};
use super::failure::CallError;
use super::value::{Text, Whole};
use crate::config::catchpoint_file::{CatchpointFile, TokenEncoding};

/// Renewed this long before it expires.
const EARLY: TimeDelta = TimeDelta::seconds(60);

/// How long a token lives when the answer does not say; the shortest life that was seen.
const DEFAULT_LIFE: u32 = 900;

/// A token as it is stored. It has no `Debug`, because it opens the API.
#[derive(Clone, Serialize, Deserialize)]
pub struct Token {
    access_token: String,
    expires: DateTime<Utc>,
    /// Where it came from: a token of another Catchpoint is of no use.
    url: String,
}

impl Token {
    /// Whether it can still be used against the Catchpoint of these settings.
    pub fn is_good(&self, settings: &CatchpointFile, now: DateTime<Utc>) -> bool {
        now < self.expires && self.url == settings.token_url()
    }

    /// The value of the `Authorization` header.
    pub fn bearer(&self, encoding: TokenEncoding) -> String {
        match encoding {
            TokenEncoding::Base64 => format!("Bearer {}", STANDARD.encode(&self.access_token)),
            TokenEncoding::Plain => format!("Bearer {}", self.access_token),
        }
    }

    /// Reads the answer of the token call, which was asked for at `now`.
    ///
    /// # Errors
    /// That it holds no token; the text of the answer is not quoted, since it may hold one.
    pub fn read(
        body: impl Read,
        settings: &CatchpointFile,
        now: DateTime<Utc>,
    ) -> Result<Self, CallError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            access_token: Text,
            #[serde(default)]
            expires_in: Whole,
            #[serde(default)]
            error: Text,
            #[serde(default, alias = "Message")]
            message: Text,
        }
        let answer: Answer = serde_json::from_slice(&read_short(body)?).map_err(|_| {
            BodyError::Shape(
                "the token call was answered with something else than a JSON object".to_owned(),
            )
        })?;
        let life = answer.expires_in.0.map(u32::try_from);
        let life = life.and_then(Result::ok).unwrap_or(DEFAULT_LIFE);
        match answer
            .access_token
            .0
            .filter(|token| !token.trim().is_empty())
        {
            Some(access_token) => Ok(Self {
                access_token,
                expires: now + TimeDelta::seconds(life.into()) - EARLY,
                url: settings.token_url(),
            }),
            None => {
                let said = answer.error.0.or(answer.message.0).unwrap_or_default();
                Err(CallError::Credentials(excerpt(&said)))
            }
        }
    }
}

/// The form of the token call, or none if the credentials are not set.
pub fn form(settings: &CatchpointFile) -> Option<String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("client_id", settings.client_id.as_ref()?.reveal());
    form.append_pair("client_secret", settings.client_secret.as_ref()?.reveal());
    Some(form.finish())
}

/// Whether Catchpoint's words are about the token: "Expired token", "Invalid token", in any case.
pub fn is_complaint(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("expired token")
        || text.contains("invalid token")
        || text.contains("token expired")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::Document;

    /// How many seconds a token is used, of an answer with this `expires_in`.
    fn used_for(expires_in: &str) -> i64 {
        let settings = CatchpointFile::read(Document::new("f", "").top());
        let now = DateTime::UNIX_EPOCH;
        let body = format!(r#"{{"access_token":"a","expires_in":{expires_in},"error":null}}"#);
        let token = Token::read(body.as_bytes(), &settings, now).ok().unwrap();
        (token.expires - now).num_seconds()
    }

    #[test]
    fn a_life_in_whatever_form_is_obeyed() {
        for (expires_in, seconds) in [
            ("1800", 1740),
            ("\"1800\"", 1740),
            ("1800.0", 1740),
            ("null", 840),
            ("-1", 840),
            ("1e300", 840),
            ("{}", 840),
        ] {
            assert_eq!(used_for(expires_in), seconds, "{expires_in}");
        }
    }
}
