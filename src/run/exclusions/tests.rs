use super::*;
use crate::time_range::TimeRange;

const NOW: i64 = 1_000_000;
const HOUR: i64 = 3600;
const REGULAR: Purpose = Purpose::Regular;
const GAP: Purpose = Purpose::Gap;

fn query(tests: &[u64]) -> Query {
    let range = TimeRange { from: 0, to: 900 };
    Query::Explorer(tests.to_vec(), range)
}

/// Whether a test is skipped, and if not whether it goes alone, so many hours from now.
fn fate(exclusions: &Exclusions, test: u64, purpose: Purpose, hours: i64) -> &'static str {
    let now = NOW + hours * HOUR;
    match exclusions.refused(test, purpose, now) {
        Some(_) => "skipped",
        None if exclusions.is_alone(test, purpose, now) => "alone",
        None => "together",
    }
}

#[test]
fn what_was_learned_of_a_test_decides_about_its_calls() {
    type Learn = fn(&mut Exclusions);
    let refuse: Learn = |learned| {
        learned.refuse(2, REGULAR, "no", NOW);
    };
    let refuse_past: Learn = |learned| {
        learned.refuse(2, GAP, "no", NOW);
    };
    let refuse_requested: Learn = |learned| {
        learned.refuse(2, Purpose::Requested, "no", NOW);
    };
    let alone: Learn = |learned| {
        learned.ask_alone(2, REGULAR, NOW);
        learned.fail(&query(&[2]), REGULAR);
        learned.clear(&query(&[2]), REGULAR);
    };
    let clear: Learn = |learned| {
        learned.refuse(2, REGULAR, "no", NOW);
        assert_eq!(learned.clear(&query(&[1, 2]), GAP), [0; 0]);
        assert_eq!(learned.clear(&query(&[1, 2]), REGULAR), [2]);
        assert_eq!(learned.clear(&query(&[1, 2]), REGULAR), [0; 0]);
    };
    let retry: Learn = |learned| {
        learned.refuse(2, GAP, "no", NOW);
        learned.refuse_past("no", NOW);
        learned.retry_refused();
        assert_eq!(*learned, Exclusions::default());
    };
    let ahead: Learn = |learned| {
        learned.refuse(2, REGULAR, "no", NOW + 30 * HOUR);
    };
    for (what, learn, expect) in [
        (
            "refused",
            refuse,
            [
                (REGULAR, 5, "skipped"),
                (REGULAR, 6, "alone"),
                (REGULAR, 500, "alone"),
                (GAP, 0, "alone"),
            ],
        ),
        (
            "refused for past time",
            refuse_past,
            [
                (GAP, 5, "skipped"),
                (GAP, 6, "alone"),
                (REGULAR, 0, "together"),
                (GAP, 500, "alone"),
            ],
        ),
        (
            "refused for requested time",
            refuse_requested,
            [
                (GAP, 0, "skipped"),
                (GAP, 1, "alone"),
                (REGULAR, 0, "together"),
                (GAP, 500, "alone"),
            ],
        ),
        (
            "answered alone",
            alone,
            [
                (REGULAR, 0, "alone"),
                (REGULAR, 23, "alone"),
                (REGULAR, 24, "together"),
                (GAP, 0, "alone"),
            ],
        ),
        (
            "answered again",
            clear,
            [
                (REGULAR, 0, "together"),
                (GAP, 0, "together"),
                (REGULAR, 6, "together"),
                (GAP, 6, "together"),
            ],
        ),
        (
            "tried again",
            retry,
            [
                (REGULAR, 0, "together"),
                (GAP, 0, "together"),
                (REGULAR, 6, "together"),
                (GAP, 6, "together"),
            ],
        ),
        (
            "refused by a clock that was ahead",
            ahead,
            [
                (REGULAR, 0, "alone"),
                (GAP, 0, "alone"),
                (REGULAR, 500, "alone"),
                (GAP, 500, "alone"),
            ],
        ),
    ] {
        let mut exclusions = Exclusions::default();
        learn(&mut exclusions);
        for (purpose, hours, fate_then) in expect {
            let found = fate(&exclusions, 2, purpose, hours);
            assert_eq!(found, fate_then, "{what}, {purpose:?} after {hours} hours");
            assert_eq!(fate(&exclusions, 1, purpose, hours), "together", "{what}");
        }
    }
}

#[test]
fn the_first_refusal_says_since_when() {
    let mut exclusions = Exclusions::default();
    let later = NOW + 6 * HOUR;
    let times = [NOW, later].map(|now| exclusions.refuse(2, REGULAR, "no", now));
    assert_eq!(times, [1, 2]);
    let exclusion = exclusions.refused(2, REGULAR, later).unwrap();
    assert_eq!((exclusion.since, exclusion.until), (NOW, NOW + 12 * HOUR));
    exclusions.retain(|test| test != 2, later);
    assert!(exclusions.was_refused(2, REGULAR));
    exclusions.retain(|test| test != 2, later + 7 * HOUR);
    assert_eq!(exclusions, Exclusions::default());
}

#[test]
fn c02_when_no_call_for_past_time_is_answered_none_is_made_for_six_hours() {
    let mut exclusions = Exclusions::default();
    exclusions.refuse_past("no", NOW);
    assert!(exclusions.refused_past(NOW + 5 * HOUR).is_some());
    assert!(exclusions.refused_past(NOW + 6 * HOUR).is_none());
    exclusions.clear(&query(&[1]), GAP);
    assert!(exclusions.refused_past(NOW).is_none());
}

#[test]
fn what_failed_or_was_refused_comes_last_until_it_is_answered() {
    let mut exclusions = Exclusions::default();
    exclusions.fail(&query(&[1, 2]), REGULAR);
    exclusions.refuse(4, REGULAR, "no", NOW);
    let last = |exclusions: &Exclusions| {
        [&[2, 3][..], &[3], &[4]].map(|tests| exclusions.comes_last(&query(tests), REGULAR))
    };
    assert_eq!(last(&exclusions), [true, false, true]);
    assert_eq!(fate(&exclusions, 1, REGULAR, 0), "together");
    exclusions.clear(&query(&[1, 2, 4]), REGULAR);
    assert_eq!(last(&exclusions), [false, false, false]);
}

#[test]
fn the_size_of_calls_is_limited_for_a_day_and_not_by_a_clock_that_was_ahead() {
    let mut exclusions = Exclusions::default();
    exclusions.clear(&query(&[1, 2]), GAP);
    assert!(exclusions.past_batches_work());
    exclusions.limit_tests(1, GAP, "no lists", NOW);
    exclusions.limit_seconds(900, GAP, "too large", NOW);
    let size = |now| {
        let size = exclusions.call_size(GAP, now);
        (size.tests, size.seconds)
    };
    for (hours, expect) in [
        (0, (Some(1), Some(900))),
        (23, (Some(1), Some(900))),
        (24, (None, None)),
        (-1, (None, None)),
    ] {
        assert_eq!(size(NOW + hours * HOUR), expect, "{hours}");
    }
    assert_eq!(exclusions.call_size(REGULAR, NOW), CallSize::default());
    assert!(!exclusions.past_batches_work());
    insta::assert_debug_snapshot!(exclusions.size_limits(NOW), @r#"
    [
        "limit in force: at most 1 test in a call for past time: too large",
        "limit in force: at most 900 s in a call for past time: too large",
    ]
    "#);
}
