//! Tests that Catchpoint lists are collected without their ids in the configuration: over pages,
//! a page that fails, a test that is removed and one that is added.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod support;

use std::collections::BTreeSet;

use catchpoint_graphite::http_api::serve_trusted;
use catchpoint_graphite::run::report::{Outcome, Report};
use catchpoint_sandbox::{Effect, Kind, Rule, Settings, TestType, World};
use insta::assert_snapshot;
use support::SimHost;
use support::small::{START, next, says, status, yaml};

/// 251 ping and dns tests, of which the last one is not listed at first.
fn host(tests: &str) -> (SimHost, Vec<u64>) {
    let world = World::builder().only(&[TestType::Ping, TestType::Dns]);
    let world = world.tests(TestType::Ping, 150).tests(TestType::Dns, 101);
    let world = world.nodes(1).interval_minutes(15).build();
    let ids: Vec<u64> = world.tests().map(|test| test.id).collect();
    let config = yaml("v2", &format!("batch_size: 100\n{tests}"));
    let host = SimHost::new(world, START, Settings::default(), &config);
    host.sandbox.hide(&ids[250..]);
    (host, ids)
}

/// Which tests results were asked for since the last time, and how many calls for the list were made.
fn asked(host: &SimHost, since: &mut usize) -> (BTreeSet<u64>, usize) {
    let calls = host.sandbox.calls();
    let new = &calls[*since..];
    *since = calls.len();
    let tests = new.iter().filter(|call| call.kind == Kind::V2);
    let tests = tests.flat_map(|call| call.tests.clone()).collect();
    let lists = new.iter().filter(|call| call.kind == Kind::List);
    (tests, lists.count())
}

#[track_caller]
fn check(report: &Report, outcome: Outcome, tests: u64) {
    let found = (
        report.outcome,
        report.tests.configured,
        report.tests.collected,
    );
    assert_eq!(found, (outcome, tests, tests), "{report}");
}

const HOURS: u64 = 3600;

#[test]
fn the_list_is_kept_whole_and_follows_what_is_added_and_removed() {
    let (host, ids) = host("tests: { status: active }");
    let mut since = 0;
    let first: BTreeSet<u64> = ids[..250].iter().copied().collect();
    check(&host.run(None).unwrap(), Outcome::Ok, 250);
    assert_eq!(asked(&host, &mut since), (first.clone(), 3));
    check(&next(&host, 900), Outcome::Ok, 250);
    assert_eq!(asked(&host, &mut since), (first.clone(), 0));

    // One removed, one added, but the last page fails: the list stays as it is.
    host.sandbox.hide(&ids[..1]);
    host.sandbox
        .set_faults(vec![Rule::new(status(500)).on(Kind::List).skip(2)]);
    let failed = next(&host, 6 * HOURS);
    check(&failed, Outcome::Partial, 250);
    assert_snapshot!(failed.failures[0], @"list of tests: HTTP 500: Internal Server Error; the last complete list stays in use; ask Catchpoint's support");
    assert_eq!(asked(&host, &mut since), (first.clone(), 2 + 4));
    // It is not asked for again at once.
    check(&next(&host, 900), Outcome::Ok, 250);
    assert_eq!(asked(&host, &mut since).1, 0);

    host.sandbox.set_faults(Vec::new());
    let changed = next(&host, HOURS);
    check(&changed, Outcome::Ok, 251);
    assert_snapshot!(changed.notes.join("\n"), @"list of tests: 250 listed, 1 new, 1 not listed any more");
    let all: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(asked(&host, &mut since), (all.clone(), 3));
    // The hour without a run was a gap of the 250 others alone: the coverage of a new one begins now.
    assert_eq!((changed.gaps.found % 250, changed.gaps.open), (0, 0));

    // For a day, the removed one is collected.
    for _ in 0..23 {
        check(&next(&host, HOURS), Outcome::Ok, 251);
    }
    asked(&host, &mut since);
    let dropped = next(&host, HOURS);
    check(&dropped, Outcome::Ok, 250);
    assert_snapshot!(dropped.notes.join("\n"), @"
    list of tests: 250 listed, 0 new, 1 not listed any more
    test 142600 is not collected any more: it is not listed
    ");
    assert_eq!(
        asked(&host, &mut since).0,
        ids[1..].iter().copied().collect()
    );
}

#[test]
fn what_is_not_a_list_changes_nothing() {
    let (host, ids) = host("tests: {}");
    host.run(None).unwrap();
    for effect in [
        Effect::WrongShape,
        Effect::Truncate { after: None },
        Effect::Answer {
            code: 200,
            headers: [].into(),
            body: r#"{"data":{"tests":[]},"completed":true}"#.to_owned(),
        },
        Effect::Answer {
            code: 200,
            headers: [].into(),
            body: r#"{"data":{"tests":[{"id":7},{"id":0}]},"completed":true}"#.to_owned(),
        },
        // There is more, and the next page is the same one.
        Effect::Answer {
            code: 200,
            headers: [].into(),
            body: r#"{"data":{"tests":[{"id":7}],"hasMore":true},"completed":true}"#.to_owned(),
        },
    ] {
        host.sandbox
            .set_faults(vec![Rule::new(effect.clone()).on(Kind::List)]);
        let report = next(&host, 7 * HOURS);
        check(&report, Outcome::Partial, 250);
        assert_eq!(report.failures.len(), 1, "{effect:?}: {report}");
    }
    // Nor does a list that Catchpoint gives later cost the ids by hand their type.
    host.sandbox.set_faults(Vec::new());
    host.set_config(&yaml(
        "v2",
        &format!(
            "test_ids: {{ web: [{}] }}\ntests: {{ types: [dns] }}",
            ids[0]
        ),
    ));
    let report = next(&host, 7 * HOURS);
    check(&report, Outcome::Ok, 101);
    let types: Vec<&str> = report.types.keys().map(String::as_str).collect();
    assert_eq!(types, ["dns", "web"]);
}

#[test]
fn the_tests_are_listed_for_people_too() {
    let (host, _) = host("tests: { folders: [7106], types: [ping, 5] }");
    let get = |path: &str| {
        let answer = serve_trusted(&host, "GET", path);
        (answer.exit_code, answer.body)
    };
    let (code, list) = get("/tests");
    assert_eq!((code, list.lines().count()), (0, 151));
    let head: Vec<&str> = list.lines().take(3).collect();
    assert_snapshot!(head.join("\n"), @r#"
        id  type            folder  name
    142600  ping              7106  Home page ping 1
    142601  ping              7106  Checkout "fast lane" ping 2
    "#);
    let (_, before) = get("/check?online=1");
    assert!(before.contains("the list of tests has 100"), "{before}");
    let about: Vec<&str> = before.lines().skip(1).take(4).collect();
    assert_snapshot!(about.join("\n"), @"
    tests        as Catchpoint lists them: the first run fetches the list, `tests` shows it now
    schedule     every 15 minutes by run_every_minutes; cron_expression must match
    calls        known after the first run, which fetches the list of tests
    gaps         filled up to 24 hours back
    ");
    host.run(None).unwrap();
    let (_, words) = get("/check");
    let about: Vec<&str> = words.lines().skip(1).take(5).collect();
    assert_snapshot!(about.join("\n"), @"
    tests        150 tests of 1 type, up to 100 in a call
                 ping         tests  150, calls   2
    schedule     every 15 minutes by run_every_minutes; cron_expression must match
    calls        2 calls a run (at most 20 a minute); 200 a day (at most 2000)
                 includes 2 calls every 6 hours for the list of tests; `tests` shows the list
    ");

    // Without the key, and without any test.
    host.set_config(&yaml("v4", ""));
    let (code, list) = get("/tests?format=json");
    assert_eq!(code, 0);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["tests"].as_array().unwrap().len(), 250);
    let first = serde_json::json!({ "id": 142_600, "type": "ping", "name": "Home page ping 1", "folder": 7106 });
    assert_eq!(list["tests"][0], first);
    host.set_config(&yaml("v1", ""));
    let (code, words) = get("/tests");
    assert_eq!(code, 64);
    assert_snapshot!(words, @"
    API v1 cannot list tests
      help: write `version: v2` and set api_key, or list the ids in test_ids
    ");
    host.set_config(&yaml("v2", ""));
    let mut all = String::new();
    for fault in [status(404), says("No such folder"), Effect::Refuse] {
        host.sandbox
            .set_faults(vec![Rule::new(fault).on(Kind::List)]);
        let (code, words) = get("/tests");
        assert_eq!(code, 1);
        all += &words;
    }
    assert_snapshot!(all, @"
    HTTP 404: Not Found
      help: check the keys domain, version, rawdata_endpoint (v1) and explorer_endpoint (v2 and later)
    Catchpoint refused the query: No such folder
      help: check the ids below `tests` in config_catchpoint.yaml, and that the API key may list tests
    http://catchpoint.test: connection refused
      help: check the network and the keys protocol and domain
    ");
}
