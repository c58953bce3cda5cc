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

use table::{Carbon::Real, Carbon::StandIn, Fault};

const FAULTS: &[Fault] = &[
    Fault("carbon down at start", Real, real::down_at_start),
    Fault(
        "carbon down at start, stand-in",
        StandIn,
        carbon::down_at_start,
    ),
    Fault(
        "carbon down for the whole backlog",
        StandIn,
        carbon::down_for_the_whole_backlog,
    ),
    Fault("carbon killed mid-batch", Real, real::killed_mid_batch),
    Fault("carbon resets mid-batch", StandIn, carbon::resets_mid_batch),
    Fault(
        "carbon stopped, then killed",
        Real,
        real::stopped_then_killed,
    ),
    Fault(
        "carbon stopped, then killed, stand-in",
        StandIn,
        carbon::stopped_then_killed,
    ),
    Fault(
        "carbon accepts and never reads",
        StandIn,
        carbon::never_reads,
    ),
    Fault("carbon closes at once", StandIn, carbon::closes_at_once),
    Fault("carbon resets", StandIn, carbon::resets),
    Fault("carbon slow at 1 KB/s", StandIn, carbon::slow),
    Fault(
        "carbon restarted 50 times during load",
        Real,
        real::restarted_during_load,
    ),
    Fault(
        "carbon restarted 50 times during load, stand-in",
        StandIn,
        carbon::restarted_during_load,
    ),
    Fault(
        "carbon SIGTERMed 20 times right after it confirmed",
        Real,
        real::sigtermed_after_confirming,
    ),
    Fault(
        "carbon SIGKILLed 20 times right after it confirmed",
        Real,
        real::sigkilled_after_confirming,
    ),
    Fault(
        "relay kill -9 100 times under load",
        StandIn,
        relay::killed_under_load,
    ),
    Fault(
        "relay and carbon killed together 20 times",
        StandIn,
        relay::killed_with_carbon,
    ),
    Fault(
        "600 senders on a 2 s fsync",
        StandIn,
        senders::on_a_slow_disk,
    ),
    Fault(
        "flood of idle connections, 50 ms away, TLS",
        StandIn,
        senders::beside_a_flood,
    ),
    Fault(
        "flood of idle connections from the same address",
        StandIn,
        senders::beside_a_flood_from_their_own_address,
    ),
    Fault(
        "relay's clock 13 h slow, then right",
        StandIn,
        senders::clock_is_slow,
    ),
    Fault(
        "relay's clock 2 years fast",
        StandIn,
        senders::clock_is_fast,
    ),
    Fault("spool full", StandIn, disk::spool_full),
    Fault("disk full", StandIn, disk::full),
    Fault("disk read-only", StandIn, disk::read_only),
    Fault("spool file truncated", StandIn, damage::truncated),
    Fault("spool file flipped", StandIn, damage::flipped),
    Fault("spool file empty", StandIn, damage::empty),
    Fault("spool file foreign", StandIn, damage::foreign),
    Fault(
        "power cut 100 times, unsynced writes dropped",
        StandIn,
        power::cut,
    ),
];

fn main() -> ExitCode {
    table::run(FAULTS)
}
