use super::*;

const NOW: i64 = 1_000_000;
const HOUR: i64 = 3600;

fn refusal(test: u64, purpose: Purpose) -> Refusal {
    let reason = "no such test".to_owned();
    Refusal {
        test,
        purpose,
        reason,
    }
}

fn refused(refusals: &[(u64, Purpose)], answered: bool) -> Exclusions {
    let mut exclusions = Exclusions::default();
    let refusals = refusals.iter();
    let refusals = refusals.map(|(test, purpose)| refusal(*test, *purpose));
    exclusions.record_refusals(refusals.collect(), answered, NOW);
    exclusions
}

fn query(tests: &[u64]) -> Query {
    let range = TimeRange { from: 0, to: 900 };
    Query::Explorer(tests.to_vec(), range)
}

#[test]
fn a_refused_test_is_skipped_for_six_hours_and_then_asked_for_alone() {
    let exclusions = refused(&[(2, Purpose::Regular)], true);
    let split = |hours: i64| exclusions.split(&[1, 2, 3], NOW + hours * HOUR);
    assert_eq!(split(5), (vec![], vec![1, 3]));
    assert_eq!(split(6), (vec![2], vec![1, 3]));
    assert_eq!(split(500), (vec![2], vec![1, 3]));
    assert!(exclusions.refused(2, Purpose::Gap, NOW).is_none());
}

#[test]
fn the_first_refusal_says_since_when() {
    let mut exclusions = refused(&[(2, Purpose::Regular)], true);
    let later = NOW + 6 * HOUR;
    exclusions.record_refusals(vec![refusal(2, Purpose::Regular)], true, later);
    let exclusion = exclusions.refused(2, Purpose::Regular, later).unwrap();
    assert_eq!((exclusion.since, exclusion.until), (NOW, NOW + 12 * HOUR));
}

#[test]
fn an_answer_clears_a_refusal_and_says_so_once() {
    let mut exclusions = refused(&[(2, Purpose::Regular)], true);
    assert_eq!(exclusions.clear(&query(&[1, 2]), Purpose::Gap), [0; 0]);
    assert_eq!(exclusions.clear(&query(&[1, 2]), Purpose::Regular), [2]);
    assert_eq!(exclusions.clear(&query(&[1, 2]), Purpose::Regular), [0; 0]);
}

#[test]
fn a_test_that_is_answered_alone_stays_alone_for_a_day() {
    let mut exclusions = Exclusions::default();
    exclusions.ask_alone(3, Purpose::Regular, NOW);
    exclusions.fail(&query(&[3]), Purpose::Regular);
    exclusions.clear(&query(&[3]), Purpose::Regular);
    assert_eq!(
        exclusions.split(&[1, 3], NOW + 23 * HOUR),
        (vec![3], vec![1])
    );
    assert_eq!(
        exclusions.split(&[1, 3], NOW + 24 * HOUR),
        (vec![], vec![1, 3])
    );
}

#[test]
fn c02_when_no_call_for_past_time_is_answered_none_is_made_for_six_hours() {
    let both = [(1, Purpose::Gap), (2, Purpose::Requested)];
    let exclusions = refused(&both, false);
    assert!(exclusions.refused_past(NOW + 5 * HOUR).is_some());
    assert!(exclusions.refused_past(NOW + 6 * HOUR).is_none());
    assert!(refused(&both, true).refused_past(NOW).is_none());
    assert!(refused(&both[..1], false).refused_past(NOW).is_none());
    let mut exclusions = refused(&both, false);
    exclusions.retry_refused();
    assert_eq!(exclusions, Exclusions::default());
}

#[test]
fn what_failed_comes_last_until_it_is_answered() {
    let mut exclusions = Exclusions::default();
    exclusions.fail(&query(&[1, 2]), Purpose::Regular);
    let failed = |exclusions: &Exclusions| {
        [&[2, 3][..], &[3]].map(|tests| exclusions.has_failed(&query(tests), Purpose::Regular))
    };
    assert_eq!(failed(&exclusions), [true, false]);
    assert_eq!(exclusions.split(&[1], NOW), (vec![], vec![1]));
    exclusions.clear(&query(&[1, 2]), Purpose::Regular);
    assert_eq!(failed(&exclusions), [false, false]);
}

#[test]
fn a_clock_that_was_ahead_leaves_nothing() {
    let mut exclusions = refused(&[(1, Purpose::Gap), (2, Purpose::Gap)], false);
    exclusions.retain(|_| true, NOW - 30 * HOUR);
    assert_eq!(exclusions, Exclusions::default());
    let mut exclusions = refused(&[(1, Purpose::Gap), (2, Purpose::Gap)], true);
    exclusions.retain(|test| test == 1, NOW + 7 * HOUR);
    assert_eq!(exclusions.past.len(), 1);
}

#[test]
fn a_size_of_a_clock_that_was_ahead_is_forgotten() {
    let mut exclusions = Exclusions::default();
    exclusions.halve_tests(4, Purpose::Gap, NOW + 1000 * HOUR);
    exclusions.retain(|_| true, NOW);
    assert_eq!(exclusions.call_size(Purpose::Gap, NOW), CallSize::default());
    exclusions.halve_tests(4, Purpose::Gap, NOW);
    exclusions.retain(|_| true, NOW);
    assert_eq!(exclusions.call_size(Purpose::Gap, NOW).tests, Some(2));
}
