//! The power goes while posts are being stored: of what was not synced, anything may be gone.

use std::sync::Arc;
use std::time::Duration;

use catchpoint_testbed::port;

use crate::common::*;
use crate::sender::Sender;
use crate::sim::SimDisk;
use crate::table::Tally;

const CUTS: usize = 100;

/// Carbon comes only at the end: all that was answered has to have outlived every cut on the disk.
pub fn cut() -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let addr = port::free().unwrap();
    let start = || {
        let mut settings = settings(dir.path(), addr);
        settings.drain_timeout = Duration::ZERO;
        Inner::start_on(settings, Arc::new(disk.clone()))
    };
    let sender = Sender::default();
    for _ in 0..CUTS {
        let relay = start();
        // From here on the disk does nothing more: the machine has stopped at this step.
        disk.fail_after(fastrand::u32(0..60));
        while sender.post(relay.addr, 20) {}
        relay.stop();
        disk.cut_power(fastrand::bool);
        disk.recover();
    }
    let relay = start();
    let content = relay.content();
    let kept = content.waiting.lines + content.replaying.lines;
    assert_eq!(relay.relay().metrics().lines_lost.get(), 0);
    let carbon = carbon_at(addr);
    let tally = sender.tally(&carbon);
    tally.noting(format!("{kept} lines on the disk after the last cut"))
}
