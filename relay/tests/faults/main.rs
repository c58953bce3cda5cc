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

/// The rows: where lines are counted, the fault, and its test.
macro_rules! faults {
    ($($carbon:ident $name:literal $test:path,)+) => {
        const FAULTS: &[Fault] = &[$(Fault($name, $carbon, $test)),+];
    };
}

faults! {
    Real "carbon down at start" real::down_at_start,
    StandIn "carbon down for the whole backlog" carbon::down_for_the_whole_backlog,
    Real "carbon killed mid-batch" real::killed_mid_batch,
    StandIn "carbon resets mid-batch" carbon::resets_mid_batch,
    Real "carbon stopped, then killed" real::stopped_then_killed,
    StandIn "carbon accepts and never reads" carbon::never_reads,
    StandIn "carbon closes at once" carbon::closes_at_once,
    StandIn "carbon resets" carbon::resets,
    StandIn "carbon slow at 1 KB/s" carbon::slow,
    Real "carbon restarted 50 times during load" real::restarted_during_load,
    Real "carbon SIGTERMed 20 times right after it confirmed" real::sigtermed_after_confirming,
    Real "carbon SIGKILLed 20 times right after it confirmed" real::sigkilled_after_confirming,
    StandIn "relay kill -9 100 times under load" relay::killed_under_load,
    StandIn "relay and carbon killed together 20 times" relay::killed_with_carbon,
    StandIn "600 senders on a 2 s fsync" senders::on_a_slow_disk,
    StandIn "flood of idle connections, senders 50 ms away, TLS" senders::beside_a_flood,
    StandIn "the same flood from the senders' own address" senders::beside_a_flood_from_their_own_address,
    StandIn "relay's clock 13 h slow, then right" senders::clock_is_slow,
    StandIn "relay's clock 2 years fast" senders::clock_is_fast,
    StandIn "carbon's machine loses power" network::machine_lost,
    StandIn "carbon's name moves to another address" network::name_moves,
    StandIn "carbon's name cannot be resolved" network::no_name,
    StandIn "1000 ports, a fast sender" network::few_ports,
    StandIn "a web server in carbon's place" peers::web_server,
    StandIn "a mail server in carbon's place" peers::mail_server,
    StandIn "a peer that serves one connection at a time" peers::one_at_a_time,
    Real "carbon's pickle and query ports" peers::other_ports_of_carbon,
    StandIn "value corrected while it waits" order::while_it_waits,
    StandIn "value corrected while it is sent again" order::while_it_is_sent_again,
    StandIn "value corrected while the relay starts" order::while_the_relay_starts,
    StandIn "spool full" disk::spool_full,
    StandIn "disk full" disk::full,
    StandIn "disk read-only" disk::read_only,
    StandIn "disk hung" disk::hung,
    StandIn "the disk hangs on one file, then gives it" disk::one_file_hung,
    StandIn "the spool's mount away for seconds" disk::away,
    StandIn "spool file truncated" damage::truncated,
    StandIn "spool file flipped" damage::flipped,
    StandIn "spool file empty" damage::empty,
    StandIn "spool file foreign" damage::foreign,
    StandIn "power cut 100 times, unsynced writes dropped" power::cut,
}

fn main() -> ExitCode {
    table::run(FAULTS)
}
