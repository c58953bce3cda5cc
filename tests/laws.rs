//! A law of runs: whatever goes wrong for some hours, later runs bring every value that Catchpoint
//! produced, and no limit of the API is exceeded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::time::Duration;

use catchpoint_sandbox::{
    Effect, Kind, Limits, RangedLists, Rule, Settings, TestType, TokenTrouble,
};
use proptest::prelude::*;
use support::RelayMode;
use support::small::{answers, host, ids, says, status};

/// What happens in one quarter of an hour.
#[derive(Debug, Clone)]
struct Quarter {
    faults: Vec<Rule>,
    relay: RelayMode,
    missed: bool,
    kill_in: Option<u32>,
    late_millis: u64,
}

fn effect() -> impl Strategy<Value = Effect> {
    proptest::sample::select(vec![
        Effect::Status {
            code: 429,
            retry_after: Some(20),
        },
        status(500),
        status(404),
        status(403),
        answers(200, r#"{"start":NaN}"#),
        answers(404, "<html>no such page</html>"),
        Effect::Delay { millis: 70_000 },
        Effect::Truncate { after: Some(400) },
        Effect::Html { code: 200 },
        Effect::ExpiredToken {
            trouble: TokenTrouble::Message,
        },
        says("One or more tests are invalid"),
        Effect::Refuse,
        Effect::WrongShape,
        Effect::Cloudflare { json: false },
    ])
}

fn rule() -> impl Strategy<Value = Rule> {
    let kinds = [Kind::Token, Kind::LastRaw, Kind::Ranged, Kind::V2].map(Some);
    let kind = proptest::sample::select([&kinds[..], &[None]].concat());
    let tests = ids(TestType::Ping).into_iter().map(Some);
    let tests: Vec<Option<u64>> = tests.chain([None, None]).collect();
    let times = proptest::option::of(1u64..4);
    (effect(), kind, proptest::sample::select(tests), times).prop_map(
        |(effect, kind, test, times)| Rule {
            kind,
            test,
            times,
            ..Rule::new(effect)
        },
    )
}

fn quarter() -> impl Strategy<Value = Quarter> {
    let relays = [
        RelayMode::Down,
        RelayMode::Answers(503),
        RelayMode::Refuses("Ping", 400),
    ];
    let relay =
        prop_oneof![8 => Just(RelayMode::Takes), 1 => proptest::sample::select(relays.to_vec())];
    let faults = prop_oneof![1 => Just(Vec::new()), 1 => proptest::collection::vec(rule(), 1..3)];
    let kill_in = proptest::option::weighted(0.1, 0u32..150);
    (
        faults,
        relay,
        prop::bool::weighted(0.1),
        kill_in,
        0u64..20_000,
    )
        .prop_map(|(faults, relay, missed, kill_in, late_millis)| Quarter {
            faults,
            relay,
            missed,
            kill_in,
            late_millis,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_wrong_costs_no_value(
        version in proptest::sample::select(vec!["v1", "v2"]),
        lists in proptest::sample::select(vec![RangedLists::Answered, RangedLists::Refused, RangedLists::Ignored]),
        quarters in proptest::collection::vec(quarter(), 1..24),
    ) {
        let host = host(version, Settings { ranged_lists: lists, ..Settings::default() });
        host.run(None);
        let start = host.clock.now();
        let at = |tick: usize| start + Duration::from_secs(900) * u32::try_from(tick).unwrap();
        let go_to = |time| host.clock.set(std::cmp::max(time, host.clock.now()));
        for (tick, quarter) in quarters.iter().enumerate() {
            go_to(at(tick + 1) + Duration::from_millis(quarter.late_millis));
            host.sandbox.set_faults(quarter.faults.clone());
            host.relay.set(quarter.relay);
            if !quarter.missed {
                host.run(quarter.kill_in);
            }
        }
        host.sandbox.set_faults(Vec::new());
        host.relay.set(RelayMode::Takes);
        let wrong_until = quarters.len();
        // What was refused is tried again after six hours; short gaps are swept after twenty.
        for tick in wrong_until + 1..wrong_until + 90 {
            go_to(at(tick));
            host.run(None);
        }
        let until = at(wrong_until + 1).format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let missing = host.missing("2026-03-01T12:00:00Z", &until);
        let logged = host.logged.borrow();
        let tail: Vec<String> = logged.iter().map(|line| format!("{line:.300}")).collect();
        prop_assert!(missing.is_empty(), "{missing:?}\n{}", tail.join("\n"));
        prop_assert!(!host.sandbox.peak().exceeds(&Limits::default()));
    }
}
