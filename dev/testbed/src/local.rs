//! HTTP to servers on this machine.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

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
/// Also when the status is not one of success.
pub fn get(url: &str, timeout: Duration) -> Result<String> {
    let mut answer = client(timeout)
        .get(url)
        .call()
        .with_context(|| url.to_owned())?;
    let body = answer.body_mut().with_config().limit(u64::MAX);
    let body = body.read_to_string().with_context(|| url.to_owned())?;
    if !answer.status().is_success() {
        bail!("{url}: {}: {body}", answer.status());
    }
    Ok(body)
}
