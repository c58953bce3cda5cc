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
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return Self::of_files(1024);
        };
        let wanted = hard.min(8192).max(soft);
        // What cannot be had is done without.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
        Self::of_files(if raised.is_ok() { wanted } else { soft })
    }

    fn of_files(files: u64) -> Self {
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

#[derive(Default)]
struct Open {
    last_id: u64,
    connections: HashMap<u64, Connection>,
    waiting: Group,
    reading: Group,
    storing: Group,
}

/// A connection by the time when it came into its stage, and its number.
type Place = (Instant, u64);

/// The connections in one stage, so ordered that the next one to make room is found at once.
#[derive(Default)]
struct Group {
    len: usize,
    by_address: HashMap<IpAddr, BTreeSet<Place>>,
    /// How many an address has, and the longest of them.
    ranking: BTreeSet<(usize, Reverse<Place>, IpAddr)>,
}

impl Group {
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut BTreeSet<Place>)) {
        let mut places = self.by_address.remove(&address).unwrap_or_default();
        if let Some(longest) = places.first() {
            let rank = (places.len(), Reverse(*longest), address);
            self.ranking.remove(&rank);
        }
        self.len -= places.len();
        change(&mut places);
        self.len += places.len();
        if let Some(longest) = places.first() {
            let rank = (places.len(), Reverse(*longest), address);
            self.ranking.insert(rank);
            self.by_address.insert(address, places);
        }
    }

    /// The connection that has been in this stage for the longest time, of the address with most.
    fn longest_of_most(&self) -> Option<Place> {
        self.ranking.last().map(|(_, Reverse(longest), _)| *longest)
    }

    /// Whether there are `most` or more, and the one to make room is younger in it than `min`.
    fn is_flood(&self, most: usize, min: Duration) -> bool {
        let longest = self.longest_of_most();
        self.len >= most && longest.is_some_and(|(since, _)| since.elapsed() < min)
    }
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
        let most = self.limits.waiting;
        while self.open().waiting.is_flood(most, MIN_WAIT) {
            sleep(MIN_WAIT / 10).await;
        }
    }

    /// Takes in a new connection from this address, at the cost of another one if there are too many.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Ticket {
        let mut open = self.open();
        self.make_room(&mut open, Stage::Waiting, self.limits.waiting);
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
        self.metrics.connections.add(1);
        self.metrics
            .connections_open
            .set(open.connections.len() as u64);
        Ticket {
            id,
            signals,
            admission: Arc::clone(self),
        }
    }

    /// Brings a connection into a stage. False if it has to wait for that, or if there is no room for
    /// another post that is stored.
    fn enter_stage(&self, id: u64, stage: Stage) -> bool {
        let mut open = self.open();
        if !open.connections.contains_key(&id) {
            // It is being closed.
            return true;
        }
        let Limits {
            waiting,
            reading,
            storing,
        } = self.limits;
        match stage {
            Stage::Waiting => self.make_room(&mut open, stage, waiting),
            Stage::Reading if open.reading.is_flood(reading, MIN_READ) => return false,
            Stage::Reading => self.make_room(&mut open, stage, reading),
            Stage::Storing if open.storing.len >= storing => return false,
            Stage::Storing => {}
        }
        open.move_to(id, stage);
        true
    }

    /// Makes room for one more connection in this stage.
    fn make_room(&self, open: &mut Open, stage: Stage, most: usize) {
        let group = open.group(stage);
        if group.len < most {
            return;
        }
        let Some((_, id)) = group.longest_of_most() else {
            return;
        };
        self.metrics.connections_evicted.add(1);
        if stage == Stage::Waiting {
            if let Some(connection) = open.remove(id) {
                connection.signals.close.notify_one();
            }
        } else if let Some(signals) = open.move_to(id, Stage::Waiting) {
            // Its sender is told.
            signals.refuse.notify_one();
        }
    }

    /// The state is consistent after each statement that changes it.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn group(&mut self, stage: Stage) -> &mut Group {
        match stage {
            Stage::Waiting => &mut self.waiting,
            Stage::Reading => &mut self.reading,
            Stage::Storing => &mut self.storing,
        }
    }

    fn insert(&mut self, id: u64, connection: Connection) {
        let place = (connection.since, id);
        self.group(connection.stage)
            .change(connection.address, |places| {
                places.insert(place);
            });
        self.connections.insert(id, connection);
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        let place = (connection.since, id);
        self.group(connection.stage)
            .change(connection.address, |places| {
                places.remove(&place);
            });
        Some(connection)
    }

    fn move_to(&mut self, id: u64, stage: Stage) -> Option<Arc<Signals>> {
        let connection = self.remove(id)?;
        let signals = Arc::clone(&connection.signals);
        let since = Instant::now();
        let connection = Connection {
            stage,
            since,
            ..connection
        };
        self.insert(id, connection);
        Some(signals)
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
        while !self.admission.enter_stage(self.id, Stage::Reading) {
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
        self.0.admission.enter_stage(self.0.id, Stage::Storing)
    }
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        self.0.admission.enter_stage(self.0.id, Stage::Waiting);
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
