//! Posts lines, and remembers which were answered.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use catchpoint_graphite_relay::config::Settings;
use catchpoint_graphite_relay::spool::disk::{Disk, OsDisk};
use catchpoint_testbed::{Conduct, Error, StandIn, wait};
use tempfile::TempDir;

use crate::common::*;
use crate::table::Tally;

/// How long lines may take to arrive on a busy machine.
const LONGEST_WAIT: Duration = Duration::from_secs(90);

/// A sender, or several at the same time.
#[derive(Default)]
pub struct Sender {
    answered: Mutex<HashSet<String>>,
    parts: AtomicUsize,
}

impl Sender {
    /// Posts a batch of new lines; true if it was answered 202.
    pub fn post(&self, addr: SocketAddr, count: usize) -> bool {
        let part = self.parts.fetch_add(1, Ordering::Relaxed);
        let lines = lines(part, count);
        let request = request("POST", "/v1/lines", &[], body(&lines).as_bytes());
        let accepted = send(addr, &request).is_ok_and(|answer| answer.status == 202);
        if accepted {
            self.note(lines);
        }
        accepted
    }

    /// Posts until it is refused, and checks that the refusal says when to come again. Gives it, and how
    /// many lines were answered.
    pub fn fill(&self, addr: SocketAddr, count: usize) -> (Answer, usize) {
        while self.post(addr, count) {}
        let refused = post(addr, body(&lines(1_000_000, count)));
        let retry = refused.header("retry-after");
        assert_eq!((refused.status, retry), (503, Some("30")));
        (refused, self.count())
    }

    /// Remembers lines that were answered.
    pub fn note(&self, lines: Vec<String>) {
        self.answered.lock().unwrap().extend(lines);
    }

    /// How many lines were answered.
    pub fn count(&self) -> usize {
        self.answered.lock().unwrap().len()
    }

    /// Waits until all that was answered is at this carbon, and counts what is not.
    pub fn tally(&self, carbon: &StandIn) -> Tally {
        let answered = self.answered.lock().unwrap();
        // What is missing when the time is over is counted as lost.
        let _ = wait::until("all lines at carbon", LONGEST_WAIT, || {
            Ok::<_, Error>((missing(carbon, &answered) == 0).then_some(()))
        });
        Tally {
            answered: answered.len(),
            lost: missing(carbon, &answered),
            note: String::new(),
        }
    }
}

/// A carbon stand-in, a relay in this process, and a sender.
pub struct World {
    pub carbon: StandIn,
    pub relay: Inner,
    pub sender: Sender,
    pub dir: TempDir,
}

impl World {
    pub fn new(conduct: Conduct) -> Self {
        Self::new_on(conduct, Arc::new(OsDisk), |_, _| {})
    }

    /// With its spool on this disk, and settings that are changed.
    pub fn new_on(
        conduct: Conduct,
        disk: Arc<dyn Disk>,
        change: impl FnOnce(&mut Settings, &TempDir),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let carbon = StandIn::start(conduct).unwrap();
        let mut settings = settings(dir.path(), carbon.addr());
        change(&mut settings, &dir);
        Self {
            carbon,
            relay: Inner::start_on(settings, disk),
            sender: Sender::default(),
            dir,
        }
    }

    /// Posts a batch of new lines, which is answered 202.
    pub fn post(&self, count: usize) {
        assert!(self.sender.post(self.relay.addr, count));
    }

    pub fn tally(&self) -> Tally {
        self.sender.tally(&self.carbon)
    }
}
