//! Everything that can go wrong in a run, and the exact words that the log has for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::time::Duration;

use catchpoint_graphite::run::report::Outcome;
use catchpoint_sandbox::{Effect, Kind, Limits, Rule, Settings, TokenTrouble};
use chrono::{DateTime, Utc};
use insta::assert_snapshot;
use support::small::{good_tests, host, logged, yaml};
use support::{RelayMode, SimHost};

/// The log of a v1 run that meets these faults.
fn with_faults(faults: Vec<Rule>) -> String {
    let host = host("v1", Settings::default());
    host.sandbox.set_faults(faults);
    logged(&host)
}

fn always(effect: Effect) -> Vec<Rule> {
    vec![Rule::new(effect).on(Kind::LastRaw)]
}

fn status(code: u16) -> Effect {
    Effect::Status {
        code,
        retry_after: None,
    }
}

#[test]
fn a_good_run() {
    assert_snapshot!(logged(&host("v1", Settings::default())), @"INFO run=910a2dec89025cc1 outcome=ok started=2026-03-01T12:00:00Z seconds=1.2 from=2026-03-01T11:45:00Z to=2026-03-01T12:00:00Z tests=5/5 calls=lastraw_200:2,token_200:1 samples=94 nulls=5 accepted=94 rejected=0");
    assert_snapshot!(logged(&host("v2", Settings::default())), @"INFO run=910a2dec89025cc1 outcome=ok started=2026-03-01T12:00:00Z seconds=0.9 from=2026-03-01T11:40:00Z to=2026-03-01T12:00:00Z tests=5/5 calls=explorer_200:2 samples=126 nulls=6 accepted=126 rejected=0");
}

#[test]
fn log_level_chooses_what_is_logged_and_never_hides_trouble() {
    let lines = |level: &str, fault: Effect| {
        let host = host("v1", Settings::default());
        host.set_config(&yaml(
            "v1",
            &format!("{}\nlog_level: {level}", good_tests()),
        ));
        host.sandbox
            .set_faults(vec![Rule::new(fault).on(Kind::LastRaw).times(1)]);
        let text = logged(&host);
        let words = text.lines().filter_map(|line| line.split(' ').next());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let refused = || Effect::Error {
        message: "Daily quota exceeded".to_owned(),
    };
    assert_eq!(lines("debug", status(500)), ["DEBUG", "INFO"]);
    assert_eq!(lines("info", status(500)), ["INFO"]);
    assert_eq!(lines("error", status(500)), [""; 0]);
    assert_eq!(lines("error", refused()), ["WARN"]);
}

#[test]
fn catchpoint_is_down() {
    assert_snapshot!(with_faults(vec![Rule::new(Effect::Refuse)]), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=21.9 tests=0/5 calls=token_unreachable:8 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602,142603,142604: connection refused; nothing is lost: the next run fills the gap; if it stays, check the network and the keys protocol and domain");
    assert_snapshot!(with_faults(always(status(503))), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=22.2 tests=0/5 calls=lastraw_503:8,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602,142603,142604: HTTP 503: Service Unavailable; nothing is lost: the next run fills the gap; if it stays, ask Catchpoint's support");
    assert_snapshot!(with_faults(always(Effect::Html { code: 502 })), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=22.2 tests=0/5 calls=lastraw_502:8,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602,142603,142604: HTTP 502: <!DOCTYPE html> <html><head><title>Maintenance</title></head><body><h1>We will be back soon</h1></body></html>; nothing is lost: the next run fills the gap; if it stays, ask Catchpoint's support");
    assert_snapshot!(with_faults(always(Effect::Delay { millis: 90_000 })), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=502.2 tests=0/5 calls=lastraw_timeout:8,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602,142603,142604: no answer in time; nothing is lost: the next run fills the gap; if it stays, check the network and the keys protocol and domain");
}

#[test]
fn an_answer_is_no_answer() {
    assert_snapshot!(with_faults(always(Effect::Html { code: 200 })), @r#"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=22.2 tests=0/5 calls=lastraw_200:8,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602,142603,142604: the answer is a web page titled "Maintenance", not JSON; nothing is lost: the next run fills the gap; if it stays, check the keys domain and version, and for a proxy in between"#);
    assert_snapshot!(with_faults(always(Effect::WrongShape)), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=22.2 tests=0/5 calls=lastraw_200:8,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602,142603,142604: the answer is not what the API documents: invalid type: sequence, expected an object at line 1 column 22; nothing is lost: the next run fills the gap; if it stays, check the keys domain and version, and for a proxy in between");
    assert_snapshot!(with_faults(always(Effect::Truncate { after: Some(700) })), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=22.2 tests=0/5 calls=lastraw_200:8,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602,142603,142604: the answer broke off: unexpected end of file at line 1 column 700; nothing is lost: the next run fills the gap; if it stays, ask Catchpoint's support");
}

#[test]
fn catchpoint_asks_for_no_call_for_longer_than_the_run() {
    let host = host("v1", Settings::default());
    let wait = Effect::Status {
        code: 429,
        retry_after: Some(900),
    };
    let once = Rule::new(wait).on(Kind::LastRaw).times(1);
    host.sandbox.set_faults(vec![once]);
    assert_snapshot!(logged(&host), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=0.9 tests=0/5 calls=lastraw_429:1,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602: HTTP 429, too many calls: Too Many Requests; nothing is lost: later runs fill the gap; if others use this API consumer too, lower `limits` to our share | lastraw of tests 142603,142604: the limit of Retry-After is used up until 12:15:00 UTC; nothing is lost: later runs fill the gap; `check` shows what this configuration needs");
    host.clock.advance(Duration::from_secs(240));
    assert_snapshot!(logged(&host), @"WARN run=beeb8da1658eec67 outcome=failed started=2026-03-01T12:04:00Z seconds=0.3 tests=0/5 calls= samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142603,142604: the limit of Retry-After is used up until 12:15:00 UTC; nothing is lost: later runs fill the gap; `check` shows what this configuration needs");
    host.clock.advance(Duration::from_secs(660));
    assert!(logged(&host).contains("tests=5/5"));
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
fn too_many_calls() {
    assert_snapshot!(with_faults(always(status(429))), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=88.2 tests=0/5 calls=lastraw_429:8,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602,142603,142604: HTTP 429, too many calls: Too Many Requests; nothing is lost: later runs fill the gap; if others use this API consumer too, lower `limits` to our share");
    assert_snapshot!(with_faults(always(Effect::Error { message: "Daily quota exceeded".to_owned() })), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=0.9 tests=0/5 calls=lastraw_200:1,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602: the day's quota is exceeded: Daily quota exceeded; nothing is lost: later runs fill the gap; if others use this API consumer too, lower `limits` to our share");
    let tight = host("v1", Settings::default());
    tight.set_config(&yaml(
        "v1",
        &format!("{}\nlimits: {{ per_day: 2 }}", good_tests()),
    ));
    assert_snapshot!(logged(&tight), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=0.9 from=2026-03-01T11:45:00Z to=2026-03-01T12:00:00Z tests=3/5 calls=lastraw_200:1,token_200:1 samples=58 nulls=5 accepted=58 rejected=0 | lastraw of tests 142603,142604: the limit per_day is used up until 00:00:00 UTC; nothing is lost: later runs fill the gap; `check` shows what this configuration needs");
    let limited = Settings {
        limits: Some(Limits {
            day: 1,
            ..Limits::default()
        }),
        ..Settings::default()
    };
    assert_snapshot!(logged(&host("v1", limited)), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=0.9 tests=0/5 calls=lastraw_429:1,token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602: the day's quota is exceeded: API quota exceeded: the limit per day is reached; nothing is lost: later runs fill the gap; if others use this API consumer too, lower `limits` to our share");
}

#[test]
fn the_credentials_are_wrong() {
    let other = |name: &str| Settings {
        client_secret: name.to_owned(),
        api_key: name.to_owned(),
        ..Settings::default()
    };
    assert_snapshot!(logged(&host("v1", other("other"))), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=0.6 tests=0/5 calls=token_401:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602: the credentials were refused: invalid_client; check client_id and client_secret (v1) or api_key (v2), in the variables and in config_catchpoint.yaml; the wrong form of bearer is mended with token_encoding");
    assert_snapshot!(logged(&host("v2", other("other"))), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=0.6 tests=0/5 calls=explorer_401:1 samples=0 nulls=0 accepted=0 rejected=0 | explorer of tests 142600,142601,142602: the credentials were refused: Invalid token; check client_id and client_secret (v1) or api_key (v2), in the variables and in config_catchpoint.yaml; the wrong form of bearer is mended with token_encoding");
    let expired = Effect::ExpiredToken {
        trouble: TokenTrouble::Message,
    };
    assert_snapshot!(with_faults(always(expired)), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=1.5 tests=0/5 calls=lastraw_200:2,token_200:2 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602: the credentials were refused: Expired token; check client_id and client_secret (v1) or api_key (v2), in the variables and in config_catchpoint.yaml; the wrong form of bearer is mended with token_encoding");
}

#[test]
fn a_token_is_kept_renewed_a_minute_early_and_dropped_when_refused() {
    let settings = Settings {
        token_lifetime: Duration::from_secs(1200),
        ..Settings::default()
    };
    let host = host("v1", settings);
    let tokens = |seconds: &str| {
        host.clock.set(
            format!("2026-03-01T12:{seconds}Z")
                .parse::<DateTime<Utc>>()
                .unwrap(),
        );
        let report = host.run(None).unwrap();
        assert_eq!(report.outcome, Outcome::Ok, "{report}");
        report.calls.get("token 200").copied().unwrap_or_default()
    };
    assert_eq!(tokens("00:00"), 1, "the first");
    assert_eq!(tokens("18:50"), 0, "a token of 20 minutes is good for 19");
    assert_eq!(tokens("19:05"), 1, "its last minute has begun");
    assert_eq!(tokens("20:30"), 0, "the new one is kept");
    let refused = Effect::ExpiredToken {
        trouble: TokenTrouble::Unauthorized,
    };
    let once = Rule::new(refused).on(Kind::LastRaw).times(1);
    host.sandbox.set_faults(vec![once]);
    assert_eq!(
        tokens("22:00"),
        1,
        "a token that was refused is fetched anew"
    );
    assert_eq!(tokens("24:00"), 0, "and the new one kept");
    let refused = Effect::ExpiredToken {
        trouble: TokenTrouble::Unauthorized,
    };
    host.sandbox.set_faults(always(refused));
    assert_eq!(host.run(None).unwrap().outcome, Outcome::Failed);
    host.sandbox.set_faults(Vec::new());
    assert_eq!(
        tokens("26:00"),
        1,
        "a fresh one that was refused is not kept"
    );
}

#[test]
fn the_relay_does_not_take_lines() {
    let relay = |mode| {
        let host = host("v1", Settings::default());
        host.relay.set(mode);
        logged(&host)
    };
    assert_snapshot!(relay(RelayMode::Down), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=46.0 tests=0/5 calls=lastraw_200:1,token_200:1 samples=58 nulls=5 accepted=0 rejected=0 | hand-over of tests 142600,142601,142602: no connection to the relay at http://127.0.0.1:2080: connection refused; nothing is lost: the next run fetches these results again; start the relay, or set the variable relay_url to where it listens");
    assert_snapshot!(relay(RelayMode::Answers(401)), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=0.9 tests=0/5 calls=lastraw_200:1,token_200:1 samples=58 nulls=5 accepted=0 rejected=0 | hand-over of tests 142600,142601,142602: the relay answered HTTP 401: no; set the variable relay_token to a token of the relay's token file");
    assert_snapshot!(relay(RelayMode::Answers(413)), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=0.9 tests=0/5 calls=lastraw_200:1,token_200:1 samples=58 nulls=5 accepted=0 rejected=0 | hand-over of tests 142600,142601,142602: the relay answered HTTP 413: no; lower batch_bytes in config_graphite.yaml, or raise the relay's max_body_bytes");
    assert_snapshot!(relay(RelayMode::Answers(503)), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=46.0 tests=0/5 calls=lastraw_200:1,token_200:1 samples=58 nulls=5 accepted=0 rejected=0 | hand-over of tests 142600,142601,142602: the relay answered HTTP 503: no; nothing is lost: the relay's spool is full or it is stopping; see its log, and whether carbon takes what it sends");
}

/// A figure that the last run has written of itself.
fn own_figure(host: &SimHost, name: &str) -> Option<String> {
    let taken = host.taken.borrow();
    let series = format!("system.cp.collector.{name}");
    let found = taken.iter().find(|((known, _), _)| *known == series);
    found.map(|(_, value)| value.clone())
}

#[test]
fn a_run_that_fails_writes_its_own_figures_as_long_as_the_relay_takes_them() {
    let other = Settings {
        client_secret: "other".to_owned(),
        ..Settings::default()
    };
    let host = host("v1", other);
    logged(&host);
    assert_eq!(own_figure(&host, "run.failures").as_deref(), Some("1"));
    assert_eq!(own_figure(&host, "calls.token.401").as_deref(), Some("1"));
}

#[test]
fn rejected_lines_are_counted_and_said() {
    let host = host("v1", Settings::default());
    host.relay.set(RelayMode::Rejects(1));
    assert_snapshot!(logged(&host), @"
    ERROR the relay rejected a line: too_long: system.cp.testdata.%PingPacketLoss;testId=142601;nodeId=266 0 1772365509
    ERROR the relay rejected a line: too_long: system.cp.testdata.TestTime(ms);testId=142604;nodeId=266 19 1772365580
    ERROR the relay rejected a line: too_long: system.cp.collector.run.milliseconds 1190 1772366401
    ERROR run=910a2dec89025cc1 outcome=ok started=2026-03-01T12:00:00Z seconds=1.2 from=2026-03-01T11:45:00Z to=2026-03-01T12:00:00Z tests=5/5 calls=lastraw_200:2,token_200:1 samples=94 nulls=5 accepted=94 rejected=3 rejected_too_long=3
    ");
    // The relay lists the first thousand only.
    host.relay.set(RelayMode::Rejects(1001));
    host.clock.advance(Duration::from_secs(900));
    let line = logged(&host);
    let counts = " rejected=3003 rejected_not_listed=3000 rejected_too_long=3";
    assert!(line.contains(counts), "{line}");
}

#[test]
fn a_run_is_killed_and_the_next_ones_wait_for_its_lease() {
    let host = host("v1", Settings::default());
    assert_eq!(host.run(Some(12)), None);
    assert_snapshot!(logged(&host), @"
    INFO another run is under way; its lease ends at 12:04:00 UTC at the latest
    INFO run=beeb8da1658eec67 outcome=skipped started=2026-03-01T12:00:00Z
    ");
    host.clock.advance(Duration::from_secs(240));
    assert!(logged(&host).contains("tests=5/5"));
}

#[test]
fn a_run_that_waits_for_a_limit_keeps_its_lease() {
    let host = host("v1", Settings::default());
    let tight = format!("{}\nlimits: {{ per_hour: 2 }}", good_tests());
    host.set_config(&yaml("v1", &tight));
    let hour = |time: &str| {
        host.clock.set(
            format!("2026-03-01T{time}Z")
                .parse::<DateTime<Utc>>()
                .unwrap(),
        )
    };
    hour("11:08:00");
    host.run(None);
    // Two calls are made and the third has to wait for eight minutes, in which the run is killed.
    hour("12:00:00");
    assert_eq!(host.run(Some(9)), None);
    assert_snapshot!(logged(&host), @"
    INFO another run is under way; its lease ends at 12:04:00 UTC at the latest
    INFO run=f893a2eefb32555e outcome=skipped started=2026-03-01T12:00:00Z
    ");
}

#[test]
fn a_run_out_of_time_leaves_the_rest_to_the_next() {
    let host = host("v1", Settings::default());
    host.set_config(&yaml(
        "v1",
        &format!("{}\nrun_deadline_seconds: 20", good_tests()),
    ));
    host.sandbox.set_faults(vec![
        Rule::new(Effect::Delay { millis: 19_900 }).on(Kind::Token),
    ]);
    assert_snapshot!(logged(&host), @"WARN run=910a2dec89025cc1 outcome=failed started=2026-03-01T12:00:00Z seconds=20.5 tests=0/5 calls=token_200:1 samples=0 nulls=0 accepted=0 rejected=0 | lastraw of tests 142600,142601,142602: the answer took too long; nothing is lost: the next run fills the gap; if it stays, ask Catchpoint's support | lastraw of tests 142603,142604: the run's time was up; nothing is lost: the next run goes on from here; raise run_deadline_seconds if it happens often");
}

/// An alert on a series that does not exist never fires.
#[test]
fn the_series_of_the_alerts_exist() {
    let report = host("v1", Settings::default()).run(None).unwrap();
    let lines = report.lines("…collector");
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
