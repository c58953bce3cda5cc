//! The way of a post, end to end.

use catchpoint_testbed::{Conduct, StandIn, pipeline};
use serde_json::json;

use crate::common::*;

#[test]
fn lines_are_stored_answered_and_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let relay = Program::start(dir.path(), carbon.addr(), &[]);
    let good = lines(1, 3);
    let answer = post(
        relay.addr,
        format!("{}bad\nworse nan 1700000000", body(&good)),
    );
    assert_eq!(answer.status, 202, "{}", answer.body);
    let mut said = answer.json();
    assert!(said["batch"].take().is_string());
    assert_eq!(
        said,
        json!({
            "batch": null, "accepted": 3, "rejected_total": 2,
            "rejected": [
                {"line": 4, "reason": "not_three_fields"},
                {"line": 5, "reason": "value_not_finite"},
            ],
        })
    );
    wait_all(&carbon, &good.into_iter().collect());
    until("the confirmation", || {
        (metric(relay.addr, "lines_confirmed_total") == 3.0).then_some(())
    });
    assert_eq!(
        metric(
            relay.addr,
            "lines_rejected_total{reason=\"value_not_finite\"}"
        ),
        1.0
    );
    assert_eq!(get(relay.addr, "/healthz").status, 200);
    until("carbon to count as up", || {
        (get(relay.addr, "/readyz").json()["carbon"] == "up").then_some(())
    });
    let samples = std::fs::read_to_string(dir.path().join("spool/rejected/lines.log")).unwrap();
    assert!(
        samples.contains("value_not_finite line 5: worse nan 1700000000"),
        "{samples}"
    );
    let status = relay.process.stop(SOON).unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_key_posted_again_gets_the_first_answer() {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let relay = Inner::start(settings(dir.path(), carbon.addr()));
    let time = (pipeline::epoch_seconds() - 20).to_string();
    let key = [
        ("idempotency-key", "collector-1/window-17"),
        ("result-time", time.as_str()),
    ];
    let good = lines(1, 10);
    let text = format!("{}bad\n", body(&good));
    let first = post_with(relay.addr, &key, &text);
    assert_eq!(first.status, 202);
    relay.wait_delivered();
    assert_eq!(post_with(relay.addr, &key, &text).body, first.body);
    // A result is counted once, and one without a time not at all.
    let odd_lines = lines(9, 1);
    let odd = post_with(relay.addr, &[("result-time", "soon")], body(&odd_lines));
    assert_eq!(odd.status, 202);
    let of_result = |name| metric(relay.addr, &format!("result_{name}"));
    let counted = ["lines_total", "age_seconds_count"].map(of_result);
    assert_eq!(counted, [10.0, 1.0]);
    assert!((20.0..60.0).contains(&of_result("age_seconds_sum")));
    // Other lines under the same key are not taken for those.
    let other = lines(3, 5);
    let answer = post_with(relay.addr, &key, body(&other));
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (202, &5.into())
    );
    wait_all(
        &carbon,
        &[good, odd_lines, other].concat().into_iter().collect(),
    );
    relay.wait_delivered();
    assert_eq!(relay.content().confirmed.lines, 16);
}
