//! kill -9.

use std::time::Duration;

use catchpoint_testbed::{StandIn, port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::*;
use crate::sender::Sender;
use crate::table::Tally;

/// Senders at the same time.
const SENDERS: usize = 3;

/// Kills the relay at random points of a load, and carbon with it or not.
pub fn killed(times: usize, carbon_too: bool) -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let (addr, carbon_addr) = (port::free().unwrap(), port::free().unwrap());
    let mut running = Some(carbon_at(carbon_addr));
    let sender = Sender::default();
    for _ in 0..times {
        let mut relay = Program::start_at(addr, dir.path(), carbon_addr, &[]);
        let pid = Pid::from_raw(relay.process.id().try_into().unwrap());
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                // Until the relay is gone.
                scope.spawn(|| while sender.post(addr, 20) {});
            }
            std::thread::sleep(Duration::from_micros(fastrand::u64(0..40_000)));
            kill(pid, Signal::SIGKILL).unwrap();
            if carbon_too {
                running.take().map(StandIn::stop);
                running = Some(carbon_at(carbon_addr));
            }
        });
        relay.process.wait_end(SOON).unwrap();
    }
    let _relay = Program::start_at(addr, dir.path(), carbon_addr, &[]);
    sender.tally(&running.unwrap())
}
