//! HTTP to servers on this machine.

use std::time::Duration;

use crate::Error;

/// A client whose calls take `timeout` at most, bodies included. No proxy of the user comes between,
/// and an error status is an answer like any other, because its body says why.
#[must_use]
pub fn client(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

/// The body of a GET.
///
/// # Errors
/// [`Error::Http`], also when the status is not one of success.
pub fn get(url: &str, timeout: Duration) -> Result<String, Error> {
    let fail = |reason: String| Error::Http {
        url: url.to_owned(),
        reason,
    };
    let answer = client(timeout).get(url).call();
    let mut answer = answer.map_err(|error| fail(error.to_string()))?;
    let body = answer
        .body_mut()
        .with_config()
        .limit(u64::MAX)
        .read_to_string();
    let body = body.map_err(|error| fail(error.to_string()))?;
    match answer.status().is_success() {
        true => Ok(body),
        false => Err(fail(format!("{}: {body}", answer.status()))),
    }
}
