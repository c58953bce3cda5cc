use std::pin::pin;
use std::task::{Context, Waker};

use super::*;

const GOOD: &str = "192.0.2.1";
const FLOOD: &str = "192.0.2.2";

fn admission() -> Arc<Admission> {
    let limits = Limits {
        waiting: 4,
        reading: 2,
        storing: 1,
    };
    Admission::new(limits, Arc::default())
}

fn sender(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 2080)
}

/// Comes in at once, and drives out another one however young.
fn enter(admission: &Arc<Admission>, address: &str) -> Ticket {
    admission
        .try_enter(sender(address), Duration::ZERO)
        .unwrap()
}

fn is_ready(future: impl Future<Output = ()>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(future).poll(&mut context).is_ready()
}

fn is_closed(ticket: &Ticket) -> bool {
    is_ready(ticket.closed())
}

#[test]
fn r06_a_flood_drives_out_only_itself() {
    let admission = admission();
    let good = enter(&admission, GOOD);
    let mut flood: Vec<_> = (0..4).map(|_| enter(&admission, FLOOD)).collect();
    assert!(is_closed(&flood.remove(0)));
    for _ in 0..1000 {
        flood.push(enter(&admission, FLOOD));
        assert!(is_closed(&flood.remove(0)));
    }
    assert!(!is_closed(&good) && !flood.iter().any(is_closed));
    let metrics = &admission.metrics;
    assert_eq!(metrics.connections_evicted.get(), 1001);
    assert_eq!(metrics.connections_open.get(), 4);
    drop(flood);
    assert_eq!(metrics.connections_open.get(), 1);
    assert_eq!(metrics.connections.get(), 1005);
}

#[test]
fn r06_an_ipv6_network_is_one_address() {
    let admission = admission();
    let good = enter(&admission, "::ffff:192.0.2.1");
    let of_network = |n| enter(&admission, &format!("2001:db8::{n}"));
    let _flood: Vec<_> = (0..100).map(of_network).collect();
    assert!(!is_closed(&good));
}

#[tokio::test(start_paused = true)]
async fn r06_a_flood_leaves_each_connection_its_time() {
    let admission = admission();
    let _waiting: Vec<_> = (0..4).map(|_| enter(&admission, FLOOD)).collect();
    let start = Instant::now();
    let _next = admission.enter(sender(GOOD)).await;
    assert!(start.elapsed() >= MIN_WAIT);
}

#[tokio::test(start_paused = true)]
async fn r13_a_post_that_is_stored_is_never_driven_out() {
    let admission = admission();
    let stored = enter(&admission, GOOD);
    let mut stored_post = stored.post().await;
    assert!(stored_post.store());
    let slow = [enter(&admission, GOOD), enter(&admission, GOOD)];
    let slow_posts = [slow[0].post().await, slow[1].post().await];
    let next = enter(&admission, FLOOD);
    let start = Instant::now();
    let mut next_post = next.post().await;
    assert!(start.elapsed() >= MIN_READ);
    // Of the address with most, the one that has been read for the longest time.
    let is_refused = |post: &Post<'_>| is_ready(post.refused());
    assert!(is_refused(&slow_posts[0]) && !is_refused(&slow_posts[1]));
    assert!(!is_refused(&next_post) && !is_refused(&stored_post));
    let _flood: Vec<_> = (0..100).map(|_| enter(&admission, GOOD)).collect();
    assert!(!is_closed(&stored) && !is_closed(&next));
    // There is no room for a second one, whose sender is told so.
    assert!(!next_post.store());
    drop(stored_post);
    assert!(next_post.store());
}

/// The next post over a connection has nothing to do with one that had to make room.
#[tokio::test(start_paused = true)]
async fn a_post_that_made_room_costs_no_later_one() {
    let admission = admission();
    let first = enter(&admission, GOOD);
    let evicted = first.post().await;
    let (second, third) = (enter(&admission, GOOD), enter(&admission, GOOD));
    let _posts = (second.post().await, third.post().await);
    // It was read to its end before it heard of it.
    drop(evicted);
    assert!(!is_ready(first.post().await.refused()));
}
