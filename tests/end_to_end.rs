//! The real pieces together: the wasm component in our host, the relay, and a recording stand-in for
//! carbon. `cargo xtask test` builds the pieces beforehand. With a real Graphite behind them they run in
//! `dev/testbed/tests/deploy/dashboards.rs`.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use catchpoint_testbed::pipeline::{Run, SOON, Size, wasm};
use catchpoint_testbed::truth::{Truth, total};
use catchpoint_testbed::{Conduct, Pipeline, Signal, StandIn, port};

/// A small component starts quickly where each firing is a new instance.
#[test]
fn the_component_is_small() {
    let file = wasm("catchpoint_graphite.wasm").unwrap();
    let bytes = file.metadata().unwrap().len();
    assert!(bytes < 1_250_000, "{bytes} bytes");
}

/// That the lines of one collection are those that the original sends, and that none is missing.
fn assert_complete(pipeline: &Pipeline, carbon: &StandIn, run: &Run) {
    let report = &run.report;
    assert_eq!(report.outcome, "ok", "{:?}", report.failures);
    assert_eq!(report.samples, report.lines_accepted as u64);
    let lines = carbon.wait_lines(report.lines_accepted, SOON).unwrap();
    let truth = Truth::ask(&pipeline.sandbox_url(), run, 1).unwrap();
    assert_eq!(truth.kinds.len(), 16);
    let found = total(&truth.compare_lines(&lines));
    assert_eq!((found.missing, found.wrong), (0, 0));
    assert!(found.right > 500, "only {} values", found.right);
}

#[test]
fn the_originals_configuration_delivers_the_originals_lines() {
    let folder = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let pipeline = Pipeline::start(folder.path(), carbon.addr(), Size::SMALL).unwrap();
    let run = pipeline.collect().unwrap();
    assert_complete(&pipeline, &carbon, &run);
}

#[test]
fn kill_9_of_the_relay_between_202_and_carbon_loses_no_line() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there yet: the relay answers 202 and cannot forward.
    let address = port::free().unwrap();
    let mut pipeline = Pipeline::start(folder.path(), address, Size::SMALL).unwrap();
    let run = pipeline.collect().unwrap();
    pipeline.relay.signal(Signal::KILL).unwrap();
    pipeline.relay.wait_end(SOON).unwrap();
    let carbon = StandIn::start_at(address, Conduct::Read).unwrap();
    pipeline.restart_relay().unwrap();
    assert_complete(&pipeline, &carbon, &run);
}
