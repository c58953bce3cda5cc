//! Every form in which the API answers brings everything: each version, its pages, another time zone,
//! gzip or not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod support;

use catchpoint_graphite::run::report::Outcome;
use catchpoint_sandbox::{Settings, TestType, World};
use support::SimHost;
use support::small::yaml;

const START: &str = "2026-03-01T12:00:00Z";
const TYPES: [TestType; 3] = [TestType::Api, TestType::Traceroute, TestType::Transaction];

#[test]
fn every_form_of_the_api_brings_everything() {
    for version in ["v1", "v2", "v3", "v3.3", "v3.4", "v4"] {
        for (utc_offset_minutes, gzip) in [(0, true), (-480, false)] {
            let world = World::builder().only(&TYPES).tests_per_type(2).nodes(2);
            let world = world.build();
            let ids = TYPES.map(|kind| format!("{kind}: {:?}", world.ids(kind)));
            let mut config = yaml(version, &format!("test_ids: {{ {} }}", ids.join(", ")));
            if version != "v1" {
                // Pages that the answers fill several times.
                config +=
                    &format!("explorer_endpoint: 'api/{version}/tests/explorer/raw?pageSize=40'\n");
            }
            let settings = Settings {
                utc_offset_minutes,
                gzip,
                ..Settings::default()
            };
            let host = SimHost::new(world, START, settings, &config);
            let report = host.run(None).unwrap();
            assert_eq!(report.outcome, Outcome::Ok, "{version}: {report}");
            let missing = host.missing("2026-03-01T11:45:00Z", START);
            assert!(missing.is_empty(), "{version}: {missing:?}");
        }
    }
}
