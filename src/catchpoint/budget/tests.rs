use serde_json::json;

use super::*;

const LIMITS: Limits = Limits {
    per_second: 2,
    per_minute: 4,
    per_hour: 6,
    per_day: 8,
};

/// Makes calls as early as the budget lets them and returns the second of each.
fn calls(start: &str, count: usize) -> Vec<i64> {
    let mut now: DateTime<Utc> = start.parse().unwrap();
    let begin = now;
    let mut budget = Budget::new(LIMITS, Used::default());
    (0..count)
        .map(|_| {
            if let Some(wait) = budget.wait(now) {
                now = wait.1;
            }
            assert_eq!(budget.wait(now), None);
            budget.count(now);
            (now - begin).num_seconds()
        })
        .collect()
}

#[test]
fn each_limit_makes_calls_wait() {
    assert_eq!(
        calls("2026-03-01T06:00:00Z", 9),
        [0, 0, 1, 1, 60, 60, 3600, 3600, 64_800]
    );
}

#[test]
fn the_day_begins_anew_at_midnight_utc_but_the_hour_goes_on() {
    assert_eq!(calls("2026-03-01T23:59:00Z", 7), [0, 0, 1, 1, 60, 60, 3600]);
}

#[test]
fn catchpoints_count_wins_when_it_is_higher() {
    let now = "2026-03-01T06:00:00Z".parse().unwrap();
    let mut budget = Budget::new(LIMITS, Used::default());
    budget.count(now);
    budget.observe(&json!({"runs": {"day": 5}}), now);
    assert_eq!(budget.left_today(now), 3);
    budget.observe(&json!({"runs": {"day": 5}, "limits": {"day": 6}}), now);
    assert_eq!(budget.left_today(now), 1);
    budget.used_today(6, now);
    assert_eq!(budget.wait(now).unwrap().0, "per_day");
}

#[test]
fn a_call_counts_from_when_it_goes_out() {
    let now: DateTime<Utc> = "2026-03-01T06:00:00Z".parse().unwrap();
    let mut budget = Budget::new(LIMITS, Used::default());
    for _ in 0..LIMITS.per_second {
        budget.count(now);
    }
    let later = now + Duration::from_secs(5);
    assert_eq!(budget.wait(later), None);
    let mut slow = Budget::new(LIMITS, Used::default());
    slow.count(now);
    slow.made(later);
    slow.count(later);
    assert_eq!(slow.wait(later).unwrap().0, "per_second");
}

/// The limit that makes the next call wait, and for how many seconds, when Catchpoint says this
/// after a call of ours.
fn waits(usage: Value) -> Option<(&'static str, i64)> {
    let now: DateTime<Utc> = "2026-03-01T06:00:00Z".parse().unwrap();
    let mut budget = Budget::new(LIMITS, Used::default());
    budget.count(now);
    budget.observe(&usage, now);
    // What is known by now is not added again.
    let used = budget.used().clone();
    budget.observe(&usage, now);
    assert_eq!(budget.used(), &used);
    let (limit, until) = budget.wait(now)?;
    Some((limit, (until - now).num_seconds()))
}

#[test]
fn every_window_of_catchpoints_count_is_obeyed() {
    let check = |usage, expect| assert_eq!(waits(usage), expect);
    check(json!({"runs": {"minute": 1, "hour": 1, "day": 1}}), None);
    // Calls that others made.
    check(json!({"runs": {"minute": 3}}), None);
    check(json!({"runs": {"minute": 4}}), Some(("per_minute", 59)));
    check(json!({"runs": {"hour": 5}}), None);
    check(json!({"runs": {"hour": 6}}), Some(("per_hour", 3540)));
    check(
        json!({"runs": {"hour": 4_000_000_000_u32}}),
        Some(("per_hour", 3540)),
    );
    // Limits that are lower than ours.
    check(json!({"limits": {"minute": 1}}), Some(("per_minute", 60)));
    check(json!({"limits": {"hour": 1}}), Some(("per_hour", 3600)));
    check(json!({"limits": {"day": 1}}), Some(("per_day", 64_800)));
    check(json!({"limits": {"minute": 100, "hour": 0}}), None);
    // What is no count there says nothing.
    for odd in [
        json!(null),
        json!("none"),
        json!({"limits": null, "runs": []}),
        json!({"limits": {"minute": null, "hour": -1, "day": "1"}}),
    ] {
        check(odd, None);
    }
}

#[test]
fn what_a_clock_that_was_ahead_has_counted_counts_now() {
    let now: DateTime<Utc> = "2026-03-01T06:00:00Z".parse().unwrap();
    let mut budget = Budget::new(LIMITS, Used::default());
    let stated = Stated {
        wait: Some(Duration::from_secs(3600)),
        ..Stated::default()
    };
    budget.refused(&stated, now + Duration::from_secs(100 * 3600));
    for hours in [24, 25, 26, 27] {
        budget.count(now + Duration::from_secs(hours * 3600));
    }
    assert_eq!(budget.left_today(now), 4);
    budget.count(now);
    let (limit, until) = budget.wait(now).unwrap();
    assert_eq!((limit, (until - now).num_seconds()), ("per_second", 1));
    assert_eq!(budget.wait(now + Duration::from_secs(2)), None);
}

#[test]
fn the_calls_of_the_hours_runs_are_left() {
    let start: DateTime<Utc> = "2026-03-01T06:00:00Z".parse().unwrap();
    let check = |every: u64, calls_of_a_run: usize, expect: usize| {
        let mut limits = LIMITS;
        limits.per_hour = 100;
        let mut budget = Budget::new(limits, Used::default());
        let every = Duration::from_secs(every * 60);
        let mut now = start;
        for _ in 0..calls_of_a_run {
            budget.count(now);
        }
        let mut made = 0;
        while budget.leaves_hour(now, start + every, every, calls_of_a_run) {
            budget.count(now);
            now += Duration::from_secs(1);
            made += 1;
        }
        assert_eq!(made, expect, "every {every:?}, {calls_of_a_run} calls");
    };
    // Four runs are in any hour.
    check(15, 10, 60);
    check(15, 25, 0);
    check(5, 5, 40);
    // The next run has an hour of its own.
    check(60, 40, 60);
    check(240, 40, 60);
}

#[test]
fn just_after_midnight_catchpoint_may_mean_yesterday() {
    let check = |time: &str, left: u32| {
        let now: DateTime<Utc> = format!("2026-03-01T{time}Z").parse().unwrap();
        let usage = json!({"runs": {"day": 7}});
        let mut budget = Budget::new(LIMITS, Used::default());
        budget.observe(&usage, now);
        assert_eq!(budget.left_today(now), left);
        budget.used_today(8, now);
        assert_eq!(budget.left_today(now) == 0, left == 1);
    };
    check("00:00:00", 8);
    check("00:04:59", 8);
    check("00:05:00", 1);
    check("23:59:59", 1);
}

/// What is in force, after these 429s one after the other, and the time of the next call.
fn learned(texts: &[&str]) -> Vec<String> {
    let now: DateTime<Utc> = "2026-03-01T06:00:00Z".parse().unwrap();
    let mut budget = Budget::new(LIMITS, Used::default());
    for text in texts {
        budget.refused(
            &Stated::read(&crate::host::Headers::default(), text, now),
            now,
        );
    }
    let stored = serde_json::to_string(budget.used()).unwrap();
    let budget = Budget::new(LIMITS, serde_json::from_str(&stored).unwrap());
    budget.learned().iter().map(Learned::to_string).collect()
}

#[test]
fn a_429_is_learned_from() {
    let at = "stated by Catchpoint at 2026-03-01 06:00 UTC";
    let check = |texts: &[&str], expect: &[&str]| {
        let expect: Vec<String> = expect.iter().map(|what| format!("{what}, {at}")).collect();
        assert_eq!(learned(texts), expect, "{texts:?}");
    };
    check(&["maximum admitted 3 per 1m"], &["3 calls per minute"]);
    check(&["2 per 1m", "3 per 1m"], &["3 calls per minute"]);
    check(
        &["3 per 1m", "5 per 1d"],
        &["3 calls per minute", "5 calls per day"],
    );
    check(&["3 per 15m"], &["3 calls per 900 seconds"]);
    // The next answer says otherwise.
    check(&["3 per 1m", "4 per 1m"], &[]);
    check(&["30 per 1m"], &[]);
    check(&["3 per 12h"], &[]);
    check(&["0 per 1m", "quota exceeded"], &[]);
}

#[test]
fn a_learned_limit_is_in_force_until_the_configured_ones_change() {
    let now: DateTime<Utc> = "2026-03-01T06:00:00Z".parse().unwrap();
    let mut budget = Budget::new(LIMITS, Used::default());
    let stated = Stated {
        window: Some(900),
        most: Some(1),
        ..Stated::default()
    };
    budget.refused(&stated, now);
    budget.refused(
        &Stated {
            window: Some(MINUTE),
            ..stated
        },
        now,
    );
    assert_eq!(budget.limit(MINUTE), 1);
    budget.count(now);
    let (limit, until) = budget.wait(now).unwrap();
    assert_eq!(
        (limit, (until - now).num_seconds()),
        ("Catchpoint stated this limit", 900)
    );
    let mut same = Budget::new(LIMITS, budget.used().clone());
    assert!(same.wait(now + Duration::from_secs(2)).is_some());
    let other = Limits {
        per_minute: 5,
        ..LIMITS
    };
    let mut changed = Budget::new(other, budget.used().clone());
    assert!(changed.learned().is_empty());
    assert_eq!(changed.wait(now + Duration::from_secs(2)), None);
}
