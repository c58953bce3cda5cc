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
use support::small::host;
use support::{RelayMode, SimHost};

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

/// What `check --online` says of the relay and of carbon.
fn of_relay(host: &SimHost) -> String {
    let answer = serve_trusted(host, "GET", "/check?online=1");
    let (_, said) = answer.body.rsplit_once("\nrelay ").unwrap();
    let said = format!("relay {said}");
    let failed = said.contains(" FAILED: ");
    assert_eq!(
        (answer.status == 502, answer.exit_code == 1),
        (failed, failed)
    );
    said
}

/// Each fault of the relay is told as such, and carbon is well only if it has confirmed something.
#[test]
fn the_online_check_tells_the_relay_from_carbon() {
    let readiness = [
        r#"{"ready":true,"carbon":"up"}"#,
        r#"{"ready":true,"carbon":"down"}"#,
        r#"{"ready":true,"carbon":"unknown"}"#,
        r#"{"ready":false,"starting":true,"spool_writable":false,"carbon":"unknown"}"#,
        r#"{"ready":false,"draining":true,"spool_writable":true,"carbon":"up"}"#,
        r#"{"ready":false,"spool_writable":false,"carbon":"up"}"#,
        r#"{"ready":false,"spool_writable":true,"spool_bytes":9,"spool_max_bytes":8,"carbon":"down"}"#,
        "<html>",
    ];
    let mut all = String::new();
    for text in readiness {
        let host = host("v2", Settings::default());
        host.readiness.set(text);
        let before = host.clock.now();
        all += &of_relay(&host);
        assert!((host.clock.now() - before).num_seconds() < 4);
    }
    for mode in [
        RelayMode::Refuses("", 401),
        RelayMode::Refuses("", 404),
        RelayMode::Down,
    ] {
        let host = host("v2", Settings::default());
        host.relay.set(mode);
        all += &of_relay(&host);
    }
    // It soon knows.
    let host = host("v2", Settings::default());
    host.readiness.set(readiness[2]);
    *host.on_sleep.borrow_mut() = Some(Box::new(|host, waits| {
        if waits > 2 {
            host.readiness.set(r#"{"ready":true,"carbon":"up"}"#);
        }
    }));
    all += &of_relay(&host);
    insta::assert_snapshot!(all, @"
    relay        ok: http://127.0.0.1:2080 takes lines
    carbon       ok: it confirmed the last delivery
    relay        ok: http://127.0.0.1:2080 takes lines
    carbon       FAILED: the relay cannot deliver to it, and keeps all lines until it can
                 check that carbon runs at carbon_server and carbon_port of config_graphite.yaml, and see the relay's log
    relay        ok: http://127.0.0.1:2080 takes lines
    carbon       FAILED: it has not confirmed anything yet
                 check that carbon runs at carbon_server and carbon_port of config_graphite.yaml, and see the relay's log
    relay        FAILED: it is starting and has not opened its spool yet
                 try again in some seconds; if it stays so, see the relay's log
    relay        FAILED: it is stopping
                 start it again
    relay        FAILED: the disk of its spool takes no data
                 see the relay's log; the disk may be full, read-only or broken
    carbon       ok: it confirmed the last delivery
    relay        FAILED: its spool is full: 9 of 8 bytes wait for carbon
                 start carbon, or raise relay.spool_max_bytes in config_graphite.yaml
    carbon       FAILED: the relay cannot deliver to it, and keeps all lines until it can
                 check that carbon runs at carbon_server and carbon_port of config_graphite.yaml, and see the relay's log
    relay        FAILED: http://127.0.0.1:2080 is not a relay: /readyz answers HTTP 200: <html>
                 set the variable relay_url (SPIN_VARIABLE_RELAY_URL in the environment) to the relay's address
    relay        FAILED: the relay answered HTTP 401: no
                 set the variable relay_token (SPIN_VARIABLE_RELAY_TOKEN in the environment) to a line of the relay's token file
    relay        FAILED: the relay answered HTTP 404: no
                 see the relay's log; check that relay_url is the relay's address
    relay        FAILED: no connection to the relay at http://127.0.0.1:2080: connection refused
                 start the relay, or set the variable relay_url (SPIN_VARIABLE_RELAY_URL in the environment) to where it listens
    relay        ok: http://127.0.0.1:2080 takes lines
    carbon       ok: it confirmed the last delivery
    ");
}

#[test]
fn a_wrong_configuration_is_told_in_the_form_that_is_asked_for() {
    let wrong = host("v1", Settings::default());
    wrong.set_config("log_level: 7\n");
    for query in ["", "?format=json"] {
        let answer = serve_trusted(&wrong, "GET", &format!("/check{query}"));
        assert_eq!((answer.status, answer.exit_code), (400, 64));
        let text = match serde_json::from_str::<Value>(&answer.body) {
            Ok(json) => {
                assert_eq!(json["ok"], false);
                json["text"].as_str().unwrap().to_owned()
            }
            Err(_) => answer.body.clone(),
        };
        assert_eq!(answer.body.starts_with('{'), !query.is_empty());
        assert!(text.contains("log_level"), "{text}");
    }
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
