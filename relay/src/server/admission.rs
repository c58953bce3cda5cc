//! How many connections there are at once, and which of them makes room for another.
//!
//! A new connection always gets in. When too many wait for a request, one of the address with most of
//! them is closed, the one that has waited longest; when too many bodies come at once, a post of the
//! address with most of them is refused in the same way. So a flood only drives out itself as long as
//! it comes from other addresses than good senders, and otherwise leaves each connection the time for
//! a handshake and a request over a slow network: the flood is held back while all connections are
//! younger than that. A post whose body has been read is never driven out.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::metrics::Metrics;

/// A connection has at least this time to send a request, and then this time to send its body.
const MIN_WAIT: Duration = Duration::from_millis(100);
const MIN_READ: Duration = Duration::from_millis(500);
/// File descriptors that are left for all but connections.
const OTHER_FILES: u64 = 128;

/// How many connections may be in each stage.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// That wait for a request, or for the end of their handshake.
    pub waiting: usize,
    /// Whose post is being read.
    pub reading: usize,
    /// Whose post is being stored.
    pub storing: usize,
}

impl Limits {
    /// As many as are useful, or as the process may have open files; raises that number as far as
    /// the system lets it.
    #[must_use]
    pub fn of_process() -> Self {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let wanted = hard.min(8192).max(soft);
        // What cannot be had is done without.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
        let files = if raised.is_ok() { wanted } else { soft };
        let quarter = usize::try_from(files.saturating_sub(OTHER_FILES) / 4).unwrap_or(usize::MAX);
        Self {
            waiting: quarter.clamp(1, 1024),
            reading: quarter.clamp(1, 256),
            storing: (2 * quarter).clamp(1, 2048),
        }
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Reading,
    Storing,
}

/// The open connections.
pub struct Admission {
    limits: Limits,
    metrics: Arc<Metrics>,
    open: Mutex<Open>,
}

/// A connection by the time when it came into its stage, and its number.
type Place = (Instant, u64);

/// The connections in one stage by their address, so that under a flood the next one to go is found
/// without a look at each.
type Group = HashMap<IpAddr, BTreeSet<Place>>;

#[derive(Default)]
struct Open {
    last_id: u64,
    connections: HashMap<u64, Connection>,
    waiting: Group,
    reading: Group,
    storing: Group,
}

struct Connection {
    address: IpAddr,
    stage: Stage,
    /// When it came into this stage.
    since: Instant,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Signals {
    /// The connection has to be closed.
    close: Notify,
    /// The post that is being read has to be refused.
    refuse: Notify,
}

/// A place among the open connections; dropping it gives the place back.
pub struct Ticket {
    id: u64,
    signals: Arc<Signals>,
    admission: Arc<Admission>,
}

/// Marks a connection as having a post as long as it lives.
pub struct Post<'a>(&'a Ticket);

impl Open {
    fn group(&mut self, stage: Stage) -> &mut Group {
        match stage {
            Stage::Waiting => &mut self.waiting,
            Stage::Reading => &mut self.reading,
            Stage::Storing => &mut self.storing,
        }
    }

    /// If there are `most` or more in this stage, the one that is to make room: the one that has been
    /// in it longest, of the address with most.
    fn next_to_go(&mut self, stage: Stage, most: usize) -> Option<Place> {
        let group = self.group(stage);
        if group.values().map(BTreeSet::len).sum::<usize>() < most {
            return None;
        }
        let rank = |places: &&BTreeSet<Place>| (places.len(), Reverse(places.first().copied()));
        group.values().max_by_key(rank)?.first().copied()
    }

    fn insert(&mut self, id: u64, connection: Connection) {
        let places = self.group(connection.stage);
        let places = places.entry(connection.address).or_default();
        places.insert((connection.since, id));
        self.connections.insert(id, connection);
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        let group = self.group(connection.stage);
        let places = group.entry(connection.address).or_default();
        places.remove(&(connection.since, id));
        if places.is_empty() {
            group.remove(&connection.address);
        }
        Some(connection)
    }

    fn move_to(&mut self, id: u64, stage: Stage) -> Option<Arc<Signals>> {
        let mut connection = self.remove(id)?;
        let signals = Arc::clone(&connection.signals);
        connection.stage = stage;
        connection.since = Instant::now();
        self.insert(id, connection);
        Some(signals)
    }
}

impl Admission {
    /// With these limits.
    #[must_use]
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            metrics,
            open: Mutex::default(),
        })
    }

    /// Waits until a new connection does not cost one that has only just come.
    pub async fn room(&self) {
        let is_young = |(since, _): (Instant, u64)| since.elapsed() < MIN_WAIT;
        let next_to_go = || self.open().next_to_go(Stage::Waiting, self.limits.waiting);
        while next_to_go().is_some_and(is_young) {
            sleep(MIN_WAIT / 10).await;
        }
    }

    /// Takes in a new connection from this address, at the cost of another one if there are too many.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Ticket {
        let mut open = self.open();
        self.make_room_to_wait(&mut open);
        open.last_id += 1;
        let id = open.last_id;
        let signals = Arc::new(Signals::default());
        let connection = Connection {
            address: network(address),
            stage: Stage::Waiting,
            since: Instant::now(),
            signals: Arc::clone(&signals),
        };
        open.insert(id, connection);
        self.metrics.connections.inc();
        self.metrics
            .connections_open
            .set(open.connections.len() as u64);
        Ticket {
            id,
            signals,
            admission: Arc::clone(self),
        }
    }

    fn make_room_to_wait(&self, open: &mut Open) {
        if let Some((_, id)) = open.next_to_go(Stage::Waiting, self.limits.waiting)
            && let Some(connection) = open.remove(id)
        {
            self.metrics.connections_evicted.inc();
            connection.signals.close.notify_one();
        }
    }

    /// Lets a post be read, at the cost of another one if there are too many. False if that one has
    /// only just begun.
    fn begin_reading(&self, id: u64) -> bool {
        let mut open = self.open();
        if let Some((since, other)) = open.next_to_go(Stage::Reading, self.limits.reading) {
            if since.elapsed() < MIN_READ {
                return false;
            }
            self.metrics.connections_evicted.inc();
            if let Some(signals) = open.move_to(other, Stage::Waiting) {
                // Its sender is told.
                signals.refuse.notify_one();
            }
        }
        open.move_to(id, Stage::Reading);
        true
    }

    /// The state is consistent after each statement that changes it.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one address: with IPv6 one sender has a whole network of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

impl Ticket {
    /// Waits until the connection has to be closed to make room.
    pub async fn closed(&self) {
        self.signals.close.notified().await;
    }

    /// Marks the connection as having a post that is being read, as soon as that costs no post that
    /// has only just begun.
    pub async fn post(&self) -> Post<'_> {
        while !self.admission.begin_reading(self.id) {
            sleep(MIN_READ / 10).await;
        }
        Post(self)
    }
}

impl Post<'_> {
    /// Waits until the post has to be refused to make room.
    pub async fn refused(&self) {
        self.0.signals.refuse.notified().await;
    }

    /// Marks the post as being stored, which nothing interrupts; false if too many are.
    #[must_use]
    pub fn store(&self) -> bool {
        let admission = &self.0.admission;
        let mut open = admission.open();
        let is_full = open
            .next_to_go(Stage::Storing, admission.limits.storing)
            .is_some();
        if !is_full {
            open.move_to(self.0.id, Stage::Storing);
        }
        !is_full
    }
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        let admission = &self.0.admission;
        let mut open = admission.open();
        admission.make_room_to_wait(&mut open);
        open.move_to(self.0.id, Stage::Waiting);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.admission.open();
        open.remove(self.id);
        let metrics = &self.admission.metrics;
        metrics.connections_open.set(open.connections.len() as u64);
    }
}

#[cfg(test)]
mod tests;
