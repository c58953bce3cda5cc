//! API v1's bearer token: fetched once, kept across runs until a minute before it expires.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::parse;
use super::complaint;
use super::error::{CallError, Kind};
use crate::config::catchpoint::{CatchpointSettings, TokenEncoding};

/// Renewed this long before it expires.
const EARLY: TimeDelta = TimeDelta::seconds(60);

/// How long a token lives when the answer does not say; the shortest life that was seen.
const DEFAULT_LIFE: i64 = 900;

/// A token as it is stored. It has no `Debug`, because it opens the API.
#[derive(Clone, Serialize, Deserialize)]
pub struct Token {
    access_token: String,
    expires: DateTime<Utc>,
    /// For how many seconds it could be used when it was fetched.
    #[serde(default)]
    lasts: i64,
    /// Where it came from: a token of another Catchpoint is of no use.
    url: String,
}

impl Token {
    /// Whether it can still be used against the Catchpoint of these settings.
    pub fn is_good(&self, settings: &CatchpointSettings, now: DateTime<Utc>) -> bool {
        now < self.expires && self.url == settings.token_url()
    }

    /// For how many seconds it could be used when it was fetched.
    pub fn lasts(&self) -> i64 {
        self.lasts
    }

    /// The value of the `Authorization` header.
    pub fn bearer(&self, encoding: TokenEncoding) -> String {
        let [plain, base64] = self.forms();
        let token = match encoding {
            TokenEncoding::Base64 => base64,
            TokenEncoding::Plain => plain,
        };
        format!("Bearer {token}")
    }

    /// The token as it is, and in base64.
    pub fn forms(&self) -> [String; 2] {
        [
            self.access_token.clone(),
            STANDARD.encode(&self.access_token),
        ]
    }

    /// Reads the answer of the token call, which was asked for at `now`.
    ///
    /// # Errors
    /// That it holds no token; the text of the answer is not quoted, since it may hold one.
    pub fn read(
        text: &str,
        settings: &CatchpointSettings,
        now: DateTime<Utc>,
    ) -> Result<Self, CallError> {
        let answer: Value = parse(text)?;
        if !answer.is_object() {
            return Err(CallError::new(Kind::Shape, "it is not a JSON object"));
        }
        let token = answer.get("access_token").and_then(Value::as_str);
        let Some(token) = token.filter(|token| !token.trim().is_empty()) else {
            let words = complaint::in_object(&answer).unwrap_or_default();
            return Err(CallError::new(Kind::Credentials, words));
        };
        let life = match answer.get("expires_in") {
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(number) => number.as_f64(),
            None => None,
        };
        let most = f64::from(u32::MAX);
        let life = life.filter(|life| (0.0..=most).contains(life));
        let life = life.map_or(DEFAULT_LIFE, |life| life as i64);
        let expires = now.checked_add_signed(TimeDelta::seconds(life) - EARLY);
        Ok(Self {
            access_token: token.to_owned(),
            expires: expires.unwrap_or(now),
            lasts: (life - EARLY.num_seconds()).max(0),
            url: settings.token_url(),
        })
    }
}

/// The content type of the token call.
pub const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// The form of the token call, or none if the credentials are not set.
pub fn form(settings: &CatchpointSettings) -> Option<String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    form.append_pair("client_id", settings.client_id.as_ref()?.reveal());
    form.append_pair("client_secret", settings.client_secret.as_ref()?.reveal());
    Some(form.finish())
}
