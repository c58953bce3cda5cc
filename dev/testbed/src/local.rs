//! HTTP to servers on this machine.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    #[test]
    fn no_proxy_is_known() {
        assert!(client(Duration::from_secs(1)).config().proxy().is_none());
    }

    #[test]
    fn a_proxy_in_the_environment_is_not_asked() {
        let again = Command::new(env::current_exe().unwrap())
            .args(["--exact", "local::tests::no_proxy_is_known"])
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("ALL_PROXY", "http://127.0.0.1:9")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(said.contains("1 passed"), "{said}");
    }
}
