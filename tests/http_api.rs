//! The HTTP interface: who may call it, the dry run, and the check that tries everything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use catchpoint_graphite::http_api::{Call, serve, serve_trusted};
use catchpoint_sandbox::{Kind, Settings};
use serde_json::Value;
use support::RelayMode;
use support::small::host;

#[test]
fn nobody_gets_in_without_the_token() {
    let host = host("v1", Settings::default());
    let status = |path_and_query: &str, authorization: Option<&str>| {
        let call = Call {
            method: "GET",
            path_and_query,
            authorization,
            ..Call::default()
        };
        serve(&host, &call).status
    };
    assert_eq!(status("/status", None), 401);
    assert_eq!(status("/status", Some("Bearer wrong")), 401);
    assert_eq!(status("/nothing", None), 404);
    assert_eq!(status("/status?key=open", None), 404);
    assert_eq!(status("/check", Some("bearer open")), 200);
    assert_eq!(status("/collect?key=open", None), 200);
    assert_eq!(status("/status", Some("Bearer open")), 200);
}

#[test]
fn a_dry_run_shows_the_lines_and_changes_nothing() {
    let host = host("v1", Settings::default());
    let answer = serve_trusted(&host, "POST", "/collect?dry_run=1");
    assert_eq!((answer.status, answer.exit_code), (200, 0));
    let (lines, report) = answer.body.rsplit_once("# ").unwrap();
    assert!(
        lines
            .lines()
            .all(|line| line.starts_with("system.cp.testdata."))
    );
    assert!(
        lines.lines().count() > 50 && report.contains("outcome=ok"),
        "{report}"
    );
    assert_eq!(host.lines.get(), 0);
    let state = host.state.borrow();
    let kept: Vec<&str> = state.keys().map(String::as_str).collect();
    assert_eq!(kept, ["budget", "lease", "token"]);
}

#[test]
fn the_online_check_tries_everything() {
    for version in ["v1", "v2"] {
        let good = host(version, Settings::default());
        let answer = serve_trusted(&good, "GET", "/check?online=1");
        assert_eq!(
            (answer.status, answer.exit_code),
            (200, 0),
            "{}",
            answer.body
        );
        for step in ["token", "call", "relay", "carbon"] {
            let line = answer
                .body
                .lines()
                .rfind(|line| line.starts_with(&format!("{step} ")));
            assert!(line.unwrap().contains(" ok: "), "{}", answer.body);
        }
        assert!(answer.body.contains("ok: it confirmed the last delivery"));
        // A relay to which no line has come knows nothing of carbon.
        good.readiness.set(r#"{"ready":true,"carbon":"unknown"}"#);
        let answer = serve_trusted(&good, "GET", "/check?online=1");
        assert!(answer.body.contains("ok: not tried yet"), "{}", answer.body);
        // The relay is ready without carbon, too, and that is not well.
        good.readiness.set(r#"{"ready":true,"carbon":"down"}"#);
        let answer = serve_trusted(&good, "GET", "/check?online=1");
        assert_eq!((answer.status, answer.exit_code), (502, 1));
        assert!(
            answer
                .body
                .contains("\ncarbon       FAILED: it did not confirm"),
            "{}",
            answer.body
        );
        let other = || "other".to_owned();
        let wrong = host(
            version,
            Settings {
                client_secret: other(),
                api_key: other(),
                ..Settings::default()
            },
        );
        wrong.relay.set(RelayMode::Down);
        let answer = serve_trusted(&wrong, "GET", "/check?online=1&format=json");
        assert_eq!((answer.status, answer.exit_code), (502, 1));
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        let failed = |name: &str| {
            let steps = answer["online"].as_array().unwrap();
            let step = steps.iter().find(|step| step["name"] == name);
            step.is_some_and(|step| step["ok"] == false && step["hint"].is_string())
        };
        assert!(failed("token") && failed("relay"), "{answer}");
    }
    // Nobody has said that the credentials are accepted.
    for version in ["v1", "v2"] {
        let used_up = host(version, Settings::default());
        let budget = br#"{"day":"2026-03-01","in_day":9999}"#.to_vec();
        used_up
            .state
            .borrow_mut()
            .insert("budget".to_owned(), budget);
        let answer = serve_trusted(&used_up, "GET", "/check?online=1");
        assert!(
            answer.body.contains("\ncall         FAILED: "),
            "{}",
            answer.body
        );
        assert!(!answer.body.contains("accepts"), "{}", answer.body);
    }
    let one = host("v1", Settings::default());
    serve_trusted(&one, "GET", "/check?online=1");
    let calls = one.sandbox.calls();
    assert_eq!(
        calls
            .iter()
            .filter(|call| call.kind == Kind::LastRaw)
            .count(),
        1
    );
}
