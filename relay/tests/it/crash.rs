//! kill -9.

use std::collections::HashSet;

use catchpoint_testbed::{Signal, port};

use crate::common::*;

#[test]
fn a_relay_killed_between_answer_and_delivery_delivers_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let mut relay = Program::start(dir.path(), addr, &[]);
    let mut expected = HashSet::new();
    for part in 0..10 {
        let lines = lines(part, 100);
        assert_eq!(post(relay.addr, body(&lines)).status, 202);
        expected.extend(lines);
    }
    relay.process.signal(Signal::KILL).unwrap();
    relay.process.wait_end(SOON).unwrap();
    let carbon = carbon_at(addr);
    let _relay = Program::start(dir.path(), addr, &[]);
    wait_all(&carbon, &expected);
}
