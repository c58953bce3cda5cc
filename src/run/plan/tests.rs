use super::*;
use crate::config::{Settings, Source};

const NOW: i64 = 10_000_000;
const HOUR: i64 = 3600;

struct Given(String);

impl Source for Given {
    fn file(&self, name: &str) -> std::io::Result<String> {
        let is_catchpoint = name == crate::config::catchpoint::FILE_NAME;
        Ok(if is_catchpoint {
            self.0.clone()
        } else {
            String::new()
        })
    }
    fn variable(&self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

fn settings(keys: &str) -> CatchpointSettings {
    let batch = match keys.contains("batch_size") {
        true => "",
        false => "batch_size: 2\n",
    };
    let yaml = format!(
        "client_id: a\nclient_secret: b\napi_key: c\ntest_ids: {{ web: [1, 2, 3], dns: [4] }}\n{batch}{keys}\n"
    );
    let settings = Settings::load(&Given(yaml));
    settings
        .unwrap_or_else(|problems| panic!("{problems}"))
        .catchpoint
}

/// A test whose results are in the relay from a second to another, but for the gaps; both counted
/// back from now.
fn coverage(from: i64, until: i64, gaps: &[(i64, i64)]) -> Coverage {
    let mut coverage = Coverage::starting(NOW - from);
    let mut at = NOW - from;
    for (begin, end) in gaps {
        coverage.cover(TimeRange {
            from: at,
            to: NOW - begin,
        });
        at = NOW - end;
    }
    coverage.cover(TimeRange {
        from: at,
        to: NOW - until,
    });
    coverage.settle(
        TimeRange {
            from: NOW - from,
            to: NOW - until,
        },
        NOW,
        0,
    );
    coverage
}

/// A call in short: `lastraw 1,2` or `ranged 1,2 -900..0`.
fn short(call: &PlannedCall) -> String {
    let ids: Vec<String> = call.query.tests().iter().map(u64::to_string).collect();
    let range = match &call.query {
        Query::LastRaw(_) | Query::Tests(_) => String::new(),
        Query::Ranged(_, range) | Query::Explorer(_, range) => {
            format!(" {}..{}", range.from - NOW, range.to - NOW)
        }
    };
    format!("{} {}{range}", call.query.kind(), ids.join(","))
}

/// The calls of a run, in order, when each is answered.
fn calls(
    settings: &CatchpointSettings,
    coverages: &Coverages,
    exclusions: &Exclusions,
) -> Vec<String> {
    let mut coverages = coverages.clone();
    let mut made = Vec::new();
    let regular = Plan {
        settings,
        coverages: &coverages,
        exclusions,
        now: NOW,
    }
    .regular();
    for call in regular {
        made.push(short(&call));
        let range = match &call.query {
            Query::LastRaw(_) | Query::Tests(_) => TimeRange {
                from: NOW - WINDOW,
                to: NOW,
            },
            Query::Ranged(_, range) | Query::Explorer(_, range) => *range,
        };
        for test in call.query.tests() {
            coverages.get_mut(test).unwrap().cover(range);
        }
    }
    let none = BTreeSet::new();
    for purpose in [Purpose::Gap, Purpose::Requested] {
        loop {
            let plan = Plan {
                settings,
                coverages: &coverages,
                exclusions,
                now: NOW,
            };
            let Some(call) = plan.next_past(purpose, &none) else {
                break;
            };
            made.push(short(&call));
            let (Query::Ranged(_, range) | Query::Explorer(_, range)) = &call.query else {
                panic!("{call:?}");
            };
            for test in call.query.tests() {
                let coverage = coverages.get_mut(test).unwrap();
                coverage.cover(TimeRange {
                    to: range.to.min(coverage.until()),
                    ..*range
                });
                coverage.settle(*range, NOW, 0);
                coverage.answer_requested(*range, *range);
            }
            assert!(made.len() < 50, "{made:?}");
        }
    }
    made
}

#[track_caller]
fn check(keys: &str, coverages: [Coverage; 4], expect: &str) {
    let coverages: Coverages = (1..).zip(coverages).collect();
    let calls = calls(&settings(keys), &coverages, &Exclusions::default());
    assert_eq!(calls.join(" | "), expect);
}

/// Four tests that were all fetched by the run before.
fn fresh() -> [Coverage; 4] {
    [(); 4].map(|()| coverage(HOUR, 900, &[]))
}

#[test]
fn a_run_brings_what_is_new() {
    check("", fresh(), "lastraw 1,2 | lastraw 3 | lastraw 4");
    check(
        "version: v2",
        fresh(),
        "explorer 1,2 -1200..0 | explorer 3 -1200..0 | explorer 4 -1200..0",
    );
}

#[test]
fn what_has_waited_longest_comes_first() {
    let [first, second, third, _] = fresh();
    let older = coverage(HOUR, 1000, &[]);
    check(
        "",
        [first, second, third, older],
        "lastraw 4 | lastraw 1,2 | lastraw 3",
    );
}

#[test]
fn v1_fills_a_missed_window_of_the_tests_that_miss_it_together() {
    let [_, _, third, fourth] = fresh();
    let missed = || coverage(HOUR, 1800, &[]);
    check(
        "",
        [missed(), missed(), third, fourth],
        "lastraw 1,2 | lastraw 3 | lastraw 4 | ranged 1,2 -1800..0",
    );
}

#[test]
fn c02_short_gaps_between_windows_wait_for_the_sweep_however_many_they_are() {
    let edges: Vec<(i64, i64)> = (1..16).rev().map(|n| (n * 960 + 60, n * 960)).collect();
    let with_edges = |from: i64| coverage(from, 900, &edges);
    let windows = "lastraw 1,2 | lastraw 3 | lastraw 4";
    check("", [(); 4].map(|()| with_edges(5 * HOUR)), windows);
    let swept = coverage(23 * HOUR, 900, &[(20 * HOUR + 60, 20 * HOUR)]);
    let [_, second, third, fourth] = fresh();
    check(
        "",
        [swept, second, third, fourth],
        "lastraw 1,2 | lastraw 3 | lastraw 4 | ranged 1 -72060..0",
    );
}

#[test]
fn c15_after_a_day_down_the_newest_results_come_first() {
    let [first, second, third, _] = fresh();
    let down = coverage(30 * HOUR, 22 * HOUR, &[]);
    check(
        "version: v2",
        [first, second, third, down],
        "explorer 4 -21600..0 | explorer 1,2 -1200..0 | explorer 3 -1200..0 | explorer 4 -79500..-57900 | explorer 4 -58200..-36600 | explorer 4 -36900..-21600",
    );
}

#[test]
fn v2_brings_a_gap_of_the_last_hours_with_the_regular_call() {
    let [first, _, third, fourth] = fresh();
    let gap = coverage(9 * HOUR, 900, &[(2 * HOUR, HOUR)]);
    check(
        "version: v2",
        [first, gap, third, fourth],
        // Tests that miss the same share a call.
        "explorer 2,1 -7500..0 | explorer 3 -1200..0 | explorer 4 -1200..0",
    );
}

/// A call that ends before the gap it is made for would be made again and again.
#[test]
fn v2_fills_a_gap_whatever_the_overlap() {
    let gap = || coverage(24 * HOUR, 0, &[(20 * HOUR, 19 * HOUR)]);
    let coverages: Coverages = (1..).zip([gap(), gap(), gap(), gap()]).collect();
    let settings = settings("version: v2\noverlap_minutes: 720");
    let made = calls(&settings, &coverages, &Exclusions::default());
    assert!(made.len() < 10, "{made:?}");
}

#[test]
fn requested_gaps_come_after_all_others() {
    let mut coverages = fresh();
    coverages[3] = coverage(HOUR, 1800, &[]);
    for coverage in &mut coverages {
        coverage.request(TimeRange {
            from: NOW - 100 * HOUR,
            to: NOW - 50 * HOUR,
        });
    }
    check(
        "",
        coverages.clone(),
        "lastraw 4 | lastraw 1,2 | lastraw 3 | ranged 4 -1800..0 | ranged 1,2 -360000..-187200 | ranged 3 -360000..-187200 | ranged 4 -360000..-187200 | ranged 1,2 -187200..-180000 | ranged 3 -187200..-180000 | ranged 4 -187200..-180000",
    );
    let [first, ..] = coverages;
    let [_, second, third, fourth] = fresh();
    check(
        "version: v2\nmax_backfill_hours: 24",
        [first, second, third, fourth],
        "explorer 1,2 -1200..0 | explorer 3 -1200..0 | explorer 4 -1200..0 | explorer 1 -360000..-338400 | explorer 1 -338400..-316800 | explorer 1 -316800..-295200 | explorer 1 -295200..-273600 | explorer 1 -273600..-252000 | explorer 1 -252000..-230400 | explorer 1 -230400..-208800 | explorer 1 -208800..-187200 | explorer 1 -187200..-180000",
    );
}

#[test]
fn what_was_learned_changes_the_calls() {
    type Learn = fn(&mut Exclusions);
    let nothing: Learn = |_| {};
    let single: Learn = |learned| learned.limit_tests(1, Purpose::Gap, "no", NOW);
    let none: Learn = |learned| learned.refuse_past("no", NOW);
    let one: Learn = |learned| {
        learned.refuse(1, Purpose::Gap, "no", NOW);
    };
    // Those that were refused come last when they are tried again.
    let again: Learn = |learned| {
        learned.refuse(1, Purpose::Gap, "no", NOW - 7 * HOUR);
    };
    let smaller: Learn = |learned| learned.limit_tests(1, Purpose::Regular, "no", NOW);
    let failed: Learn = |learned| {
        let query = Query::LastRaw(vec![1]);
        learned.fail(&query, Purpose::Regular);
    };
    let shorter: Learn = |learned| {
        learned.ask_alone(3, Purpose::Gap, NOW);
        learned.limit_seconds(1000, Purpose::Gap, "no", NOW);
    };
    let windows = "lastraw 1,2 | lastraw 3 | lastraw 4";
    let singles = "lastraw 1 | lastraw 2 | lastraw 3 | lastraw 4";
    let failed_last = "lastraw 3 | lastraw 4 | lastraw 1,2";
    for (learn, regular, past, range) in [
        (nothing, windows, "1,2 3 4", "-1800..0"),
        (single, windows, "1 2 3 4", "-1800..0"),
        (none, windows, "", ""),
        (one, windows, "2,3 4", "-1800..0"),
        (again, windows, "2,3 4 1", "-1800..0"),
        (smaller, singles, "1,2 3 4", "-1800..0"),
        (failed, failed_last, "1,2 3 4", "-1800..0"),
        (shorter, windows, "1,2 3 4", "-1800..-800"),
    ] {
        let missed = [(); 4].map(|()| coverage(HOUR, 1800, &[]));
        let mut exclusions = Exclusions::default();
        learn(&mut exclusions);
        let made = calls(&settings(""), &(1..).zip(missed).collect(), &exclusions);
        let past = past.split_whitespace();
        let past: String = past
            .map(|tests| format!(" | ranged {tests} {range}"))
            .collect();
        assert_eq!(made.join(" | "), regular.to_owned() + &past);
    }
}

#[test]
fn the_next_run_keeps_the_offset_of_the_schedule() {
    let time = |text: &str| {
        format!("2026-03-01T{text}Z")
            .parse::<DateTime<Utc>>()
            .unwrap()
    };
    for (last, now, next) in [
        ("12:07:00", "12:08:00", "12:22:00"),
        ("12:07:00", "12:22:00", "12:37:00"),
        ("12:07:00", "14:00:00", "14:07:00"),
        // The clock was set back.
        ("12:07:00", "11:00:00", "12:22:00"),
    ] {
        assert_eq!(
            next_run(&settings(""), time(last), time(now)),
            time(next),
            "{now}"
        );
    }
}

#[test]
fn the_announced_calls_follow_what_was_learned() {
    let mut batches = Exclusions::default();
    let query = Query::Ranged(vec![1, 2], TimeRange { from: 0, to: 1 });
    batches.clear(&query, Purpose::Gap);
    let mut alone = Exclusions::default();
    alone.ask_alone(1, Purpose::Regular, NOW);
    let nothing = Exclusions::default();
    for (keys, exclusions, token_lasts, expect) in [
        // Three batches and a token; four tests swept each 20 hours.
        ("", &nothing, 0, (3, 1, 5)),
        ("", &nothing, 840, (3, 1, 5)),
        ("", &nothing, 1740, (3, 2, 5)),
        ("run_every_minutes: 30", &nothing, 1740, (7, 1, 0)),
        ("version: v2", &nothing, 0, (3, 0, 0)),
        ("max_backfill_hours: 48", &nothing, 0, (3, 1, 3)),
        ("", &batches, 0, (3, 1, 4)),
        ("run_every_minutes: 30", &batches, 0, (6, 1, 0)),
        // 1 goes alone, 2 with 3.
        ("", &alone, 0, (3, 1, 5)),
        ("batch_size: 3", &alone, 0, (3, 1, 5)),
        ("batch_size: 3", &nothing, 0, (2, 1, 5)),
    ] {
        let announced = announce(&settings(keys), exclusions, token_lasts, NOW);
        let Announced {
            per_run,
            runs_per_token,
            sweeps_per_day,
            ..
        } = announced;
        assert_eq!((per_run, runs_per_token, sweeps_per_day), expect, "{keys}");
    }
    let announced = announce(&settings(""), &nothing, 1740, NOW);
    assert_eq!(
        (announced.most_per_run(), announced.calls(96, 1)),
        (4, 3 * 96 + 48 + 5)
    );
    let rare = announce(&settings("version: v2\npoll: gaps"), &nothing, 0, NOW);
    assert_eq!((rare.most_per_run(), rare.calls(96, 1)), (3, 3 * 6));
}
