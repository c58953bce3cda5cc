//! A value is corrected while the first one waits, is sent again, or the relay starts. What counts as
//! lost is a correction: the first value is the last that carbon gets.

use std::time::Duration;

use catchpoint_testbed::{StandIn, port};

use crate::common::*;
use crate::table::Tally;

const TRIALS: usize = 10;

/// A carbon that is not always there, and a relay.
struct World {
    dir: tempfile::TempDir,
    addr: std::net::SocketAddr,
    carbon: Option<StandIn>,
    relay: Option<Inner>,
}

impl World {
    fn start_relay(&mut self) {
        let settings = settings(self.dir.path(), self.addr);
        self.relay = Some(Inner::start(settings));
    }

    fn stop_relay(&mut self) {
        self.relay.take().unwrap().stop();
    }

    fn start_carbon(&mut self) {
        self.carbon = Some(carbon_at(self.addr));
    }

    fn stop_carbon(&mut self) {
        drop(self.carbon.take());
    }

    fn post(&self, trial: usize, value: usize) {
        let line = format!("order.s{trial} {value} 1700000000\n");
        let addr = self.relay.as_ref().unwrap().addr;
        assert_eq!(post(addr, line).status, 202);
    }

    fn wait_delivered(&self) {
        self.relay.as_ref().unwrap().wait_delivered();
    }
}

fn corrected(correct: impl Fn(&mut World, usize)) -> Tally {
    let mut lost = 0;
    for trial in 0..TRIALS {
        let mut world = World {
            dir: tempfile::tempdir().unwrap(),
            addr: port::free().unwrap(),
            carbon: None,
            relay: None,
        };
        world.start_relay();
        correct(&mut world, trial);
        // Whatever happened is noticed, and all is sent.
        std::thread::sleep(Duration::from_millis(300));
        world.wait_delivered();
        let lines = world.carbon.unwrap().lines();
        let mut mine = lines.iter().filter(|line| line.starts_with("order."));
        let corrected = format!("order.s{trial} 2 1700000000");
        lost += usize::from(mine.next_back() != Some(&corrected));
    }
    Tally {
        answered: 2 * TRIALS,
        lost,
        note: format!("{TRIALS} corrections"),
    }
}

pub fn while_it_waits() -> Tally {
    corrected(|world, trial| {
        world.post(trial, 1);
        world.post(trial, 2);
        world.start_carbon();
    })
}

pub fn while_it_is_sent_again() -> Tally {
    corrected(|world, trial| {
        world.start_carbon();
        world.post(trial, 1);
        world.wait_delivered();
        world.stop_carbon();
        world.start_carbon();
        world.post(trial, 2);
    })
}

pub fn while_the_relay_starts() -> Tally {
    corrected(|world, trial| {
        world.start_carbon();
        world.post(trial, 1);
        world.wait_delivered();
        world.stop_relay();
        world.start_relay();
        world.post(trial, 2);
    })
}
