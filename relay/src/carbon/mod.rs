//! Carries the batches of the spool to carbon, in order, until carbon has confirmed them.
//!
//! One delivery after the other: carbon is one thread, and reads no more lines from several
//! connections than from one. Deliveries start some time apart and carry all that waits, so that
//! many small batches do not use up the ports. What fails is tried again, after a pause that doubles
//! up to [`Timing::max_backoff`].
//!
//! Evidence that carbon has restarted lets the spool send again what carbon had confirmed:
//! - certain: a connection is refused; the [liveness] connection breaks; its address is no longer
//!   listed under carbon's name; something else answers in its place;
//! - uncertain: the liveness connection ends in an orderly way, and carbon accepts a new one at once.
//!
//! All else (a name that does not resolve, a timeout, a delivery that breaks) is no evidence while
//! the liveness connection lives: the delivery is tried again as soon as carbon's machine has
//! answered a keepalive probe there. If it does not answer, the liveness connection breaks.
//!
//! # Layout
//! - this file: deliveries, one after the other, in order
//! - [`connect`] connecting
//! - [`delivery`] one connection that carries lines: has carbon read them?
//! - [`liveness`] has carbon gone away?
//! - `evidence` what a failure means
//! - `bisect` which line does carbon not take?
//! - [`backoff`] how long to wait; [`rate_limit`] not faster than carbon stores

pub mod backoff;
mod bisect;
pub mod connect;
pub mod delivery;
mod evidence;
pub mod liveness;
pub mod rate_limit;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::blocking;
use crate::clock;
use crate::host_node::host_node;
use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use crate::shutdown::Phase;
use crate::spool::index::RestartEvidence;
use crate::spool::name::BatchName;
use crate::spool::{HUNG_AFTER, ReadError, Spool};
use backoff::Timing;
use bisect::Suspect;
use connect::{Network, Stream};
use delivery::{Delivery, DeliveryError};
use evidence::first_end;
use liveness::Liveness;
use rate_limit::RateLimit;

/// Small deliveries start at least so far apart.
const SPACING: Duration = Duration::from_millis(200);
/// Deliveries of fewer bytes than this are spaced.
const SPACED_BYTES: u64 = 1 << 20;
/// A delivery that has lasted so long takes no more batches: if it fails, all of it goes again.
const DELIVERY_TIME: Duration = Duration::from_secs(1);
/// The most batches that a delivery carries.
const MAX_DELIVERY_BATCHES: usize = 4096;
/// How often the replay windows are checked when there is nothing else to do.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// How often a batch that cannot be read is tried again.
const UNREADABLE_RETRY: Duration = Duration::from_secs(10);

/// A batch that is being read.
type Reading = JoinHandle<Result<Vec<u8>, ReadError>>;

/// Carries batches to carbon.
pub struct Forwarder<N: Network> {
    spool: Arc<Spool>,
    network: Arc<N>,
    metrics: Arc<Metrics>,
    timing: Timing,
    rate_limit: RateLimit,
    /// Lines about the relay itself. They are not worth spooling.
    own_lines: mpsc::Receiver<Vec<u8>>,
    phase: watch::Receiver<Phase>,
    /// The liveness connection to each address of carbon.
    liveness: BTreeMap<SocketAddr, Liveness<N::Stream>>,
    /// Addresses that were no longer listed under carbon's name in this replay window, and since when.
    delisted: BTreeMap<SocketAddr, Instant>,
    /// The batches of this delivery that were handed over.
    sent: Vec<BatchName>,
    /// A batch that fails alone.
    suspect: Option<Suspect>,
    /// In a row.
    failures: u32,
    /// How many batches the next delivery may carry: one after a failure, so that a bad one
    /// shows, then twice as many each time.
    batches_at_once: usize,
    stall_timeout: Duration,
    last_start: Option<Instant>,
    /// The last batch that the disk did not give in time, and the attempt to read it.
    slow: Option<(BatchName, Reading)>,
    failure_log: LogThrottle,
    away_log: LogThrottle,
    weak_log: LogThrottle,
}

impl<N: Network + Display> Forwarder<N> {
    /// A forwarder from this spool to this carbon, with at most so many lines a second (0: no
    /// limit).
    #[must_use]
    pub fn new(
        spool: Arc<Spool>,
        network: N,
        timing: Timing,
        lines_per_second: u64,
        own_lines: mpsc::Receiver<Vec<u8>>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            metrics: Arc::clone(spool.metrics()),
            spool,
            network: Arc::new(network),
            timing,
            rate_limit: RateLimit::new(lines_per_second),
            own_lines,
            phase,
            liveness: BTreeMap::new(),
            delisted: BTreeMap::new(),
            sent: Vec::new(),
            suspect: None,
            failures: 0,
            batches_at_once: MAX_DELIVERY_BATCHES,
            stall_timeout: timing.stall_timeout,
            last_start: None,
            slow: None,
            failure_log: LogThrottle::default(),
            away_log: LogThrottle::default(),
            weak_log: LogThrottle::default(),
        }
    }

    /// Forwards until the relay is draining and nothing waits any more. Dropping the future at any
    /// point loses nothing.
    pub async fn run(mut self) {
        let spool = Arc::clone(&self.spool);
        let watch_disk = async {
            loop {
                sleep(IDLE_TICK).await;
                spool.report_hung_disk();
            }
        };
        // Apart from the deliveries, since a disk that is dying takes long for each attempt.
        let retry_unreadable = async {
            loop {
                sleep(UNREADABLE_RETRY).await;
                if spool.content().unreadable > 0 {
                    let spool = Arc::clone(&spool);
                    blocking::run(move || spool.retry_unreadable(Instant::now())).await;
                }
            }
        };
        tokio::select! {
            () = self.forward() => {}
            () = watch_disk => {}
            () = retry_unreadable => {}
        }
    }

    async fn forward(&mut self) {
        let (spool, mut phase) = (Arc::clone(&self.spool), self.phase.clone());
        loop {
            if self.spool.next(None).is_some() {
                let own_lines = self.own_lines.try_recv().unwrap_or_default();
                self.attempt(own_lines).await;
            } else if self.is_draining() {
                return;
            } else {
                // Nothing is lost if this does not come to its end.
                tokio::select! {
                    () = self.nothing_waits() => {}
                    () = spool.arrival() => {}
                    Ok(_) = phase.wait_for(|phase| *phase >= Phase::Draining) => {}
                }
            }
        }
    }

    fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Does what is to be done while no lines wait. Whether carbon is there is of interest before the
    /// first lines come, too.
    async fn nothing_waits(&mut self) {
        if self.metrics.carbon_up.get() != Some(true) {
            let own_lines = self.own_lines.try_recv().unwrap_or_default();
            return self.attempt(own_lines).await;
        }
        let (mut ended, mut own_lines) = (None, None);
        tokio::select! {
            end = first_end(&mut self.liveness) => ended = Some(end),
            Some(lines) = self.own_lines.recv() => own_lines = Some(lines),
            () = sleep(IDLE_TICK) => {}
        }
        if let Some((address, end)) = ended {
            self.liveness_ended(address, end);
        }
        if let Some(lines) = own_lines {
            self.attempt(lines).await;
        }
        self.on_disk(|spool| spool.expire(Instant::now())).await;
    }

    /// Tries to deliver what is next, and lines about the relay itself. If that fails the latter are
    /// forgotten: the next ones follow soon.
    async fn attempt(&mut self, own_lines: Vec<u8>) {
        self.await_turn().await;
        let start = Instant::now();
        self.last_start = Some(start);
        self.sent.clear();
        match self.deliver(start, &own_lines).await {
            Ok(()) => {
                self.metrics
                    .confirm_seconds
                    .observe(start.elapsed().as_secs_f64());
                self.delivered().await;
                self.stall_timeout = self.timing.stall_timeout.max(start.elapsed() * 2);
            }
            Err(error) => self.failed(error).await,
        }
    }

    /// Waits until the next delivery may start: some time after the last one, or when so much waits
    /// that it is worth a connection.
    async fn await_turn(&self) {
        let Some(last) = self.last_start else {
            return;
        };
        let due = last + SPACING;
        while Instant::now() < due && self.spool.content().waiting.bytes < SPACED_BYTES {
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.spool.arrival() => {}
            }
        }
    }

    async fn delivered(&mut self) {
        if self.metrics.carbon_up.get() != Some(true) {
            info!(carbon = %self.network, "delivering to carbon");
        }
        self.metrics.carbon_up.set(true);
        if let Some(suspect) = &mut self.suspect
            && suspect.confirmed()
        {
            self.sent.push(suspect.name);
            self.suspect = None;
        }
        let sent = std::mem::take(&mut self.sent);
        self.metrics.batches_confirmed.inc_by(sent.len() as u64);
        let lines = sent.iter().map(|name| name.lines).sum();
        self.metrics.lines_confirmed.inc_by(lines);
        self.on_disk(move |spool| spool.confirm(&sent, Instant::now()))
            .await;
        // Carbon may have died with what it had just read, and be back before it was probed. So this
        // comes after the confirmation, and what was sent now is sent again, too.
        self.check_liveness().await;
        self.failures = 0;
        self.batches_at_once = (self.batches_at_once * 2).min(MAX_DELIVERY_BATCHES);
    }

    /// Sends what is next over one connection. `Ok` if carbon has confirmed it.
    async fn deliver(&mut self, start: Instant, own_lines: &[u8]) -> Result<(), DeliveryError> {
        let next = self.spool.next(None);
        self.suspect.take_if(|suspect| Some(suspect.name) != next);
        let (address, mut delivery) = self.connect().await?;
        let is_proven = self.liveness.get(&address).is_some_and(|one| one.is_carbon);
        if !is_proven {
            delivery.prove(proof_line().as_bytes()).await?;
        }
        if let Some(suspect) = &self.suspect {
            write(&mut self.rate_limit, &delivery, suspect.part()).await?;
        } else {
            self.send_batches(&delivery, start).await?;
        }
        delivery.write(own_lines).await?;
        delivery.confirm(&*self.network).await?;
        if let Some(liveness) = self.liveness.get_mut(&address) {
            liveness.is_carbon = true;
        }
        Ok(())
    }

    /// Sends lines over a connection of their own. `Ok` if carbon has confirmed them.
    async fn deliver_alone(&mut self, lines: &[u8]) -> Result<(), DeliveryError> {
        let (_, delivery) = self.connect().await?;
        delivery.write(lines).await?;
        delivery.confirm(&*self.network).await
    }

    /// Connects to the first address that accepts, with a liveness connection first.
    async fn connect(&mut self) -> Result<(SocketAddr, Delivery<N::Stream>), DeliveryError> {
        let resolved = self.network.resolve().await;
        let addresses = resolved.map_err(DeliveryError::Unresolved)?;
        self.note_addresses(&addresses);
        let mut last = DeliveryError::Unresolved(std::io::ErrorKind::NotFound.into());
        for address in addresses {
            last = match self.connect_to(address).await {
                Ok(delivery) => return Ok((address, delivery)),
                Err(error) => error,
            };
            if last.is_gone() && self.liveness.remove(&address).is_some() {
                self.rewind(RestartEvidence::Certain, &last);
            }
        }
        Err(last)
    }

    async fn connect_to(
        &mut self,
        address: SocketAddr,
    ) -> Result<Delivery<N::Stream>, DeliveryError> {
        if !self.liveness.contains_key(&address) {
            let stream = self.network.connect(address, None).await;
            let stream = stream.map_err(DeliveryError::connecting)?;
            self.watch(address, stream);
        }
        // Our own timeout is to end first: it tells a carbon that stalls from a broken connection.
        let unacknowledged = Some(self.stall_timeout.saturating_mul(2));
        let stream = self.network.connect(address, unacknowledged).await;
        let stream = stream.map_err(DeliveryError::connecting)?;
        Ok(Delivery::new(stream, address, self.stall_timeout))
    }

    async fn send_batches(
        &mut self,
        delivery: &Delivery<N::Stream>,
        start: Instant,
    ) -> Result<(), DeliveryError> {
        let mut last = None;
        while self.sent.is_empty()
            || self.sent.len() < self.batches_at_once && start.elapsed() < DELIVERY_TIME
        {
            let Some(name) = self.spool.next(last) else {
                break;
            };
            last = Some(name);
            match self.read(name).await {
                Ok(lines) => {
                    // Before it is: a part of it may arrive.
                    self.sent.push(name);
                    write(&mut self.rate_limit, delivery, &lines).await?;
                }
                // Reported where it was found.
                Err(ReadError::Damaged(_) | ReadError::Unreadable(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads a batch. One that the disk does not give in time is passed over once, so that it does not
    /// hold up the others; a second one at the same time means that it is the disk.
    async fn read(&mut self, name: BatchName) -> Result<Vec<u8>, ReadError> {
        let spool = Arc::clone(&self.spool);
        let mut read = spawn_blocking(move || spool.read(name));
        if let Ok(done) = timeout(HUNG_AFTER, &mut read).await {
            return blocking::finished(done).await;
        }
        match &self.slow {
            Some((slow, read_of_it)) if *slow == name || !read_of_it.is_finished() => {
                return blocking::finished(read.await).await;
            }
            _ => self.slow = Some((name, read)),
        }
        warn!(batch = %name, "the disk does not give a batch for now: the others go on, and it is tried again; check the disk of the spool");
        self.spool.skip(name, Instant::now());
        Err(ReadError::Unreadable(name))
    }

    /// Runs something that may block on the disk.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> T + Send + 'static,
    ) -> T {
        let spool = Arc::clone(&self.spool);
        blocking::run(move || work(&spool)).await
    }
}

/// Writes lines, not faster than the limit.
async fn write<S: Stream>(
    rate_limit: &mut RateLimit,
    delivery: &Delivery<S>,
    mut lines: &[u8],
) -> Result<(), DeliveryError> {
    while !lines.is_empty() {
        let piece;
        (piece, lines) = rate_limit.take(lines).await;
        delivery.write(piece).await?;
    }
    Ok(())
}

/// A line about the relay itself, the first that a new peer gets.
fn proof_line() -> String {
    let (host, now) = (host_node(), clock::now());
    format!("carbon.relays.{host}.catchpoint_graphite.connected 1 {now}\n")
}

#[cfg(test)]
mod tests;
