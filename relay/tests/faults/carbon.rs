//! What a carbon stand-in does wrong.

use catchpoint_graphite_relay::carbon::delivery::DeliveryError;
use catchpoint_testbed::{Conduct, StandIn};
use strum::VariantNames as _;

use crate::common::*;
use crate::sender::{Sender, World};
use crate::table::Tally;

/// Posts of so many lines while carbon behaves so, until so many deliveries have failed; then it behaves
/// well.
pub fn misbehaving(conduct: Conduct, failures: u64, posts: &[usize]) -> Tally {
    let world = World::new(conduct);
    for lines in posts {
        world.post(*lines);
    }
    let failed = &world.relay.relay().metrics().deliveries_failed;
    until("failed deliveries", || {
        (failed.sum() >= failures).then_some(())
    });
    let confirmed = world.relay.content().confirmed.batches;
    assert_eq!(confirmed, 0, "nothing may be taken as confirmed");
    world.carbon.conduct(Conduct::Read);
    world.post(100);
    let tally = world.tally();
    world.relay.wait_delivered();
    let reasons = DeliveryError::VARIANTS.iter();
    let counts: Vec<_> = reasons
        .map(|reason| (failed.get(reason), reason))
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
    tally.noting(format!("deliveries failed: {}", counts.join(", ")))
}

pub fn never_reads() -> Tally {
    // More than a megabyte each, so that the relay waits for room at carbon.
    let tally = misbehaving(Conduct::NeverRead, 2, &[16_000; 3]);
    assert!(tally.note.contains("stalled"), "{}", tally.note);
    tally
}

pub fn down_for_the_whole_backlog() -> Tally {
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
    tally.noting(format!("a backlog of {} batches", waiting.waiting.batches))
}

pub fn slow() -> Tally {
    let world = World::new(Conduct::ReadSlowly {
        bytes_per_second: 1024,
    });
    // About 5 KB, more than carbon's receive buffer holds, which has room again only every now and
    // then, and it takes far longer than the stall timeout of half a second.
    world.post(75);
    let tally = world.tally();
    world.relay.wait_delivered();
    let failed = world.relay.relay().metrics().deliveries_failed.sum();
    assert!(failed > 0, "it was given up");
    tally.noting(format!("given up {failed} times"))
}
