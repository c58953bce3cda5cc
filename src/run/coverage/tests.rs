use proptest::prelude::*;

use super::*;

fn range(from: i64, to: i64) -> TimeRange {
    TimeRange { from, to }
}

fn list(ranges: &Ranges) -> Vec<(i64, i64)> {
    ranges.iter().map(|range| (range.from, range.to)).collect()
}

#[test]
fn ranges_extend_leave_gaps_and_fill_them() {
    for (covered, until, gaps) in [
        (&[(100, 200)][..], 200, &[][..]),
        (&[(90, 150), (140, 200)], 200, &[]),
        (&[(150, 200)], 200, &[(100, 150)]),
        (&[(150, 200), (250, 300)], 300, &[(100, 150), (200, 250)]),
        (&[(150, 200), (250, 300), (100, 300)], 300, &[]),
        (&[(200, 300), (120, 130)], 300, &[(100, 120), (130, 200)]),
        (&[(150, 150), (160, 150)], 100, &[]),
    ] {
        let mut coverage = Coverage::starting(100);
        for (from, to) in covered {
            coverage.cover(range(*from, *to));
        }
        assert_eq!(
            (coverage.until, list(&coverage.gaps)),
            (until, gaps.to_vec())
        );
    }
}

#[test]
fn what_is_too_old_is_given_up_and_counted_but_requests_stay() {
    let mut coverage = Coverage::starting(100);
    coverage.cover(range(150, 200));
    coverage.request(range(0, 90));
    assert_eq!(coverage.give_up_before(120), 20);
    assert_eq!(list(&coverage.gaps), [(120, 150)]);
    assert_eq!(coverage.give_up_before(300), 130);
    assert_eq!((coverage.first_missing(0), coverage.until), (300, 300));
    assert_eq!(list(&coverage.requested), [(0, 90)]);
}

#[test]
fn results_settle_once_no_late_one_can_arrive() {
    let mut coverage = Coverage::starting(100);
    // The second range leaves out something older and settles nothing.
    for (from, to, now, settled) in [
        (100, 200, 210, 180),
        (190, 300, 900, 180),
        (170, 300, 900, 300),
    ] {
        coverage.settle(range(from, to), now, 30);
        assert_eq!(coverage.settled, settled, "{from}..{to}");
    }
}

#[test]
fn the_first_missing_second_after_a_time() {
    let mut coverage = Coverage::starting(0);
    coverage.cover(range(10, 50));
    coverage.cover(range(60, 100));
    for (time, first) in [
        (-5, 0),
        (0, 0),
        (4, 4),
        (10, 50),
        (55, 55),
        (60, 100),
        (200, 200),
    ] {
        assert_eq!(coverage.first_missing(time), first, "{time}");
    }
}

/// Of the range 1000 to 3000, the time up to 2000 was asked for.
#[test]
fn a_request_ends_when_it_is_answered_even_with_nothing() {
    for (covered, left) in [
        ((1000, 2000), &[(2000, 3000)][..]),
        ((1000, 1999), &[(2000, 3000)]),
        // It ends early: the rest is asked for.
        ((1000, 1500), &[(1500, 3000)]),
        // It begins some seconds late, or so late that its beginning is asked for again.
        ((1100, 2000), &[(2000, 3000)]),
        ((1500, 2000), &[(1000, 1500), (2000, 3000)]),
        // It is about another time.
        ((1000, 1000), &[(1000, 3000)]),
        ((500, 700), &[(1000, 3000)]),
        ((2500, 2000), &[(1000, 3000)]),
        ((3500, 4000), &[(1000, 3000)]),
    ] {
        let mut coverage = Coverage::starting(9000);
        coverage.request(range(1000, 3000));
        coverage.answer_requested(range(1000, 2000), range(covered.0, covered.1));
        assert_eq!(list(&coverage.requested), left, "{covered:?}");
    }
}

#[test]
fn a_request_is_cancelled_in_part_and_made_anew() {
    let mut coverage = Coverage::starting(9000);
    coverage.request(range(200, 300));
    coverage.cancel(range(250, 900));
    assert_eq!(list(&coverage.requested), [(200, 250)]);
    coverage.request(range(100, 300));
    assert_eq!(list(&coverage.requested), [(100, 300)]);
}

#[test]
fn coverage_of_version_0_1_is_read() {
    let stored =
        r#"{"until":1772365500,"settled":1772365200,"gaps":[{"from":1772360000,"to":1772360900}]}"#;
    let coverage: Coverage = serde_json::from_str(stored).unwrap();
    assert_eq!(coverage.gaps.seconds(), 900);
    let short =
        r#"{"until":1772365500,"settled":1772365200,"gaps":[1772360000,900],"requested":[]}"#;
    assert_eq!(serde_json::to_string(&coverage).unwrap(), short);
    assert!(serde_json::from_str::<Coverage>(&short.replace(",900", "")).is_err());
}

#[test]
fn c02_edges_far_apart_are_not_joined() {
    let mut coverage = Coverage::starting(0);
    for run in 1..=96 {
        let end = run * 902;
        coverage.cover(range(end - 900, end));
    }
    assert_eq!(
        (coverage.gaps.seconds(), coverage.longest_gap()),
        (96 * 2, 2)
    );
    // They fit into few bytes.
    let json = serde_json::to_string(&coverage).unwrap();
    assert!(json.len() < 1000, "{}", json.len());
}

/// What can happen to a coverage.
#[derive(Debug, Clone)]
enum Event {
    Cover(i64, i64),
    GiveUp(i64),
    Request(i64, i64),
    Cancel(i64, i64),
}

fn event() -> impl Strategy<Value = Event> {
    let bounds = || (0i64..2000, 1i64..9);
    prop_oneof![
        20 => bounds().prop_map(|(from, len)| Event::Cover(from, from + len)),
        1 => (0i64..400).prop_map(Event::GiveUp),
        1 => bounds().prop_map(|(from, len)| Event::Request(from, from + len * 40)),
        1 => bounds().prop_map(|(from, len)| Event::Cancel(from, from + len * 20)),
    ]
}

fn holds(ranges: &Ranges, second: i64) -> bool {
    ranges.within(range(second, second + 1)).count() == 1
}

proptest! {
    /// Invariant 8: fetched time never counts as missing, missing time never counts as fetched, and
    /// what is requested is what was requested and neither answered nor cancelled.
    #[test]
    fn c02_missing_is_what_was_not_fetched(events in proptest::collection::vec(event(), 0..1500)) {
        const SECONDS: i64 = 2400;
        let mut coverage = Coverage::starting(0);
        let mut fetched = vec![false; SECONDS as usize];
        let mut requested = vec![false; SECONDS as usize];
        let mut given_up = 0;
        for event in events {
            match event {
                Event::Cover(from, to) => {
                    given_up += coverage.cover(range(from, to)).given_up;
                    fetched[from as usize..to as usize].fill(true);
                    requested[from as usize..to as usize].fill(false);
                }
                Event::GiveUp(time) => given_up += coverage.give_up_before(time),
                Event::Request(from, to) => {
                    coverage.request(range(from, to));
                    requested[from as usize..to as usize].fill(true);
                }
                Event::Cancel(from, to) => {
                    coverage.cancel(range(from, to));
                    requested[from as usize..to as usize].fill(false);
                }
            }
        }
        prop_assert!(coverage.gaps.iter().count() <= MAX_GAPS);
        let (mut unfetched, mut missing) = (0, 0);
        for second in 0..coverage.until {
            let fetched = fetched[second as usize];
            let is_missing = holds(&coverage.gaps, second);
            prop_assert!(!(fetched && is_missing), "second {second} was fetched");
            unfetched += i64::from(!fetched);
            missing += i64::from(is_missing);
        }
        // Time that was given up may have been fetched afterwards.
        prop_assert!(missing + given_up >= unfetched);
        if given_up == 0 {
            prop_assert_eq!(missing, unfetched);
        }
        prop_assert_eq!(missing, coverage.gaps.seconds());
        prop_assert!(fetched[coverage.until as usize..].iter().all(|fetched| !fetched));
        for (second, requested) in (0..).zip(requested) {
            prop_assert_eq!(holds(&coverage.requested, second), requested, "second {}", second);
        }
        let json = serde_json::to_string(&coverage).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Coverage>(&json).unwrap(), &coverage);
        let gaps = list(&coverage.gaps);
        prop_assert!(gaps.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }
}
