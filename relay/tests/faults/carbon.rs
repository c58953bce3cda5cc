//! What a carbon stand-in does wrong.

use catchpoint_testbed::{Conduct, StandIn};

use catchpoint_graphite_relay::carbon::delivery::DeliveryError;
use strum::VariantNames as _;

use crate::common::*;
use crate::sender::Sender;
use crate::table::{Needs, Tally};

/// Posts while carbon behaves so, until so many deliveries have failed, then lets it behave well.
fn misbehaving(conduct: Conduct, failures: u64) -> Tally {
    misbehaving_on(conduct, failures, [100; 20])
}

/// The same with posts of so many lines.
fn misbehaving_on<const POSTS: usize>(
    conduct: Conduct,
    failures: u64,
    posts: [usize; POSTS],
) -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(conduct).unwrap();
    let relay = Inner::start(settings(dir.path(), carbon.addr()));
    let sender = Sender::default();
    for lines in posts {
        assert!(sender.post(relay.addr, lines));
    }
    let failed = || relay.relay().metrics().deliveries_failed.sum();
    until("failed deliveries", || (failed() >= failures).then_some(()));
    assert_eq!(
        relay.content().confirmed.batches,
        0,
        "nothing may be taken as confirmed"
    );
    carbon.conduct(Conduct::Read);
    assert!(sender.post(relay.addr, 100));
    let tally = sender.tally(&carbon);
    relay.wait_delivered();
    let failed = &relay.relay().metrics().deliveries_failed;
    let counts: Vec<_> = DeliveryError::VARIANTS
        .iter()
        .map(|name| (name, failed.get(name)))
        .filter(|(_, count)| *count > 0)
        .map(|(error, count)| format!("{count} {error}"))
        .collect();
    tally.noting(format!("deliveries failed: {}", counts.join(", ")))
}

pub fn down_for_the_whole_backlog() -> Result<Tally, Needs> {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let addr = carbon.addr();
    let relay = Inner::start(settings(dir.path(), addr));
    let sender = Sender::default();
    assert!(sender.post(relay.addr, 20));
    relay.wait_delivered();
    drop(carbon.stop());
    for _ in 0..500 {
        assert!(sender.post(relay.addr, 20));
    }
    // The first lines, too: carbon may have lost them.
    let waiting = relay.wait("the backlog", |content| {
        content.waiting.lines + content.replaying.lines == 10_020
    });
    let carbon = carbon_at(addr);
    let tally = sender.tally(&carbon);
    relay.wait_delivered();
    Ok(tally.noting(format!("a backlog of {} batches", waiting.waiting.batches)))
}

pub fn resets_mid_batch() -> Result<Tally, Needs> {
    Ok(misbehaving(Conduct::ResetAfter { lines: 50 }, 3))
}

pub fn never_reads() -> Result<Tally, Needs> {
    // More than a megabyte each, so that the relay waits for room at carbon.
    let tally = misbehaving_on(Conduct::NeverRead, 2, [16_000; 3]);
    assert!(tally.note.contains("stalled"), "{}", tally.note);
    Ok(tally)
}

pub fn closes_at_once() -> Result<Tally, Needs> {
    Ok(misbehaving(Conduct::Close, 5))
}

pub fn resets() -> Result<Tally, Needs> {
    Ok(misbehaving(Conduct::Reset, 5))
}

pub fn slow() -> Result<Tally, Needs> {
    let dir = tempfile::tempdir().unwrap();
    let slow = Conduct::ReadSlowly {
        bytes_per_second: 1024,
    };
    let carbon = StandIn::start(slow).unwrap();
    let relay = Inner::start(settings(dir.path(), carbon.addr()));
    let sender = Sender::default();
    // About 5 KB, more than carbon's receive buffer holds, which has room again only every now and
    // then, and it takes far longer than the stall timeout of half a second.
    assert!(sender.post(relay.addr, 75));
    let tally = sender.tally(&carbon);
    relay.wait_delivered();
    let failed = relay.relay().metrics().deliveries_failed.sum();
    assert!(failed > 0, "it was given up");
    Ok(tally.noting(format!("given up {failed} times")))
}
