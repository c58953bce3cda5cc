//! How many connections there are at once, and which of them makes room for another.
//!
//! A new connection always gets in. When too many wait for a request, one of the address with most of
//! them is closed, the one that has waited longest; when too many bodies come at once, a post of the
//! address with most of them is refused in the same way. So a flood only drives out itself as long as
//! it comes from other addresses than good senders, and otherwise leaves each connection the time for
//! a handshake and a request over a slow network: the flood is held back while all connections are
//! younger than that. A post whose body has been read is never driven out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};

use crate::metrics::{Counter, Metrics};

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

/// The open connections.
pub struct Admission {
    waiting: Stage,
    reading: Stage,
    storing: Semaphore,
    metrics: Arc<Metrics>,
}

/// The connections that wait, or whose post is being read.
struct Stage {
    most: usize,
    evicted: Counter,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    last_number: u64,
    /// By their address and by the order in which they came, so that under a flood the next one to go
    /// is found without a look at each.
    by_address: HashMap<IpAddr, BTreeMap<u64, Member>>,
}

struct Member {
    since: Instant,
    /// Told when it has to make room.
    evict: Arc<Notify>,
}

impl Stage {
    /// Takes in a connection and gives its number. If there are too many, the one makes room that has
    /// been here longest, of the address with most. None if that one came less than `min_stay` ago.
    fn enter(&self, address: IpAddr, evict: &Arc<Notify>, min_stay: Duration) -> Option<u64> {
        let mut members = self.members();
        let by_address = &mut members.by_address;
        if by_address.values().map(BTreeMap::len).sum::<usize>() >= self.most {
            let largest = by_address
                .values_mut()
                .max_by_key(|of_one| (of_one.len(), Reverse(of_one.keys().next().copied())));
            let oldest = largest?.first_entry()?;
            if oldest.get().since.elapsed() < min_stay {
                return None;
            }
            oldest.remove().evict.notify_one();
            self.evicted.inc();
            by_address.retain(|_, of_one| !of_one.is_empty());
        }
        members.last_number += 1;
        let number = members.last_number;
        let member = Member {
            since: Instant::now(),
            evict: Arc::clone(evict),
        };
        let of_one = members.by_address.entry(address).or_default();
        of_one.insert(number, member);
        Some(number)
    }

    /// Forgets a connection, if it is still here.
    fn leave(&self, address: IpAddr, number: u64) {
        let mut members = self.members();
        if let Some(of_one) = members.by_address.get_mut(&address) {
            of_one.remove(&number);
            if of_one.is_empty() {
                members.by_address.remove(&address);
            }
        }
    }

    /// The state is consistent after each statement that changes it.
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection; dropping it gives its place back.
pub struct Ticket {
    /// Whoever is at its other end.
    pub sender: SocketAddr,
    admission: Arc<Admission>,
    address: IpAddr,
    close: Arc<Notify>,
    /// Its number among those that wait.
    number: AtomicU64,
}

/// A post that came over a connection, which does not wait for a request as long as this lives.
pub struct Post<'a> {
    ticket: &'a Ticket,
    refuse: Arc<Notify>,
    /// Its number among those that are read.
    number: u64,
    storing: Option<SemaphorePermit<'a>>,
}

impl Admission {
    /// With these limits.
    #[must_use]
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        let stage = |most| Stage {
            most,
            evicted: metrics.connections_evicted.clone(),
            members: Mutex::default(),
        };
        Arc::new(Self {
            waiting: stage(limits.waiting),
            reading: stage(limits.reading),
            storing: Semaphore::new(limits.storing),
            metrics,
        })
    }

    /// Takes in a new connection, as soon as that does not cost one that has only just come.
    pub async fn enter(self: &Arc<Self>, sender: SocketAddr) -> Ticket {
        loop {
            if let Some(ticket) = self.try_enter(sender, MIN_WAIT) {
                return ticket;
            }
            sleep(MIN_WAIT / 10).await;
        }
    }

    fn try_enter(self: &Arc<Self>, sender: SocketAddr, min_stay: Duration) -> Option<Ticket> {
        let (address, close) = (network(sender.ip()), Arc::default());
        let number = self.waiting.enter(address, &close, min_stay)?;
        self.metrics.connections.inc();
        self.metrics.connections_open.inc();
        Some(Ticket {
            sender,
            admission: Arc::clone(self),
            address,
            close,
            number: number.into(),
        })
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
        self.close.notified().await;
    }

    /// Begins to read a post, as soon as that costs no post that has only just begun.
    pub async fn post(&self) -> Post<'_> {
        let (reading, refuse) = (&self.admission.reading, Arc::default());
        let number = loop {
            if let Some(number) = reading.enter(self.address, &refuse, MIN_READ) {
                break number;
            }
            sleep(MIN_READ / 10).await;
        };
        self.stop_waiting();
        Post {
            ticket: self,
            refuse,
            number,
            storing: None,
        }
    }

    fn stop_waiting(&self) {
        let number = self.number.load(Relaxed);
        self.admission.waiting.leave(self.address, number);
    }
}

impl Post<'_> {
    /// Waits until the post has to be refused to make room.
    pub async fn refused(&self) {
        self.refuse.notified().await;
    }

    /// Marks the post as being stored, which nothing interrupts; false if too many are.
    #[must_use]
    pub fn store(&mut self) -> bool {
        self.storing = self.ticket.admission.storing.try_acquire().ok();
        if self.storing.is_some() {
            self.stop_reading();
        }
        self.storing.is_some()
    }

    fn stop_reading(&self) {
        let Ticket {
            admission, address, ..
        } = self.ticket;
        admission.reading.leave(*address, self.number);
    }
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        self.stop_reading();
        let ticket = self.ticket;
        let waiting = &ticket.admission.waiting;
        // It comes in at once, whomever that costs.
        if let Some(number) = waiting.enter(ticket.address, &ticket.close, Duration::ZERO) {
            ticket.number.store(number, Relaxed);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.stop_waiting();
        self.admission.metrics.connections_open.dec();
    }
}

#[cfg(test)]
mod tests;
