//! Posts lines, and remembers which were answered.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use catchpoint_testbed::{Error, StandIn, wait};

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
