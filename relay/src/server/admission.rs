//! How many connections there are at once, and which of them makes room for another.
//!
//! A new connection always gets in. When too many wait for a request, one of the address with most of
//! them is closed, the one that has waited longest; when too many bodies come at once, a post of the
//! address with most of them is refused in the same way. So a flood only drives out itself as long as
//! it comes from other addresses than good senders, and otherwise leaves each connection the time for
//! a handshake and a request over a slow network: the flood is held back while all connections are
//! younger than that. A post whose body has been read is never driven out.

use std::collections::HashMap;
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
        while self.open().is_flood(Stage::Waiting, most, MIN_WAIT) {
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
        open.connections.insert(id, connection);
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
            Stage::Reading if open.is_flood(stage, reading, MIN_READ) => return false,
            Stage::Reading => self.make_room(&mut open, stage, reading),
            Stage::Storing if open.of(stage).count() >= storing => return false,
            Stage::Storing => {}
        }
        if let Some(connection) = open.connections.get_mut(&id) {
            connection.stage = stage;
            connection.since = Instant::now();
        }
        true
    }

    /// Makes room for one more connection in this stage.
    fn make_room(&self, open: &mut Open, stage: Stage, most: usize) {
        if open.of(stage).count() < most {
            return;
        }
        let Some(id) = open.longest_of_most(stage) else {
            return;
        };
        self.metrics.connections_evicted.add(1);
        if stage == Stage::Waiting {
            if let Some(connection) = open.connections.remove(&id) {
                connection.signals.close.notify_one();
            }
        } else if let Some(connection) = open.connections.get_mut(&id) {
            // Its sender is told, which takes it to the other stage.
            connection.stage = Stage::Waiting;
            connection.since = Instant::now();
            connection.signals.refuse.notify_one();
        }
    }

    /// The state is consistent after each statement that changes it.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn of(&self, stage: Stage) -> impl Iterator<Item = (&u64, &Connection)> {
        self.connections
            .iter()
            .filter(move |(_, connection)| connection.stage == stage)
    }

    /// Whether a stage is full of connections that are younger in it than `min`.
    fn is_flood(&self, stage: Stage, most: usize, min: Duration) -> bool {
        self.of(stage).count() >= most
            && self.of(stage).all(|(_, other)| other.since.elapsed() < min)
    }

    /// The connection that has been in this stage for the longest time, of the address with most.
    fn longest_of_most(&self, stage: Stage) -> Option<u64> {
        // How many an address has, and its longest.
        let mut addresses: HashMap<IpAddr, (usize, (Instant, u64))> = HashMap::new();
        for (id, connection) in self.of(stage) {
            let this = (connection.since, *id);
            let (count, longest) = addresses.entry(connection.address).or_insert((0, this));
            *count += 1;
            *longest = this.min(*longest);
        }
        let most = addresses
            .into_values()
            .max_by_key(|(count, longest)| (*count, std::cmp::Reverse(*longest)))?;
        Some(most.1.1)
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
        open.connections.remove(&self.id);
        let metrics = &self.admission.metrics;
        metrics.connections_open.set(open.connections.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    const LIMITS: Limits = Limits {
        waiting: 4,
        reading: 2,
        storing: 1,
    };
    const GOOD: &str = "192.0.2.1";
    const FLOOD: &str = "192.0.2.2";

    fn admission() -> Arc<Admission> {
        Admission::new(LIMITS, Arc::default())
    }

    fn enter(admission: &Arc<Admission>, address: &str) -> Ticket {
        admission.enter(address.parse().unwrap())
    }

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(future).poll(&mut context).is_ready()
    }

    fn is_closed(ticket: &Ticket) -> bool {
        is_ready(ticket.closed())
    }

    fn is_refused(post: &Post<'_>) -> bool {
        is_ready(post.refused())
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
        assert!(!is_closed(&good));
        assert!(!flood.iter().any(is_closed));
        assert_eq!(admission.metrics.connections_evicted.get(), 1001);
        assert_eq!(admission.metrics.connections_open.get(), 4);
    }

    #[test]
    fn r06_an_ipv6_network_is_one_address() {
        let admission = admission();
        let good = enter(&admission, "::ffff:192.0.2.1");
        let _flood: Vec<_> = (0..100)
            .map(|n| enter(&admission, &format!("2001:db8::{n}")))
            .collect();
        assert!(!is_closed(&good));
    }

    #[tokio::test(start_paused = true)]
    async fn r06_a_flood_leaves_each_connection_its_time() {
        let admission = admission();
        let _waiting: Vec<_> = (0..4).map(|_| enter(&admission, FLOOD)).collect();
        let start = Instant::now();
        admission.room().await;
        assert!(start.elapsed() >= MIN_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn r13_a_post_that_is_stored_is_never_driven_out() {
        let admission = admission();
        let stored = enter(&admission, GOOD);
        let stored_post = stored.post().await;
        assert!(stored_post.store());
        let slow = [enter(&admission, GOOD), enter(&admission, GOOD)];
        let slow_posts = [slow[0].post().await, slow[1].post().await];
        let next = enter(&admission, FLOOD);
        let start = Instant::now();
        let next_post = next.post().await;
        assert!(start.elapsed() >= MIN_READ);
        // Of the address with most, the one that has been read for the longest time.
        assert!(is_refused(&slow_posts[0]) && !is_refused(&slow_posts[1]));
        assert!(!is_refused(&next_post) && !is_refused(&stored_post));
        let _flood: Vec<_> = (0..100).map(|_| enter(&admission, GOOD)).collect();
        assert!(!is_closed(&stored) && !is_closed(&next));
        // There is no room for a second one, whose sender is told so.
        assert!(!next_post.store());
        drop(stored_post);
        assert!(next_post.store());
    }

    #[test]
    fn a_place_is_given_back() {
        let admission = admission();
        for _ in 0..10 {
            assert!(!is_closed(&enter(&admission, GOOD)));
        }
        let metrics = &admission.metrics;
        assert_eq!(metrics.connections.get(), 10);
        assert_eq!(metrics.connections_open.get(), 0);
        assert_eq!(metrics.connections_evicted.get(), 0);
    }
}
