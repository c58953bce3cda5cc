//! API v1's bearer token: fetched once, kept across runs until a minute before it expires.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::body::{BodyError, excerpt, read_short};
use super::failure::CallError;
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
            access_token: Option<String>,
            expires_in: Option<u32>,
            error: Option<String>,
            #[serde(alias = "Message")]
            message: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(&read_short(body)?).map_err(|_| {
            BodyError::Shape(
                "the token call was answered with something else than a JSON object".to_owned(),
            )
        })?;
        match answer.access_token.filter(|token| !token.trim().is_empty()) {
            Some(access_token) => Ok(Self {
                access_token,
                expires: now + TimeDelta::seconds(answer.expires_in.unwrap_or(DEFAULT_LIFE).into())
                    - EARLY,
                url: settings.token_url(),
            }),
            None => {
                let said = answer.error.or(answer.message).unwrap_or_default();
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
