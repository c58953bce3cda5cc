//! Faults and limits, as a caller meets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use catchpoint_sandbox::{
    Effect, Kind, Limits, Outcome, Peak, Rule, Sandbox, Settings, TestType, TokenTrouble, World,
};
use common::{LASTRAW, START, V2, answer, get, json, sandbox, time, token, token_request, with};
use http::Request;

fn world() -> World {
    World::builder().only(&[TestType::Ping]).nodes(1).build()
}

/// The three answers to a token call, a LastRaw and a v2 call while a fault is on.
fn answers(effect: Effect) -> [(u16, String); 3] {
    let sandbox = sandbox(world());
    let token = token(&sandbox);
    sandbox.add_fault(Rule::new(effect));
    [
        answer(&sandbox, token_request("sandbox-client", "sandbox-secret")),
        get(&sandbox, &format!("{LASTRAW}?tests=142600"), &token),
        get(&sandbox, &format!("{V2}?testIds=142600"), "sandbox-key"),
    ]
}

fn last_raw(token: &str) -> Request<Vec<u8>> {
    Request::get(format!("{LASTRAW}?tests=142600"))
        .header("authorization", format!("Bearer {token}"))
        .body(Vec::new())
        .unwrap()
}

#[test]
fn a_status() {
    for code in [429, 500, 502, 503] {
        for (status, text) in answers(Effect::Status {
            code,
            retry_after: None,
        }) {
            assert_eq!(status, code);
            json(&text);
        }
    }
    assert_eq!(
        answers(Effect::Status {
            code: 99,
            retry_after: None
        })[0]
            .0,
        500
    );
}

#[test]
fn a_status_with_retry_after() {
    let sandbox = sandbox(world());
    sandbox.add_fault(
        Rule::new(Effect::Status {
            code: 429,
            retry_after: Some(30),
        })
        .times(1),
    );
    let request = || token_request("sandbox-client", "sandbox-secret");
    let response = sandbox.handle(&request()).answer().unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["retry-after"]
        ),
        (429, &"30".parse().unwrap())
    );
    assert_eq!(answer(&sandbox, request()).0, 200);
}

#[test]
fn a_delay_is_told_and_not_waited_for() {
    let sandbox = sandbox(world());
    sandbox.add_fault(Rule::new(Effect::Delay { millis: 3_600_000 }));
    let reply = sandbox.handle(&token_request("sandbox-client", "sandbox-secret"));
    assert_eq!(reply.delay, Duration::from_secs(3600));
    assert_eq!(reply.answer().unwrap().status(), 200);
    assert_eq!(sandbox.calls()[0].fault.as_deref(), Some("delay"));
}

#[test]
fn a_cut_answer_is_the_start_of_the_good_one() {
    let sandbox = sandbox(world());
    let token = token(&sandbox);
    let (_, whole) = answer(&sandbox, last_raw(&token));
    let items = sandbox.served()[&TestType::Ping].items;
    let cut = |after| {
        sandbox.set_faults(vec![Rule::new(Effect::Truncate { after })]);
        let response = sandbox.handle(&last_raw(&token)).answer().unwrap();
        let mut read = Vec::new();
        let error = response.into_body().read_to_end(&mut read).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        String::from_utf8(read).unwrap()
    };
    assert_eq!(cut(None), whole.split_at(whole.len() / 2).0);
    assert_eq!(cut(Some(10)), whole.split_at(10).0);
    assert!(
        sandbox.served()[&TestType::Ping].items < 3 * items,
        "measuring is not serving"
    );
}

#[test]
fn html() {
    for code in [200, 502] {
        for (status, text) in answers(Effect::Html { code }) {
            assert_eq!(status, code);
            assert!(text.starts_with("<!DOCTYPE html>"), "{text}");
        }
    }
}

#[test]
fn an_expired_token() {
    let [_, v1, v2] = answers(Effect::ExpiredToken {
        trouble: TokenTrouble::Unauthorized,
    });
    assert_eq!(v1, (401, r#"{"Message":"Expired token"}"#.to_owned()));
    assert_eq!(
        (v2.0, &json(&v2.1)["errors"][0]["message"]),
        (401, &"Expired token".into())
    );
    let [_, v1, _] = answers(Effect::ExpiredToken {
        trouble: TokenTrouble::Message,
    });
    assert_eq!(v1, (200, r#"{"Message":"Expired token"}"#.to_owned()));
}

#[test]
fn an_error_inside_200() {
    let [_, v1, v2] = answers(Effect::Error {
        message: "Something broke".into(),
    });
    assert_eq!(v1, (200, r#"{"error":"Something broke"}"#.to_owned()));
    let answer = json(&v2.1);
    assert_eq!(
        (v2.0, &answer["completed"], &answer["data"]),
        (200, &false.into(), &().into())
    );
    assert_eq!(answer["errors"][0]["message"], "Something broke");
}

#[test]
fn a_wrong_shape_is_good_json() {
    let [token, v1, v2] = answers(Effect::WrongShape);
    assert!(json(&token.1)["access_token"].is_null());
    assert!(json(&v1.1)["detail"]["items"].is_object());
    assert!(json(&v2.1)["data"].is_array());
}

#[test]
fn a_refused_connection_never_arrives() {
    let sandbox = sandbox(world());
    sandbox.add_fault(Rule::new(Effect::Refuse).on(Kind::Token).times(1));
    let request = token_request("sandbox-client", "sandbox-secret");
    assert!(matches!(sandbox.handle(&request).outcome, Outcome::Refused));
    assert_eq!(sandbox.peak(), Peak::default());
    let call = &sandbox.calls()[0];
    assert_eq!((call.status, call.fault.as_deref()), (None, Some("refuse")));
    assert_eq!(answer(&sandbox, request).0, 200);
}

#[test]
fn a_fault_of_one_test_spares_the_others() {
    let sandbox = sandbox(world());
    let token = token(&sandbox);
    sandbox.add_fault(
        Rule::new(Effect::Error {
            message: "No".into(),
        })
        .test(142_601),
    );
    let ask = |ids: &str| json(&get(&sandbox, &format!("{LASTRAW}?tests={ids}"), &token).1);
    assert_eq!(ask("142600,142601")["error"], "No");
    assert!(ask("142600,142602")["detail"].is_object());
}

#[test]
fn an_outage_lasts_its_time() {
    let sandbox = sandbox(world());
    let outage = Rule::new(Effect::Status {
        code: 503,
        retry_after: None,
    });
    sandbox.add_fault(outage.between(time(START + 60), time(START + 120)));
    let mut status = |second| {
        sandbox.clock().set(time(START + second));
        answer(&sandbox, token_request("sandbox-client", "sandbox-secret")).0
    };
    assert_eq!([59, 60, 119, 120].map(&mut status), [200, 503, 503, 200]);
}

/// Statuses of calls that come so many a second, from [`START`] on.
fn pace(sandbox: &Sandbox, calls: u32, gap: Duration) -> Vec<u16> {
    let call = || {
        let status = get(sandbox, &format!("{V2}?testIds=142600"), "sandbox-key").0;
        sandbox.clock().advance(gap);
        status
    };
    std::iter::repeat_with(call).take(calls as usize).collect()
}

#[test]
fn limits_are_kept_by_the_clock() {
    let check = |calls, gap, refused_from: usize| {
        let sandbox = with(world(), Settings::default());
        let statuses = pace(&sandbox, calls, gap);
        let refused = statuses.iter().position(|status| *status == 429);
        assert_eq!(refused, Some(refused_from));
        assert_eq!(statuses.len(), sandbox.calls().len());
        assert!(sandbox.peak().exceeds(&Limits::default()));
    };
    check(10, Duration::from_millis(100), 7);
    check(30, Duration::from_millis(1500), 20);
    check(600, Duration::from_millis(3600), 500);
}

#[test]
fn a_limit_goes_before_a_fault() {
    let sandbox = with(world(), Settings::default());
    pace(&sandbox, 7, Duration::ZERO);
    sandbox.add_fault(Rule::new(Effect::WrongShape));
    assert_eq!(pace(&sandbox, 1, Duration::from_secs(1)), [429]);
    assert_eq!(pace(&sandbox, 1, Duration::from_secs(1)), [200]);
    let faults: Vec<_> = sandbox
        .calls()
        .into_iter()
        .skip(7)
        .map(|call| call.fault)
        .collect();
    assert_eq!(faults, [None, Some("wrong_shape".to_owned())]);
}

#[test]
fn who_keeps_the_pace_is_never_refused() {
    let sandbox = with(world(), Settings::default());
    let statuses = pace(&sandbox, 600, Duration::from_secs(8));
    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!(
        sandbox.peak(),
        Peak {
            second: 1,
            minute: 8,
            hour: 450,
            day: 600
        }
    );
    assert!(!sandbox.peak().exceeds(&Limits::default()));
}

#[test]
fn the_daily_quota_says_so_and_ends_at_midnight() {
    let limits = Limits {
        day: 3,
        ..Limits::default()
    };
    let settings = Settings {
        limits: Some(limits),
        retry_after: true,
        ..Settings::default()
    };
    let sandbox = with(world(), settings);
    assert_eq!(
        pace(&sandbox, 4, Duration::from_secs(10)),
        [200, 200, 200, 429]
    );
    let uri = format!("{V2}?testIds=142600");
    let request = Request::get(&uri).header("authorization", "Bearer sandbox-key");
    let response = sandbox
        .handle(&request.body(Vec::new()).unwrap())
        .answer()
        .unwrap();
    // Two hours to midnight, less the 40 seconds that went by.
    assert_eq!(response.headers()["retry-after"], "7160");
    let mut text = String::new();
    response.into_body().read_to_string(&mut text).unwrap();
    let usage = &json(&text)["usageLimits"];
    assert_eq!(
        (&usage["limits"]["day"], &usage["runs"]["day"]),
        (&3.into(), &3.into())
    );
    assert!(
        usage["exceededMessage"]
            .as_str()
            .unwrap()
            .contains("quota exceeded")
    );
    let (_, v1) = get(&sandbox, &format!("{LASTRAW}?tests=142600"), "x");
    assert!(
        json(&v1)["Message"]
            .as_str()
            .unwrap()
            .contains("quota exceeded")
    );
    sandbox.clock().set(time(START + 7200));
    assert_eq!(get(&sandbox, &uri, "sandbox-key").0, 200);
}

#[test]
fn calls_are_recorded_as_they_were() {
    let sandbox = sandbox(world());
    let token = token(&sandbox);
    get(&sandbox, &format!("{LASTRAW}?tests=142600,142601"), &token);
    get(
        &sandbox,
        &format!("{LASTRAW}/142602?startTime=2023-11-14T21:00:00"),
        "wrong",
    );
    sandbox.add_fault(Rule::new(Effect::Status {
        code: 500,
        retry_after: None,
    }));
    get(&sandbox, &format!("{V2}?testIds=142600"), "sandbox-key");
    let calls: Vec<_> = sandbox
        .calls()
        .into_iter()
        .map(|call| {
            (
                call.kind,
                call.tests,
                call.status,
                call.fault,
                call.credentials_ok,
            )
        })
        .collect();
    assert_eq!(
        calls,
        [
            (Kind::Token, vec![], Some(200), None, true),
            (Kind::LastRaw, vec![142_600, 142_601], Some(200), None, true),
            (Kind::Ranged, vec![142_602], Some(401), None, false),
            (
                Kind::V2,
                vec![142_600],
                Some(500),
                Some("status".to_owned()),
                true
            ),
        ]
    );
}
