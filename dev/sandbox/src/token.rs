//! The bearer tokens of API v1.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::lock;
use crate::noise::mix;

/// How API v1 says that it does not take a token. Both were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenTrouble {
    /// HTTP 401.
    Unauthorized,
    /// HTTP 200 with a `Message`.
    Message,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Invalid,
    Expired,
}

impl Refusal {
    /// The API's words for it.
    pub fn message(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid token",
            Self::Expired => "Expired token",
        }
    }
}

/// The tokens that were issued and when each expires. A token is forgotten, and from then on called
/// invalid, a day after it expired.
pub(crate) struct Tokens {
    seed: u64,
    issued: Mutex<Issued>,
}

#[derive(Default)]
struct Issued {
    count: u64,
    expiry: BTreeMap<String, DateTime<Utc>>,
}

impl Tokens {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            issued: Mutex::default(),
        }
    }

    pub fn issue(&self, now: DateTime<Utc>, lifetime: Duration) -> String {
        let mut issued = lock(&self.issued);
        issued
            .expiry
            .retain(|_, expiry| later(*expiry, Duration::from_secs(86_400)) > now);
        issued.count += 1;
        let half = |n| mix(self.seed, &[50, issued.count, n]);
        let token = format!("{:016X}{:016X}", half(0), half(1));
        issued.expiry.insert(token.clone(), later(now, lifetime));
        token
    }

    /// Takes a token in plain or in base64: clients send both.
    pub fn check(&self, bearer: Option<&str>, now: DateTime<Utc>) -> Result<(), Refusal> {
        let bearer = bearer.ok_or(Refusal::Invalid)?;
        let issued = lock(&self.issued);
        let decoded = || String::from_utf8(STANDARD.decode(bearer).ok()?).ok();
        let expiry = issued.expiry.get(bearer);
        let expiry = expiry
            .or_else(|| issued.expiry.get(&decoded()?))
            .ok_or(Refusal::Invalid)?;
        if *expiry > now {
            Ok(())
        } else {
            Err(Refusal::Expired)
        }
    }
}

fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let by = chrono::Duration::from_std(by).unwrap_or(chrono::Duration::MAX);
    time.checked_add_signed(by)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
