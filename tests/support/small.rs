//! A small world, its configuration and the log of a run.

use std::time::Duration;

use catchpoint_graphite::run::report::{Outcome, Report};
use catchpoint_sandbox::{Effect, Kind, Rule, Settings, TestType, World};

use super::SimHost;

pub const START: &str = "2026-03-01T12:00:00Z";

/// Three ping tests and two dns tests, of one node each.
fn world() -> World {
    let builder = World::builder().seed(5).nodes(1).interval_minutes(5);
    builder
        .only(&[TestType::Ping, TestType::Dns])
        .tests(TestType::Ping, 3)
        .tests(TestType::Dns, 2)
        .build()
}

pub fn yaml(version: &str, tests: &str) -> String {
    format!(
        "client_id: 'sandbox-client'\nclient_secret: 'sandbox-secret'\napi_key: 'sandbox-key'\nprotocol: 'http'\n\
         domain: 'catchpoint.test/ui/api'\nversion: '{version}'\n{tests}\n"
    )
}

pub fn ids(kind: TestType) -> Vec<u64> {
    world().ids(kind)
}

pub fn good_tests() -> String {
    format!(
        "test_ids: {{ ping: {:?}, dns: {:?} }}",
        ids(TestType::Ping),
        ids(TestType::Dns)
    )
}

pub fn host(version: &str, settings: Settings) -> SimHost {
    SimHost::new(world(), START, settings, &yaml(version, &good_tests()))
}

/// The log of one run.
pub fn logged(host: &SimHost) -> String {
    host.logged.borrow_mut().clear();
    host.run(None);
    host.logged.borrow().join("\n")
}

/// Goes on by so many seconds and runs.
pub fn next(host: &SimHost, seconds: u64) -> Report {
    host.clock.advance(Duration::from_secs(seconds));
    host.run(None).unwrap()
}

/// How a run ended, and how many tests it brought.
#[track_caller]
pub fn assert_run(report: &Report, outcome: Outcome, collected: u64) {
    let found = (report.outcome, report.tests.collected);
    assert_eq!(found, (outcome, collected), "{report}");
}

/// Nothing is missing that Catchpoint produced.
#[track_caller]
pub fn assert_whole(host: &SimHost, from: &str, to: &str) {
    let missing = host.missing(from, to);
    assert!(missing.is_empty(), "{} are missing", missing.len());
}

pub fn status(code: u16) -> Effect {
    let retry_after = None;
    Effect::Status { code, retry_after }
}

pub fn says(message: &str) -> Effect {
    let message = message.to_owned();
    Effect::Error { message }
}

pub fn answers(code: u16, body: &str) -> Effect {
    Effect::Answer {
        code,
        headers: [].into(),
        body: body.to_owned(),
    }
}

/// All calls of a kind meet this from now on.
pub fn always(host: &SimHost, kind: Kind, effect: Effect) {
    host.sandbox.set_faults(vec![Rule::new(effect).on(kind)]);
}

/// The calls of a kind with this test meet this from now on.
pub fn always_with(host: &SimHost, kind: Kind, effect: Effect, test: u64) {
    let rule = Rule::new(effect).on(kind).test(test);
    host.sandbox.set_faults(vec![rule]);
}
