//! Everything that can go wrong in a run, and the words that the log has for it: all of them in one
//! golden file. `INSTA_UPDATE=always cargo test --test report_lines` writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use catchpoint_graphite::run::report::Outcome;
use catchpoint_sandbox::{
    Effect, Kind, Limits, RangedLists, Rule, Settings, TestType, TokenTrouble,
};
use chrono::{DateTime, Utc};
use support::small::{answers, good_tests, host, ids, logged, says, status, yaml};
use support::{RelayMode, SimHost};

fn always(effect: Effect) -> Vec<Rule> {
    vec![Rule::new(effect).on(Kind::LastRaw)]
}

/// The log of a v1 run that meets these faults.
fn with_faults(faults: Vec<Rule>) -> String {
    let host = host("v1", Settings::default());
    host.sandbox.set_faults(faults);
    logged(&host)
}

/// The logs of two runs, a quarter of an hour apart.
fn twice(host: &SimHost) -> String {
    let first = logged(host);
    host.clock.advance(Duration::from_secs(900));
    format!("{first}\n{}", logged(host))
}

fn with_keys(keys: &str) -> SimHost {
    let host = host("v1", Settings::default());
    host.set_config(&yaml("v1", &format!("{}\n{keys}", good_tests())));
    host
}

fn with_relay(mode: RelayMode) -> String {
    let host = host("v1", Settings::default());
    host.relay.set(mode);
    logged(&host)
}

/// The log of a run that comes after so many hours.
fn after(version: &str, hours: u64, lists: RangedLists) -> String {
    let settings = Settings {
        ranged_lists: lists,
        ..Settings::default()
    };
    let host = host(version, settings);
    host.run(None);
    host.clock.advance(Duration::from_secs(hours * 3600));
    logged(&host)
}

#[test]
fn the_messages_of_a_run() {
    let mut golden = String::new();
    let mut case = |name: &str, log: String| writeln!(golden, "## {name}\n{log}\n").unwrap();
    let settings = Settings::default;
    for version in ["v1", "v2"] {
        case(
            &format!("{version}: a good run"),
            logged(&host(version, settings())),
        );
        let lists = RangedLists::Answered;
        case(
            &format!("{version}: after an hour"),
            after(version, 1, lists),
        );
        case(
            &format!("{version}: after 26 hours"),
            after(version, 26, lists),
        );
        let other = || "other".to_owned();
        let credentials = Settings {
            client_secret: other(),
            api_key: other(),
            ..settings()
        };
        case(
            &format!("{version}: wrong credentials"),
            logged(&host(version, credentials)),
        );
        let unknown = host(version, settings());
        let mut ping = ids(TestType::Ping);
        ping.insert(1, 999);
        let dns = ids(TestType::Dns);
        unknown.set_config(&yaml(
            version,
            &format!("test_ids: {{ ping: {ping:?}, dns: {dns:?} }}"),
        ));
        case(
            &format!("{version}: c17 an unknown test, and the next run"),
            twice(&unknown),
        );
    }
    case(
        "v1: ranges of several tests are refused",
        after("v1", 1, RangedLists::Refused),
    );
    case(
        "v1: ranges of several tests are ignored",
        after("v1", 1, RangedLists::Ignored),
    );
    let refused = host("v1", settings());
    refused.run(None);
    refused
        .sandbox
        .set_faults(vec![Rule::new(status(404)).on(Kind::Ranged)]);
    refused.clock.advance(Duration::from_secs(1800));
    case("v1: ranges are refused, and the next run", twice(&refused));
    for (name, faults) in [
        (
            "catchpoint refuses connections",
            vec![Rule::new(Effect::Refuse)],
        ),
        ("HTTP 503", always(status(503))),
        (
            "HTTP 502 with a web page",
            always(Effect::Html { code: 502 }),
        ),
        (
            "no answer in time",
            always(Effect::Delay { millis: 90_000 }),
        ),
        ("a web page", always(Effect::Html { code: 200 })),
        ("another shape", always(Effect::WrongShape)),
        (
            "c05 it breaks off",
            always(Effect::Truncate { after: Some(700) }),
        ),
        ("c05 not JSON", always(answers(200, r#"{"start":NaN}"#))),
        (
            "c07 HTTP 404",
            always(answers(404, "<html>no such page</html>")),
        ),
        ("c09 Cloudflare", always(Effect::Cloudflare { json: false })),
        ("HTTP 429", always(status(429))),
        (
            "429 with Retry-After",
            vec![
                Rule::new(Effect::Status {
                    code: 429,
                    retry_after: Some(900),
                })
                .on(Kind::LastRaw)
                .times(1),
            ],
        ),
        ("the day's quota", always(says("Daily quota exceeded"))),
        ("everything is refused", always(says("Internal error"))),
        (
            "c06 the token call is not found",
            vec![Rule::new(status(404)).on(Kind::Token)],
        ),
        (
            "the token expires at once",
            always(Effect::ExpiredToken {
                trouble: TokenTrouble::Message,
            }),
        ),
    ] {
        case(name, with_faults(faults));
    }
    case(
        "limits.per_day",
        logged(&with_keys("limits: { per_day: 2 }")),
    );
    let slow = with_keys("run_deadline_seconds: 20");
    slow.sandbox.set_faults(vec![
        Rule::new(Effect::Delay { millis: 19_900 }).on(Kind::Token),
    ]);
    case("the run's time is up", logged(&slow));
    case("the relay is down", with_relay(RelayMode::Down));
    case("the relay answers 401", with_relay(RelayMode::Answers(401)));
    case(
        "c13 the relay answers 413",
        with_relay(RelayMode::Answers(413)),
    );
    case("the relay answers 503", with_relay(RelayMode::Answers(503)));
    case(
        "the relay rejects a line of each batch",
        with_relay(RelayMode::Rejects(1)),
    );
    let killed = host("v1", settings());
    assert_eq!(killed.run(Some(18)), None);
    case("another run is under way", logged(&killed));
    insta::assert_snapshot!("messages", golden);
}

#[test]
fn what_passes_by_itself_is_no_failure() {
    for effect in [
        status(500),
        Effect::Status {
            code: 429,
            retry_after: Some(7),
        },
        Effect::Truncate { after: None },
        Effect::Html { code: 200 },
        Effect::ExpiredToken {
            trouble: TokenTrouble::Unauthorized,
        },
        Effect::ExpiredToken {
            trouble: TokenTrouble::Message,
        },
        Effect::Delay { millis: 90_000 },
    ] {
        let line = with_faults(vec![Rule::new(effect.clone()).on(Kind::LastRaw).times(1)]);
        assert!(
            line.starts_with("INFO ") && line.contains("outcome=ok"),
            "{effect:?}: {line}"
        );
    }
}

#[test]
fn log_level_chooses_what_is_logged_and_never_hides_trouble() {
    let lines = |level: &str, fault: Effect| {
        let host = with_keys(&format!("log_level: {level}"));
        host.sandbox
            .set_faults(vec![Rule::new(fault).on(Kind::LastRaw).times(1)]);
        let text = logged(&host);
        let words = text.lines().filter_map(|line| line.split(' ').next());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines("debug", status(500)), ["DEBUG", "INFO"]);
    assert_eq!(lines("info", status(500)), ["INFO"]);
    assert_eq!(lines("error", status(500)), [""; 0]);
    assert_eq!(lines("error", says("Daily quota exceeded")), ["WARN"]);
}

#[test]
fn a_token_is_kept_renewed_a_minute_early_and_dropped_when_refused() {
    let token_lifetime = Duration::from_secs(1200);
    let host = host(
        "v1",
        Settings {
            token_lifetime,
            ..Settings::default()
        },
    );
    let tokens = |time: &str| {
        let time = format!("2026-03-01T12:{time}Z")
            .parse::<DateTime<Utc>>()
            .unwrap();
        host.clock.set(time);
        let report = host.run(None).unwrap();
        assert_eq!(report.outcome, Outcome::Ok, "{report}");
        report.calls.get("token 200").copied().unwrap_or_default()
    };
    assert_eq!(tokens("00:00"), 1, "the first");
    assert_eq!(tokens("18:50"), 0, "a token of 20 minutes is good for 19");
    assert_eq!(tokens("19:05"), 1, "its last minute has begun");
    assert_eq!(tokens("20:30"), 0, "the new one is kept");
    let refused = || Effect::ExpiredToken {
        trouble: TokenTrouble::Unauthorized,
    };
    host.sandbox
        .set_faults(vec![Rule::new(refused()).on(Kind::LastRaw).times(1)]);
    assert_eq!(
        tokens("22:00"),
        1,
        "a token that was refused is fetched anew"
    );
    assert_eq!(tokens("24:00"), 0, "and the new one kept");
    host.sandbox.set_faults(always(refused()));
    assert_eq!(host.run(None).unwrap().outcome, Outcome::Failed);
    host.sandbox.set_faults(Vec::new());
    assert_eq!(
        tokens("26:00"),
        1,
        "a fresh one that was refused is not kept"
    );
}

/// A metric that the last run has written of itself.
fn own_metric(host: &SimHost, name: &str) -> Option<String> {
    let taken = host.taken.borrow();
    let series = format!("system.cp.collector.{name}");
    let found = taken.iter().find(|((known, _), _)| *known == series);
    found.map(|(_, value)| value.clone())
}

#[test]
fn a_run_that_fails_writes_its_own_metrics_as_long_as_the_relay_takes_them() {
    let client_secret = "other".to_owned();
    let host = host(
        "v1",
        Settings {
            client_secret,
            ..Settings::default()
        },
    );
    logged(&host);
    assert_eq!(own_metric(&host, "run.failures").as_deref(), Some("1"));
    assert_eq!(own_metric(&host, "run.partial").as_deref(), Some("0"));
    assert_eq!(own_metric(&host, "tests.excluded").as_deref(), Some("0"));
    assert_eq!(own_metric(&host, "calls.token.401").as_deref(), Some("1"));
}

#[test]
fn c17_refused_credentials_are_an_error_and_an_unknown_test_is_partial() {
    let client_secret = "other".to_owned();
    let wrong = host(
        "v1",
        Settings {
            client_secret,
            ..Settings::default()
        },
    );
    assert!(logged(&wrong).starts_with("ERROR "));
    let unknown = host("v1", Settings::default());
    unknown.set_config(&yaml("v1", "test_ids: { ping: [142600, 999] }"));
    let report = unknown.run(None).unwrap();
    assert_eq!(
        (report.outcome, report.outcome.exit_code()),
        (Outcome::Partial, 2)
    );
    let report = unknown.run(None).unwrap();
    assert_eq!(report.outcome, Outcome::Partial);
    assert_eq!(report.tests.excluded, 1);
    assert!(report.to_string().contains("skipped until"), "{report}");
}

/// An alert on a series that does not exist never fires.
#[test]
fn the_series_of_the_alerts_exist() {
    let host = host("v1", Settings::default());
    host.webhook_token.set(Some("push"));
    let lines = host.run(None).unwrap().lines("…collector");
    let mut named = 0;
    for series in include_str!("../docs/operations.md").split('`') {
        // Those with a `*` are there only when something went wrong.
        if series.starts_with("…collector.") && !series.ends_with('*') {
            assert!(lines.contains(&format!("{series} ")), "{series}: {lines}");
            named += 1;
        }
    }
    assert!(named > 4, "{named}");
}

/// With limits in force that Catchpoint has stated, no more calls are made than it allows.
#[test]
fn c08_a_stated_limit_is_in_force_and_in_the_report() {
    let host = host("v1", Settings::default());
    let text = "API calls quota exceeded! maximum admitted 2 per 1m.";
    let stated = Effect::Answer {
        code: 429,
        headers: BTreeMap::from([("retry-after".to_owned(), "3".to_owned())]),
        body: text.to_owned(),
    };
    host.sandbox
        .set_faults(vec![Rule::new(stated).on(Kind::LastRaw).times(1)]);
    let report = host.run(None).unwrap();
    assert_eq!(report.outcome, Outcome::Ok, "{report}");
    assert!(
        report
            .limits
            .iter()
            .any(|limit| limit.contains("2 calls per minute")),
        "{:?}",
        report.limits
    );
    let peak = host.sandbox.peak();
    assert!(
        !peak.exceeds(&Limits {
            minute: 3,
            ..Limits::default()
        }),
        "{peak:?}"
    );
}

#[test]
fn a_run_writes_what_it_brought_by_test_type() {
    let host = host("v1", Settings::default());
    let report = host.run(None).unwrap();
    // The relay's status page knows a report by its first line.
    assert!(report.lines("p").starts_with("p.run.milliseconds "));
    let figure = |name: &str| own_metric(&host, name).map(|value| value.parse::<u64>().unwrap());
    let of_type = |test_type: &str, what: &str| figure(&format!("types.{test_type}.{what}"));
    let of_both = |what| Some(of_type("ping", what)? + of_type("dns", what)?);
    assert_eq!(of_both("tests"), figure("tests.collected"));
    assert_eq!(of_both("lines"), figure("lines.accepted"));
    assert_eq!(of_type("dns", "tests"), Some(2));
}
