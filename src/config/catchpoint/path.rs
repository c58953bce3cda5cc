//! Texts that become part of a URL: not empty, no blanks, no slashes at their ends.

use catchpoint_graphite_settings::yaml::quote;
use catchpoint_graphite_settings::yaml::value::{problem, secret_problem};
use serde::Deserialize as _;
use serde::de::{Deserializer, Error as _};

pub(super) const DOMAIN: &str = "io.catchpoint.com/ui/api";
pub(super) const TOKEN: &str = "token";
pub(super) const RAWDATA: &str = "performance/raw?tests";
pub(super) const EXPLORER: &str = "api/v2/tests/explorer/raw";

/// The explorer's path in a version of the API.
pub(super) fn explorer_of(version: &str) -> String {
    format!("api/{version}/tests/explorer/raw")
}

pub(super) fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    path(deserializer, TOKEN)
}

pub(super) fn rawdata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    path(deserializer, RAWDATA)
}

pub(super) fn explorer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    path(deserializer, EXPLORER)
}

pub(super) fn domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    path(deserializer, DOMAIN)
}

fn path<'de, D: Deserializer<'de>>(deserializer: D, example: &str) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let path = text.trim().trim_matches('/');
    let hint = format!("write, for instance, `{{key}}: '{example}'`");
    // Before an `@` there may be a password.
    if path.contains('@') {
        return Err(D::Error::custom(secret_problem(
            "user name and password cannot be part of a URL here",
            format!("{hint}; credentials belong in client_id, client_secret and api_key"),
        )));
    }
    if path.contains("://") {
        return Err(D::Error::custom(problem(
            format!(
                "{} must not begin with a protocol; that is the key `protocol`",
                quote(&text)
            ),
            hint,
        )));
    }
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    if path.is_empty() || path.contains(is_blank) {
        let what = format!("{} cannot be part of a URL", quote(&text));
        return Err(D::Error::custom(problem(what, hint)));
    }
    Ok(path.to_owned())
}
