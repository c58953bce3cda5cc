//! The open connections of the inlet, and which of them has to go when there are too many.
//!
//! A new connection always gets in. One half of the house is for connections at work on a post that
//! was let in, the other for those that wait for one; when a half is full, the connection goes that
//! has been in it for the longest time. So ten thousand idle connections only drive out each other,
//! slow senders only slow senders, and neither the one who comes, posts and leaves: so that a flood
//! leaves it the time to do so, the flood is held back while nobody has waited long enough to go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::metrics::Metrics;

/// So long a connection may wait for its post before it has to go.
const GRACE: Duration = Duration::from_millis(25);

/// The open connections.
pub struct Connections {
    max_of_each: usize,
    metrics: Arc<Metrics>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last_id: u64,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    /// Whether a post that was let in is being read.
    busy: bool,
    /// Since when; none before its task runs, which on a busy machine may take longer than the grace.
    since: Option<Instant>,
    evicted: Arc<Notify>,
}

/// A place among the open connections; dropping it gives the place back.
pub struct Ticket {
    id: u64,
    evicted: Arc<Notify>,
    house: Arc<Connections>,
}

/// Marks a connection as busy as long as it lives.
pub struct Busy<'a>(&'a Ticket);

impl Connections {
    /// At most so many at work, and as many that are not.
    #[must_use]
    pub fn new(max_of_each: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            max_of_each,
            metrics,
            open: Mutex::default(),
        })
    }

    /// Waits until a new connection costs none that has only just come.
    pub async fn room(&self) {
        while self.is_flood() {
            // All of it, not what the oldest lacks: then a whole half may come before the next pause,
            // where a timer has no time finer than a millisecond.
            sleep(GRACE).await;
        }
    }

    /// Whether one half is full of connections that have only just come.
    fn is_flood(&self) -> bool {
        let open = self.open();
        let waiting = || open.connections.values().filter(|other| !other.busy);
        let has_just_come = |since: Instant| since.elapsed() < GRACE;
        waiting().count() >= self.max_of_each
            && waiting().all(|other| other.since.is_none_or(has_just_come))
    }

    /// Takes in a new connection, at the cost of another one if there are too many.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Ticket {
        let mut open = self.open();
        self.make_room(&mut open, false);
        open.last_id += 1;
        let id = open.last_id;
        let evicted = Arc::new(Notify::new());
        open.connections.insert(
            id,
            Connection {
                busy: false,
                since: None,
                evicted: Arc::clone(&evicted),
            },
        );
        self.metrics.connections.add(1);
        self.metrics.connections_open.add(1);
        Ticket {
            id,
            evicted,
            house: Arc::clone(self),
        }
    }

    fn mark(&self, id: u64, busy: bool) {
        let mut open = self.open();
        if !open.connections.contains_key(&id) {
            return;
        }
        self.make_room(&mut open, busy);
        if let Some(connection) = open.connections.get_mut(&id) {
            connection.busy = busy;
            connection.since = Some(Instant::now());
        }
    }

    /// Makes room for one more connection in this half.
    fn make_room(&self, open: &mut Open, busy: bool) {
        let half = open
            .connections
            .iter()
            .filter(|(_, connection)| connection.busy == busy);
        if half.clone().count() < self.max_of_each {
            return;
        }
        let longest = half
            .min_by_key(|(id, connection)| (connection.since.is_none(), connection.since, **id))
            .map(|(id, _)| *id);
        if let Some(connection) = longest.and_then(|id| open.connections.remove(&id)) {
            connection.evicted.notify_one();
            self.metrics.connections_evicted.add(1);
            self.metrics.connections_open.subtract(1);
        }
    }

    /// The state is consistent after each statement that changes it.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Begins the time that the connection has for its post.
    pub fn begin(&self) {
        if let Some(connection) = self.house.open().connections.get_mut(&self.id) {
            connection.since = Some(Instant::now());
        }
    }

    /// Waits until the connection has to go.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Marks the connection as busy with a post that was let in.
    #[must_use]
    pub fn busy(&self) -> Busy<'_> {
        self.house.mark(self.id, true);
        Busy(self)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.house.mark(self.0.id, false);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.house.open().connections.remove(&self.id).is_some() {
            self.house.metrics.connections_open.subtract(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_evicted(ticket: &Ticket) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let evicted = pin!(ticket.evicted()).poll(&mut context);
        evicted == Poll::Ready(())
    }

    fn come(house: &Arc<Connections>) -> Ticket {
        let ticket = house.enter();
        ticket.begin();
        ticket
    }

    #[test]
    fn one_that_had_no_time_yet_stays() {
        let house = Connections::new(2, Arc::default());
        let not_begun = house.enter();
        let idle = come(&house);
        assert!(house.is_flood());
        let next = come(&house);
        assert!(is_evicted(&idle) && !is_evicted(&not_begun) && !is_evicted(&next));
    }

    #[test]
    fn the_longest_in_a_full_half_goes() {
        let metrics = Arc::new(Metrics::default());
        let house = Connections::new(2, Arc::clone(&metrics));
        let at_work = come(&house);
        let busy = at_work.busy();
        let first_idle = come(&house);
        let second_idle = come(&house);
        let third_idle = come(&house);
        assert!(is_evicted(&first_idle) && !is_evicted(&second_idle) && !is_evicted(&at_work));
        // A post that has ended makes its connection the newest of those that wait.
        drop(busy);
        assert!(is_evicted(&second_idle) && !is_evicted(&third_idle) && !is_evicted(&at_work));
        let slow = [come(&house), come(&house)];
        let _posts: Vec<_> = slow.iter().map(Ticket::busy).collect();
        let newest = come(&house);
        let _post = newest.busy();
        assert!(is_evicted(&slow[0]) && !is_evicted(&slow[1]) && !is_evicted(&newest));
        assert_eq!(metrics.connections_open.get(), 2);
    }

    #[test]
    fn a_place_is_given_back() {
        let metrics = Arc::new(Metrics::default());
        let house = Connections::new(2, Arc::clone(&metrics));
        for _ in 0..10 {
            let ticket = house.enter();
            assert!(!is_evicted(&ticket));
        }
        assert_eq!(
            (metrics.connections.get(), metrics.connections_open.get()),
            (10, 0)
        );
        assert_eq!(metrics.connections_evicted.get(), 0);
    }
}
