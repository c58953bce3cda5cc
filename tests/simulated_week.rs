//! A week of runs against the sandbox in driven time. What `check` announces is what is called, what
//! counts as missing is what is missing, and with all that goes wrong in a week every value that
//! Catchpoint produced is in the relay.
//! `cargo test --test simulated_week -- --nocapture` prints the table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::time::Duration;

use catchpoint_graphite::config::Settings as Configuration;
use catchpoint_graphite::http_api::{Call, serve};
use catchpoint_graphite::run::announce;
use catchpoint_graphite::run::report::Report;
use catchpoint_sandbox::{
    Effect, Kind, Limits, RangedLists, Rule, Settings, TestType, TokenTrouble, World,
};
use chrono::{DateTime, TimeDelta, Utc};
use support::small::{always, status};
use support::{COLLECT_TOKEN, SimHost};

const START: &str = "2026-03-01T00:00:00Z";
const DAYS: i64 = 7;
const DAY: i64 = 86_400;

/// A test id that Catchpoint does not know, listed among the good ones.
const BAD_ID: u64 = 999_999_999;

fn start() -> DateTime<Utc> {
    START.parse().unwrap()
}

/// What a week is like.
struct Week {
    name: &'static str,
    version: &'static str,
    /// Minutes between two runs, and after the full hour.
    every: i64,
    offset: i64,
    /// A run begins up to so many seconds late.
    jitter: u64,
    /// Minutes that v1's token lasts.
    token: u64,
    /// What v1 answers to a range of several tests.
    lists: RangedLists,
    /// v1 refuses all ranges.
    ranged_refused: bool,
    /// A day of before the week is requested on the second day.
    backfill: bool,
    /// Everything goes wrong that does.
    faults: bool,
}

const V1: Week = Week {
    name: "v1",
    version: "v1",
    every: 15,
    offset: 0,
    jitter: 0,
    token: 15,
    lists: RangedLists::Answered,
    ranged_refused: false,
    backfill: false,
    faults: false,
};

/// What a week came to.
struct Outcome {
    announced: u64,
    made: u64,
    /// Calls for the time before the week.
    backfill_calls: u64,
    ranged: u64,
    /// Seconds of a test that the reports count as missing, lost ones among them.
    counted: i64,
    /// Seconds of a test that Catchpoint has answered no call for.
    unanswered: i64,
    /// Values that Catchpoint produced up to a day before the week's end, and those not in the relay.
    produced: usize,
    missing: usize,
    within_limits: bool,
    skipped: usize,
    reports: Vec<Report>,
}

fn world(week: &Week) -> World {
    let types = [TestType::Ping, TestType::Dns, TestType::Ssl];
    let builder = World::builder().seed(7).nodes(2).interval_minutes(15);
    let builder = builder.only(&types).tests_per_type(4);
    // Some results come late, by less than `overlap_minutes`.
    let late = if week.faults { 0.02 } else { 0.0 };
    builder.late(late, 4).build()
}

fn yaml(week: &Week) -> String {
    let world = world(week);
    let types = [TestType::Ping, TestType::Dns, TestType::Ssl];
    let groups = types.map(|kind| {
        let mut ids = world.ids(kind);
        if week.faults && kind == TestType::Dns {
            ids.insert(1, BAD_ID);
        }
        format!("{}: {ids:?}", kind.name())
    });
    format!(
        "client_id: 'sandbox-client'\nclient_secret: 'sandbox-secret'\napi_key: 'sandbox-key'\nprotocol: 'http'\n\
         domain: 'catchpoint.test/ui/api'\nversion: '{}'\nrun_every_minutes: {}\ntest_ids: {{ {} }}\n",
        week.version,
        week.every,
        groups.join(", ")
    )
}

/// What goes wrong each day: 429s, 5xx, an outage of 20 minutes, expired tokens, bodies that break
/// off, an answer that never comes.
fn faults(week: &Week) -> Vec<Rule> {
    let kind = if week.version == "v1" {
        Kind::LastRaw
    } else {
        Kind::V2
    };
    let status = |code, retry_after| Effect::Status { code, retry_after };
    let expired = |trouble| Effect::ExpiredToken { trouble };
    let mut rules = Vec::new();
    for day in 0..DAYS {
        let at = |tick: i64| start() + TimeDelta::seconds(day * DAY + tick * 900);
        let mut on = |effect, tick, times| {
            let rule = Rule::new(effect).on(kind).between(at(tick), at(tick + 1));
            rules.push(rule.times(times));
        };
        on(status(429, Some(30)), 5, 1);
        on(status(429, None), 9, 2);
        on(status(500, None), 13, 2);
        on(status(503, None), 17, 1);
        on(Effect::Truncate { after: None }, 21, 2);
        on(Effect::Html { code: 200 }, 25, 1);
        on(expired(TokenTrouble::Unauthorized), 29, 1);
        on(expired(TokenTrouble::Message), 33, 1);
        on(Effect::Delay { millis: 120_000 }, 45, 1);
        let outage = (
            at(40) - TimeDelta::seconds(60),
            at(41) + TimeDelta::seconds(240),
        );
        rules.push(Rule::new(Effect::Refuse).between(outage.0, outage.1));
    }
    rules
}

/// Ticks of each day that never come, and ticks whose run is killed after so many steps.
const MISSED: [i64; 5] = [7, 50, 51, 52, 70];
const KILLED: [(i64, u32); 2] = [(60, 9), (80, 60)];

fn live(week: &Week) -> Outcome {
    let settings = Settings {
        limits: Some(Limits::default()),
        ranged_lists: week.lists,
        token_lifetime: Duration::from_secs(60 * week.token),
        gzip: false,
        ..Settings::default()
    };
    let host = SimHost::new(world(week), START, settings, &yaml(week));
    if week.faults {
        host.sandbox.set_faults(faults(week));
    }
    if week.ranged_refused {
        always(&host, Kind::Ranged, status(404));
    }
    let mut reports = Vec::new();
    let mut skipped = 0;
    let ticks = DAYS * 24 * 60 / week.every;
    let mut dice = 1u64;
    for tick in 0..ticks {
        if week.faults && MISSED.contains(&(tick % 96)) {
            continue;
        }
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let jitter = (dice >> 33) % (1000 * week.jitter + 1);
        let due = start() + TimeDelta::minutes(tick * week.every + week.offset);
        let due = due + Duration::from_millis(jitter);
        host.clock.set(due.max(host.clock.now()));
        if week.backfill && tick == ticks / DAYS {
            let call = Call {
                method: "POST",
                path_and_query: "/backfill?from=2026-02-26&to=2026-02-27",
                authorization: Some(&format!("Bearer {COLLECT_TOKEN}")),
            };
            assert_eq!(serve(&host, &call).status, 200);
        }
        let killed = KILLED
            .iter()
            .find(|(killed, _)| week.faults && *killed == tick % 96);
        let report = host.run(killed.map(|(_, steps)| *steps));
        skipped += report.iter().filter(|report| report.samples == 0).count();
        reports.extend(report);
    }
    figures(&host, reports, skipped)
}

fn figures(host: &SimHost, reports: Vec<Report>, skipped: usize) -> Outcome {
    let settings = Configuration::load(host).unwrap_or_else(|problems| panic!("{problems}"));
    let announced = announce(host, &settings);
    let calls = host.sandbox.calls();
    let of_kind = |kind: Kind| calls.iter().filter(|call| call.kind == kind).count() as u64;
    // Each range that was answered from before the week, once for each of its tests.
    let answered = host.answered.borrow();
    let mut before: Vec<(i64, i64)> = answered
        .values()
        .flatten()
        .filter(|(from, _)| *from < start().timestamp() - 3600)
        .copied()
        .collect();
    before.sort_unstable();
    // All calls of a backfill here are for the four tests of a type.
    let backfill_calls = before.len().div_ceil(4);
    drop(answered);
    let last = reports.last().unwrap();
    // Without the short gaps of the last day, which are still to be swept.
    let whole_until = (start() + TimeDelta::days(DAYS - 1))
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let lost: i64 = reports.iter().map(|report| report.gaps.aged_out).sum();
    let first = reports[0].started.timestamp();
    Outcome {
        announced: announced.calls(reports.len() as u64, DAYS as u64),
        made: calls.len() as u64 - backfill_calls as u64,
        backfill_calls: backfill_calls as u64,
        ranged: of_kind(Kind::Ranged),
        counted: lost + last.gaps.open,
        unanswered: host.unanswered(first),
        produced: host.produced(START, &whole_until),
        missing: host.missing(START, &whole_until).len(),
        within_limits: !host.sandbox.peak().exceeds(&Limits::default()),
        skipped,
        reports,
    }
}

fn show(week: &Week, outcome: &Outcome) {
    const HEADER: &str = "week                                   announced made     off  backfill  ranged  counted unanswered values  missing";
    if week.name == "v1, no jitter" {
        println!("{HEADER}");
    }
    let Outcome {
        announced,
        made,
        backfill_calls,
        ranged,
        counted,
        unanswered,
        produced,
        missing,
        ..
    } = outcome;
    let off = (*made as f64 / *announced as f64 - 1.0) * 100.0;
    println!(
        "{:<38} {announced:>6} {made:>6} {off:>+6.1}% {backfill_calls:>7} {ranged:>8} {counted:>9} {unanswered:>10} {produced:>9} {missing:>8}",
        week.name
    );
}

#[track_caller]
fn check(week: &Week) -> Outcome {
    let outcome = live(week);
    show(week, &outcome);
    let off = (outcome.made as f64 / outcome.announced as f64 - 1.0).abs();
    assert!(off <= 0.05, "{}: {:.1} % off", week.name, 100.0 * off);
    assert_eq!(outcome.counted, outcome.unanswered, "{}", week.name);
    assert!(outcome.within_limits, "{}", week.name);
    assert_eq!(outcome.skipped, 0, "{}", week.name);
    if !week.ranged_refused {
        assert_eq!(outcome.missing, 0, "{}", week.name);
    }
    outcome
}

#[test]
fn c02_the_calls_are_those_announced_and_only_missing_time_counts_as_missing() {
    let v1 = |name, jitter| Week { name, jitter, ..V1 };
    let lists = RangedLists::Refused;
    let (version, offset, ranged_refused) = ("v2", 7, true);
    for week in [
        v1("v1, no jitter", 0),
        v1("v1, jitter 10 s", 10),
        v1("v1, jitter 60 s", 60),
        Week {
            token: 30,
            ..v1("v1, tokens of 30 minutes, 10 s", 10)
        },
        Week {
            lists,
            ..v1("v1, ranges of one test, jitter 60 s", 60)
        },
        Week {
            lists: RangedLists::Ignored,
            ..v1("v1, ranges of lists ignored, 60 s", 60)
        },
        Week {
            lists,
            ranged_refused,
            ..v1("v1, ranges refused, jitter 10 s", 10)
        },
        Week {
            lists,
            ranged_refused,
            ..v1("v1, ranges refused, jitter 60 s", 60)
        },
        Week {
            every: 30,
            ..v1("v1, each half hour, jitter 10 s", 10)
        },
        Week {
            offset,
            ..v1("v1, 7,22,37,52, jitter 10 s", 10)
        },
        Week {
            version,
            ..v1("v2, jitter 60 s", 60)
        },
        Week {
            version,
            every: 60,
            offset,
            ..v1("v2, each hour, 7 past, jitter 60 s", 60)
        },
    ] {
        let outcome = check(&week);
        // What is never answered is lost after a day, and nothing else is.
        assert!(!week.ranged_refused || outcome.counted > 0, "{}", week.name);
    }
}

#[test]
fn c04_a_backfill_beside_the_runs_takes_nothing_from_them() {
    for (name, version, offset) in [
        ("v1, backfill, 7,22,37,52", "v1", 7),
        ("v2, backfill", "v2", 0),
    ] {
        let outcome = check(&Week {
            name,
            version,
            offset,
            backfill: true,
            jitter: 10,
            ..V1
        });
        // A day in one range for each of three batches with v1, in four ranges with v2.
        let calls = if version == "v1" { 3 } else { 12 };
        assert_eq!(outcome.backfill_calls, calls);
        let last = outcome.reports.last().unwrap();
        assert!(last.backfills.is_empty(), "{last}");
    }
}

#[test]
fn a_week_with_everything_that_goes_wrong_loses_nothing_and_keeps_the_limits() {
    for (name, version) in [
        ("v1, faults, jitter 3 s", "v1"),
        ("v2, faults, jitter 3 s", "v2"),
    ] {
        let week = Week {
            name,
            version,
            faults: true,
            jitter: 3,
            ..V1
        };
        let outcome = live(&week);
        show(&week, &outcome);
        let reports: String = outcome
            .reports
            .iter()
            .map(|r| format!("{r:.400}\n"))
            .collect();
        assert_eq!(outcome.missing, 0, "{reports}");
        assert_eq!(outcome.counted, outcome.unanswered, "{reports}");
        assert!(outcome.within_limits);
        let over = outcome.made as f64 / outcome.announced as f64 - 1.0;
        assert!(over < 0.10, "{over}");
    }
}
