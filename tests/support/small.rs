//! A small world, its configuration and the log of a run.

use catchpoint_sandbox::{Settings, TestType, World};

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
