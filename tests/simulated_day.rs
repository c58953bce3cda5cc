//! A day of runs against the sandbox in driven time, with everything going wrong that does: in the
//! end every value that Catchpoint produced is in the relay, and no limit of the API was exceeded.
//! `cargo test --test simulated_day -- --nocapture` prints the figures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use catchpoint_graphite::run::report::Report;
use catchpoint_sandbox::{
    Call, Effect, Kind, Limits, Rule, Settings, TestType, TokenTrouble, World,
};
use chrono::{DateTime, Utc};
use support::SimHost;

const START: &str = "2026-03-01T00:00:00Z";
const END: &str = "2026-03-02T00:00:00Z";
const TICK: Duration = Duration::from_secs(900);
const TICKS_A_DAY: u32 = 96;

/// A test id that Catchpoint does not know, listed among the good ones.
const BAD_ID: u64 = 999_999_999;

/// Ticks that never come.
const MISSED: [u32; 5] = [7, 50, 51, 52, 70];

/// Ticks whose run is killed, and after how many steps.
const KILLED: [(u32, u32); 2] = [(60, 9), (80, 30)];

fn at(tick: u32) -> DateTime<Utc> {
    START.parse::<DateTime<Utc>>().unwrap() + TICK * tick
}

/// 429s, 5xx, an outage of 20 minutes, expired tokens, bodies that break off, an answer that never
/// comes.
fn faults(kind: Kind) -> Vec<Rule> {
    let status = |code, retry_after| Effect::Status { code, retry_after };
    let expired = |trouble| Effect::ExpiredToken { trouble };
    let on = |effect, tick, times| {
        Rule::new(effect)
            .on(kind)
            .between(at(tick), at(tick + 1))
            .times(times)
    };
    let outage = (
        at(40) - Duration::from_secs(60),
        at(41) + Duration::from_secs(240),
    );
    vec![
        on(status(429, Some(30)), 5, 1),
        on(status(429, None), 9, 2),
        on(status(500, None), 13, 2),
        on(status(503, None), 17, 1),
        on(Effect::Truncate { after: None }, 21, 2),
        on(Effect::Html { code: 200 }, 25, 1),
        on(expired(TokenTrouble::Unauthorized), 29, 1),
        on(expired(TokenTrouble::Message), 33, 1),
        Rule::new(Effect::Refuse).between(outage.0, outage.1),
        on(Effect::Delay { millis: 120_000 }, 45, 1),
    ]
}

/// What some days of runs came to.
struct Figures {
    produced: usize,
    missing: usize,
    calls: Vec<Call>,
    within_limits: bool,
    reports: Vec<Report>,
}

impl Figures {
    /// Calls that a fault answered: each had to be made again.
    fn faulted(&self) -> usize {
        let faulted = |call: &&Call| call.fault.is_some() && call.status.is_some();
        self.calls.iter().filter(faulted).count()
    }

    fn reported(&self) -> String {
        self.reports
            .iter()
            .map(|report| format!("{report:.600}\n"))
            .collect()
    }
}

/// Lives through a day, and `after` ticks of the next one. Without `remember` every run starts with
/// an empty store, as the original's.
fn live(world: World, kind: Kind, yaml: &str, after: u32, remember: bool) -> Figures {
    let settings = Settings {
        limits: Some(Limits::default()),
        // A page holds a usual window of a batch; a longer one takes more pages.
        page_size: 1500,
        ..Settings::default()
    };
    let host = SimHost::new(world, START, settings, yaml);
    host.sandbox.set_faults(faults(kind));
    let mut reports = Vec::new();
    for tick in 0..=TICKS_A_DAY + after {
        if MISSED.contains(&tick) {
            continue;
        }
        // Runs do not begin on the second.
        let jitter = Duration::from_millis(u64::from(tick) * 7919 % 3000);
        host.clock.set((at(tick) + jitter).max(host.clock.now()));
        if !remember {
            host.forget_state();
        }
        let killed = KILLED.iter().find(|(killed, _)| *killed == tick);
        reports.extend(host.run(killed.map(|(_, steps)| *steps)));
    }
    Figures {
        produced: host.produced(START, END),
        missing: host.missing(START, END).len(),
        calls: host.sandbox.calls(),
        within_limits: !host.sandbox.peak().exceeds(&Limits::default()),
        reports,
    }
}

fn yaml(version: &str, batch_size: u32, world: &World, types: &[TestType]) -> String {
    let mut text = format!(
        "client_id: 'sandbox-client'\nclient_secret: 'sandbox-secret'\napi_key: 'sandbox-key'\nprotocol: 'http'\n\
         domain: 'catchpoint.test/ui/api'\nversion: '{version}'\nbatch_size: {batch_size}\ntest_ids:\n"
    );
    for (n, kind) in types.iter().enumerate() {
        let mut ids = world.ids(*kind);
        if n == 0 {
            ids.insert(ids.len() / 3, BAD_ID);
        }
        writeln!(text, "  {}: {ids:?}", kind.name()).unwrap();
    }
    text
}

/// Prints both days, and holds ours against the law.
fn check(name: &str, ours: &Figures, without: &Figures, least: usize) {
    let calls = ours.calls.len();
    let over = (calls as f64 / least as f64 - 1.0) * 100.0;
    println!("{name}: {} values in the day", ours.produced);
    println!(
        "  with gap filling     missing {:>7}   calls {calls:>5}   least {least} ({over:+.1} %)",
        ours.missing
    );
    println!(
        "  without, as original missing {:>7}   calls {:>5}",
        without.missing,
        without.calls.len()
    );
    assert!(ours.within_limits, "a limit of the API was exceeded");
    assert_eq!(ours.missing, 0, "{}", ours.reported());
    assert!(without.missing > 0, "the day is too easy");
    assert!(
        calls as f64 <= least as f64 * 1.1,
        "{calls} calls, the least is {least}"
    );
}

#[test]
fn a_day_of_v2_loses_nothing_and_keeps_the_limits() {
    let types = [TestType::Ping, TestType::Dns, TestType::Ssl, TestType::Ntp];
    let world = || {
        let builder = World::builder().seed(7).nodes(10).interval_minutes(15);
        // Some results come late, by less than `overlap_minutes`.
        builder
            .tests_per_type(50)
            .only(&types)
            .late(0.02, 4)
            .build()
    };
    assert_eq!(world().tests().count(), 200);
    let yaml = yaml("v2", 50, &world(), &types);
    let ours = live(world(), Kind::V2, &yaml, 8, true);
    let without = live(world(), Kind::V2, &yaml, 8, false);
    // Four batches a run; of the run that was killed before its first call, none.
    let runs = (TICKS_A_DAY as usize + 1 + 8) - MISSED.len() - 1;
    // A batch that misses a window or more is 500 items a window, in pages of 1500.
    let longer = |windows: usize| 4 * ((windows * 500 + 167).div_ceil(1500) - 1);
    let pages: usize = [2, 4, 4, 2, 2, 2].into_iter().map(longer).sum();
    check(
        "v2, 200 tests of 10 nodes",
        &ours,
        &without,
        runs * 4 + pages + ours.faulted(),
    );
}

#[test]
fn a_day_of_v1_loses_nothing_and_keeps_the_limits() {
    let world = || {
        let builder = World::builder().seed(7).nodes(10).interval_minutes(15);
        let builder = builder
            .tests_per_type(4)
            .tests(TestType::Html, 2)
            .tests(TestType::Streaming, 2);
        builder.build()
    };
    assert_eq!(world().tests().count(), 60);
    let yaml = yaml("v1", 20, &world(), &TestType::ALL);
    // The edges between windows are swept once in 20 hours.
    let ours = live(world(), Kind::LastRaw, &yaml, 84, true);
    let without = live(world(), Kind::LastRaw, &yaml, 84, false);
    let good = |kind: Kind| {
        ours.calls
            .iter()
            .filter(move |call| call.kind == kind && call.fault.is_none())
    };
    // One LastRaw a type and one token for each run that was under way; the run that was killed
    // late made some of its calls.
    let runs = good(Kind::Token).count();
    let mut seen: BTreeMap<u64, Vec<DateTime<Utc>>> = BTreeMap::new();
    for call in good(Kind::LastRaw).filter(|call| !call.tests.contains(&BAD_ID)) {
        for test in &call.tests {
            seen.entry(*test).or_default().push(call.at);
        }
    }
    // One ranged call for each time that a test was not asked for longer than a window, and one for
    // the edges of each stretch of 20 hours without such a time.
    let ranged = |times: &Vec<DateTime<Utc>>| {
        let (mut calls, mut whole_since) = (0, times[0]);
        for pair in times.windows(2) {
            let gap = (pair[1] - pair[0]).num_seconds();
            if gap > 900 + 120 || (pair[1] - whole_since).num_hours() >= 20 {
                calls += 1;
                whole_since = pair[1];
            }
        }
        calls
    };
    let ranged: usize = seen.values().map(ranged).sum();
    let least = runs * (16 + 1) + ranged + ours.faulted();
    check(
        "v1, 60 tests of all types, 10 nodes",
        &ours,
        &without,
        least,
    );
}
