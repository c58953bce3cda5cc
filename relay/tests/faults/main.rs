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

use table::{Carbon::Real, Carbon::StandIn, Fault};

const FAULTS: &[Fault] = &[
    Fault("carbon down at start", Real, real::down_at_start),
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
        "flood of idle connections, senders 50 ms away, TLS",
        StandIn,
        senders::beside_a_flood,
    ),
    Fault(
        "the same flood from the senders' own address",
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
    Fault(
        "carbon's machine loses power",
        StandIn,
        network::machine_lost,
    ),
    Fault(
        "carbon's name moves to another address",
        StandIn,
        network::name_moves,
    ),
    Fault(
        "carbon's name cannot be resolved",
        StandIn,
        network::no_name,
    ),
    Fault("1000 ports, a fast sender", StandIn, network::few_ports),
    Fault("a web server in carbon's place", StandIn, peers::web_server),
    Fault(
        "a mail server in carbon's place",
        StandIn,
        peers::mail_server,
    ),
    Fault(
        "carbon's pickle and query ports",
        Real,
        peers::other_ports_of_carbon,
    ),
    Fault(
        "value corrected while it waits",
        StandIn,
        order::while_it_waits,
    ),
    Fault(
        "value corrected while it is sent again",
        StandIn,
        order::while_it_is_sent_again,
    ),
    Fault(
        "value corrected while the relay starts",
        StandIn,
        order::while_the_relay_starts,
    ),
    Fault("spool full", StandIn, disk::spool_full),
    Fault("disk full", StandIn, disk::full),
    Fault("disk read-only", StandIn, disk::read_only),
    Fault("disk hung", StandIn, disk::hung),
    Fault("the spool's mount away for seconds", StandIn, disk::away),
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
