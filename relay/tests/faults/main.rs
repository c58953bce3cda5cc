//! The fault matrix: whatever happens to carbon, the relay or the disk, every line that was
//! answered 202 arrives. One test for each fault, and at the end the table of all of them: lines
//! that were answered, and lines of these that are lost.
//!
//! Where carbon restarts, all lines must be at the last one: what a carbon has read it loses from
//! its memory when it stops, and all of it is still within the replay window.
//!
//! A full and a read-only disk need namespaces for mounting (root, or unprivileged ones). Where the
//! system gives none, these two fail unless `FAULTS_MAY_LACK=1` is set, which leaves them out and
//! says so in the table.
//!
//! # Layout
//! - [`table`] the tests as a table, and what it needs to be told
//! - [`sender`] posts lines and remembers which were answered; counts them at a carbon stand-in
//! - [`carbon`] what a carbon stand-in does wrong
//! - [`real`] a real carbon, and every point read back from its disk
//! - [`relay`] the relay is killed
//! - [`senders`] too many senders, a flood of connections, and clocks that differ
//! - [`disk`] the spool or the disk is full, or read-only
//! - [`network`] the network between the relay and carbon
//! - [`peers`] something else in carbon's place
//! - [`order`] values that are corrected
//! - [`damage`] files of the spool that are not what they were
//! - [`power`] what was not synced is gone
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod carbon;
#[allow(dead_code, reason = "the other tests use the rest of it")]
#[path = "../it/common.rs"]
mod common;
mod damage;
mod disk;
mod network;
mod order;
mod peers;
mod power;
mod real;
mod relay;
mod sender;
mod senders;
#[allow(dead_code, reason = "the spool's model test uses the rest of it")]
#[path = "../../src/spool/tests/sim.rs"]
mod sim;
mod table;

use std::process::ExitCode;

// Where the simulated disk, which is part of the library's own tests, looks for it.
use catchpoint_graphite_relay::spool;

use catchpoint_testbed::Conduct;

use senders::FLOOD;
use table::{Fault, Outcome};

/// Lines are counted on the disk of a real carbon, read by graphite-web.
const REAL: &str = "real";
/// Lines are counted as they come to a recording stand-in.
const STAND_IN: &str = "stand-in";

/// The rows: where lines are counted, the fault, and its test.
macro_rules! faults {
    ($($carbon:ident $name:literal => $test:expr,)+) => {
        const FAULTS: &[Fault] = &[$(Fault($name, $carbon, || Outcome::from($test))),+];
    };
}

faults! {
    REAL "carbon down at start" => real::down_at_start(),
    STAND_IN "carbon down for the whole backlog" => carbon::down_for_the_whole_backlog(),
    REAL "carbon killed mid-batch" => real::killed_mid_batch(),
    STAND_IN "carbon resets mid-batch" =>
        carbon::misbehaving(Conduct::ResetAfter { lines: 50 }, 3, &[100; 20]),
    REAL "carbon stopped, then killed" => real::stopped_then_killed(),
    STAND_IN "carbon accepts and never reads" => carbon::never_reads(),
    STAND_IN "carbon closes at once" => carbon::misbehaving(Conduct::Close, 5, &[100; 20]),
    STAND_IN "carbon resets" => carbon::misbehaving(Conduct::Reset, 5, &[100; 20]),
    STAND_IN "carbon slow at 1 KB/s" => carbon::slow(),
    REAL "carbon restarted 50 times during load" => real::restarted_during_load(),
    REAL "carbon SIGTERMed 20 times right after it confirmed" =>
        real::stopped_after_confirming(real::Signal::TERM),
    REAL "carbon SIGKILLed 20 times right after it confirmed" =>
        real::stopped_after_confirming(real::Signal::KILL),
    STAND_IN "relay kill -9 100 times under load" => relay::killed(100, false),
    STAND_IN "relay and carbon killed together 20 times" => relay::killed(20, true),
    STAND_IN "600 senders on a 2 s fsync" => senders::on_a_slow_disk(),
    STAND_IN "flood of idle connections, senders 50 ms away, TLS" =>
        senders::beside_a_flood([127, 0, 0, 3].into()),
    STAND_IN "the same flood from the senders' own address" => senders::beside_a_flood(FLOOD),
    STAND_IN "relay's clock 13 h slow, then right" => senders::by_clock(13 * 3600),
    STAND_IN "relay's clock 2 years fast" => senders::by_clock(-2 * 365 * 86_400),
    STAND_IN "carbon's machine loses power" => network::machine_lost(),
    STAND_IN "carbon's name moves to another address" => network::name_moves(),
    STAND_IN "carbon's name cannot be resolved" => network::no_name(),
    STAND_IN "1000 ports, a fast sender" => network::few_ports(),
    STAND_IN "a web server in carbon's place" => peers::web_server(),
    STAND_IN "a mail server in carbon's place" => peers::mail_server(),
    STAND_IN "a peer that serves one connection at a time" => peers::one_at_a_time(),
    REAL "carbon's pickle and query ports" => peers::other_ports_of_carbon(),
    STAND_IN "value corrected while it waits" => order::while_it_waits(),
    STAND_IN "value corrected while it is sent again" => order::while_it_is_sent_again(),
    STAND_IN "value corrected while the relay starts" => order::while_the_relay_starts(),
    STAND_IN "spool full" => disk::spool_full(),
    STAND_IN "disk full" => disk::full(),
    STAND_IN "disk read-only" => disk::read_only(),
    STAND_IN "disk hung" => disk::hung(),
    STAND_IN "the disk hangs on one file, then gives it" => disk::one_file_hung(),
    STAND_IN "the spool's mount away for seconds" => disk::away(),
    STAND_IN "spool file truncated" => damage::damaged(damage::truncate, 100),
    STAND_IN "spool file flipped" => damage::damaged(damage::flip, 100),
    STAND_IN "spool file empty" => damage::damaged(|file| std::fs::write(file, "").unwrap(), 100),
    STAND_IN "spool file foreign" => damage::damaged(damage::add, 0),
    STAND_IN "power cut 100 times, unsynced writes dropped" => power::cut(),
}

fn main() -> ExitCode {
    table::run(FAULTS)
}
