//! The open connections of the inlet, and which of them has to go when there are too many.
//!
//! A new connection always gets in. When the house is full, the one goes that has least claim:
//! first of those without a post being read, then the one that has been so for the longest time.
//! So ten thousand idle connections only drive out each other, and never a sender at work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::metrics::Metrics;

/// The open connections.
pub struct Connections {
    max: usize,
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
    /// Since when.
    since: Instant,
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
    /// At most so many.
    #[must_use]
    pub fn new(max: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            max,
            metrics,
            open: Mutex::default(),
        })
    }

    /// Takes in a new connection, at the cost of another one if there are too many.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Ticket {
        let mut open = self.open();
        if open.connections.len() >= self.max {
            let least = open
                .connections
                .iter()
                .min_by_key(|(_, connection)| (connection.busy, connection.since))
                .map(|(id, _)| *id);
            if let Some(connection) = least.and_then(|id| open.connections.remove(&id)) {
                connection.evicted.notify_one();
                self.metrics.connections_evicted.add(1);
                self.metrics.connections_open.subtract(1);
            }
        }
        open.last_id += 1;
        let id = open.last_id;
        let evicted = Arc::new(Notify::new());
        open.connections.insert(
            id,
            Connection {
                busy: false,
                since: Instant::now(),
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
        if let Some(connection) = self.open().connections.get_mut(&id) {
            connection.busy = busy;
            connection.since = Instant::now();
        }
    }

    /// The state is consistent after each statement that changes it.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
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
