//! The bearer tokens of API v1.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};

use crate::lock;
use crate::noise::mix;

/// How API v1 says that it does not take a token. Both were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenTrouble {
    /// HTTP 401.
    Unauthorized,
    /// HTTP 200 with a `Message`.
    Message,
}

/// The API's words for a token that it does not know.
pub(crate) const INVALID: &str = "Invalid token";
/// The API's words for a token that was good.
pub(crate) const EXPIRED: &str = "Expired token";

/// The tokens that were issued, and when each expires.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<String, DateTime<Utc>>>);

impl Tokens {
    pub fn issue(&self, now: DateTime<Utc>, lifetime: Duration) -> String {
        let mut issued = lock(&self.0);
        let token = format!("{:016X}", mix(50, &[issued.len() as u64]));
        let lifetime = TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::MAX);
        let expiry = now.checked_add_signed(lifetime);
        issued.insert(token.clone(), expiry.unwrap_or(DateTime::<Utc>::MAX_UTC));
        token
    }

    /// Takes a token in plain or in base64: clients send both. The error is the API's words.
    pub fn check(&self, bearer: Option<&str>, now: DateTime<Utc>) -> Result<(), &'static str> {
        let bearer = bearer.ok_or(INVALID)?;
        let issued = lock(&self.0);
        let decoded = || String::from_utf8(STANDARD.decode(bearer).ok()?).ok();
        let expiry = issued.get(bearer).or_else(|| issued.get(&decoded()?));
        match expiry.ok_or(INVALID)? {
            expiry if *expiry > now => Ok(()),
            _ => Err(EXPIRED),
        }
    }
}
