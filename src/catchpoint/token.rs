//! API v1's bearer token: fetched once, kept across runs until a minute before it expires.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::message;
use super::body::{BodyError, parse, read_short};
use super::error::CallError;
use super::value::Whole;
use crate::config::catchpoint::{CatchpointSettings, TokenEncoding};

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
    pub fn is_good(&self, settings: &CatchpointSettings, now: DateTime<Utc>) -> bool {
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
        settings: &CatchpointSettings,
        now: DateTime<Utc>,
    ) -> Result<Self, CallError> {
        let answer: Value = parse(&read_short(body)?).unwrap_or_default();
        if !answer.is_object() {
            let what = "the token call was answered with something else than a JSON object";
            return Err(BodyError::Shape(what.to_owned()).into());
        }
        let token = answer.get("access_token").and_then(Value::as_str);
        let Some(token) = token.filter(|token| !token.trim().is_empty()) else {
            return Err(CallError::Credentials(message(&answer).unwrap_or_default()));
        };
        let life = answer.get("expires_in").cloned().map(Whole::from);
        let life = life.and_then(|life| u32::try_from(life.0?).ok());
        let life = TimeDelta::seconds(life.unwrap_or(DEFAULT_LIFE).into());
        Ok(Self {
            access_token: token.to_owned(),
            expires: now + life - EARLY,
            url: settings.token_url(),
        })
    }
}

/// The form of the token call, or none if the credentials are not set.
pub fn form(settings: &CatchpointSettings) -> Option<String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("client_id", settings.client_id.as_ref()?.reveal());
    form.append_pair("client_secret", settings.client_secret.as_ref()?.reveal());
    Some(form.finish())
}

/// Whether Catchpoint's words are about the token: "Expired token", "Invalid token", in any case.
pub fn is_complaint(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("expired token")
        || text.contains("invalid token")
        || text.contains("token expired")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many seconds a token is used, of an answer with this `expires_in`.
    fn used_for(expires_in: &str) -> i64 {
        let settings = CatchpointSettings::default();
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
