//! The way of a post, end to end.

use crate::common::*;

#[test]
fn lines_are_stored_answered_and_delivered() {
    let (relay, carbon, dir) = start_program(&[]);
    let good = lines(1, 3);
    let answer = post(relay.addr, format!("{}worse nan 1700000000", body(&good)));
    assert_eq!(answer.status, 202, "{}", answer.body);
    wait_all(&carbon, &good.into_iter().collect());
    until("the confirmation", || {
        (metric(relay.addr, "lines_confirmed_total") == 3.0).then_some(())
    });
    let refused = "lines_rejected_total{reason=\"value_not_finite\"}";
    assert_eq!(metric(relay.addr, refused), 1.0);
    let samples = std::fs::read_to_string(dir.path().join("spool/rejected/lines.log")).unwrap();
    assert!(
        samples.contains("value_not_finite line 4: worse nan 1700000000"),
        "{samples}"
    );
    let status = relay.process.stop(SOON).unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_key_posted_again_gets_the_first_answer() {
    let (relay, carbon, _dir) = start_with(|_| {});
    let key = [("idempotency-key", "collector-1/window-17")];
    let good = lines(1, 10);
    let text = format!("{}bad\n", body(&good));
    let first = post_with(relay.addr, &key, &text);
    assert_eq!(first.status, 202);
    relay.wait_delivered();
    assert_eq!(post_with(relay.addr, &key, &text).body, first.body);
    // Other lines under the same key are not taken for those.
    let other = lines(3, 5);
    let answer = post_with(relay.addr, &key, body(&other));
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (202, &5.into())
    );
    wait_all(&carbon, &[good, other].concat().into_iter().collect());
    relay.wait_delivered();
    assert_eq!(relay.content().confirmed.lines, 15);
}
