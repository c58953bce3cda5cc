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
//! - this file: deliveries, one after the other, and what their failures mean
//! - [`connect`] connecting
//! - [`delivery`] one connection that carries lines: has carbon read them?
//! - [`liveness`] has carbon gone away?
//! - `bisect` which line does carbon not take?
//! - [`backoff`] how long to wait; [`rate_limit`] not faster than carbon stores

pub mod backoff;
mod bisect;
pub mod connect;
pub mod delivery;
pub mod liveness;
pub mod rate_limit;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, info, warn};

use crate::clock;
use crate::host_node::host_node;
use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use crate::shutdown::Phase;
use crate::spool::index::RestartEvidence;
use crate::spool::name::BatchName;
use crate::spool::{ReadError, Spool};
use backoff::Timing;
use bisect::Suspect;
use connect::{Network, Stream};
use delivery::{Delivery, DeliveryError};
use liveness::{End, Liveness};
use rate_limit::RateLimit;

/// Deliveries start at least so far apart.
const SPACING: Duration = Duration::from_millis(200);
/// A delivery that has lasted so long carries no more than this many bytes.
const DELIVERY_BYTES: u64 = 4 << 20;
/// The most that a delivery carries.
const MAX_DELIVERY_BYTES: u64 = 64 << 20;
const MAX_DELIVERY_BATCHES: usize = 4096;
/// How often the replay windows are checked when there is nothing else to do.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// How often a batch that cannot be read is tried again.
const UNREADABLE_RETRY: Duration = Duration::from_secs(10);
/// How often the liveness connection is asked for an answer after a failure.
const ANSWER_POLL: Duration = Duration::from_millis(100);
/// The slowest carbon that is waited for without end: bytes a second.
const SLOWEST: u64 = 512;

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
    /// Addresses that were no longer listed under carbon's name, and since when.
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
    last_unreadable_retry: Instant,
    failure_log: LogThrottle,
    weak_log: LogThrottle,
}

impl<N: Network + Display> Forwarder<N> {
    /// A forwarder from this spool to this carbon, with at most so many lines a second (0: no
    /// limit).
    #[must_use]
    pub fn new(
        spool: Arc<Spool>,
        network: N,
        metrics: Arc<Metrics>,
        timing: Timing,
        lines_per_second: u64,
        own_lines: mpsc::Receiver<Vec<u8>>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            spool,
            network: Arc::new(network),
            metrics,
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
            last_unreadable_retry: Instant::now(),
            failure_log: LogThrottle::default(),
            weak_log: LogThrottle::default(),
        }
    }

    /// Forwards until the relay is draining and nothing waits any more. Dropping the future at any
    /// point loses nothing.
    pub async fn run(mut self) {
        let spool = Arc::clone(&self.spool);
        let check_disk = async {
            loop {
                sleep(IDLE_TICK).await;
                spool.report_hung_disk();
            }
        };
        tokio::select! {
            () = self.forward() => {}
            () = check_disk => {}
        }
    }

    async fn forward(&mut self) {
        loop {
            if self.spool.next(None).is_some() {
                let own_lines = self.own_lines.try_recv().unwrap_or_default();
                self.attempt(own_lines).await;
            } else if self.is_draining() {
                return;
            } else {
                self.idle().await;
            }
            if self.last_unreadable_retry.elapsed() >= UNREADABLE_RETRY {
                self.last_unreadable_retry = Instant::now();
                self.on_disk(Spool::retry_unreadable).await;
            }
        }
    }

    fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Waits until there is something to do.
    async fn idle(&mut self) {
        let draining = self.is_draining();
        let mut ended = None;
        let mut own_lines = None;
        tokio::select! {
            () = self.spool.arrival() => {}
            end = first_end(&mut self.liveness) => ended = Some(end),
            Some(lines) = self.own_lines.recv() => own_lines = Some(lines),
            _ = self.phase.wait_for(|phase| *phase >= Phase::Draining), if !draining => {}
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
        if let Some(last) = self.last_start {
            sleep_until(last + SPACING).await;
        }
        let start = Instant::now();
        self.last_start = Some(start);
        self.sent.clear();
        match self.deliver(start, &own_lines).await {
            Ok(()) => {
                self.metrics.confirm_seconds.observe(start.elapsed());
                self.delivered().await;
                self.stall_timeout = self.timing.stall_timeout.max(start.elapsed() * 2);
            }
            Err(error) => self.failed(error).await,
        }
    }

    async fn delivered(&mut self) {
        if self.metrics.carbon_up.get() != Some(true) {
            info!(carbon = %self.network, "delivering to carbon");
            self.failure_log.reset();
        }
        self.metrics.carbon_up.set(true);
        if let Some(suspect) = &mut self.suspect
            && suspect.confirmed()
        {
            self.sent.push(suspect.name);
            self.suspect = None;
        }
        let sent = std::mem::take(&mut self.sent);
        self.metrics.batches_confirmed.add(sent.len() as u64);
        let lines = sent.iter().map(|name| name.lines).sum();
        self.metrics.lines_confirmed.add(lines);
        self.on_disk(move |spool| spool.confirm(&sent, Instant::now()))
            .await;
        // Carbon may have died with what it had just read, and be back before it was probed. So this
        // comes after the confirmation, and what was sent now is sent again, too.
        self.check_liveness().await;
        self.failures = 0;
        self.batches_at_once = (self.batches_at_once * 2).min(MAX_DELIVERY_BATCHES);
    }

    async fn failed(&mut self, error: DeliveryError) {
        let failed_at = Instant::now();
        self.metrics.deliveries_failed.add(error.name(), 1);
        self.failures = self.failures.saturating_add(1);
        self.batches_at_once = 1;
        self.report_failure(&error);
        if let DeliveryError::Spool(_) = error {
            self.pause().await;
            return;
        }
        self.metrics.carbon_up.set(false);
        if let DeliveryError::Stalled(_) = error {
            let sent: u64 = self.sent.iter().map(|name| name.bytes).sum();
            let longest = self.timing.stall_timeout + Duration::from_secs(sent / SLOWEST);
            self.stall_timeout = (self.stall_timeout * 2).min(longest);
        }
        if error.is_gone() {
            self.liveness.clear();
            self.rewind(RestartEvidence::Certain, &error);
            self.pause().await;
            return;
        }
        self.pause().await;
        if self.has_answered_since(failed_at).await && error.is_closed() {
            self.suspect().await;
        }
    }

    fn report_failure(&mut self, error: &DeliveryError) {
        let waiting = self.spool.content().waiting;
        if !self.failure_log.is_due() {
            debug!(carbon = %self.network, %error, failures = self.failures, "still not delivered");
        } else if let DeliveryError::Spool(_) = error {
            error!(
                spool = %self.spool.dir().display(), %error, waiting_batches = waiting.batches,
                "the spool cannot be read: its batches are sent when it is there again"
            );
        } else {
            warn!(
                carbon = %self.network, %error, failures = self.failures,
                waiting_batches = waiting.batches, waiting_lines = waiting.lines,
                "carbon does not confirm: the lines stay in the spool and are sent again"
            );
        }
    }

    /// Waits before the next attempt. Not any longer when the relay begins to stop, since carbon may
    /// be back, and there is little time.
    async fn pause(&mut self) {
        let draining = self.is_draining();
        tokio::select! {
            () = sleep(self.timing.backoff(self.failures)) => {}
            _ = self.phase.wait_for(|phase| *phase >= Phase::Draining), if !draining => {
                self.failures = 0;
            }
        }
    }

    /// Notes that carbon, which is well, has closed the connection on a batch that was sent alone.
    async fn suspect(&mut self) {
        if let Some(suspect) = &mut self.suspect {
            if let Some(line) = suspect.failed()
                && let Some(Suspect { name, lines, .. }) = self.suspect.take()
            {
                let set_aside = move |spool: &Spool| spool.set_line_aside(name, &lines, line);
                if let Err(error) = self.on_disk(set_aside).await {
                    warn!(batch = %name, %error, "a line that carbon does not accept cannot be set aside");
                }
            }
        } else if let [name] = self.sent[..]
            && let Ok(lines) = self.on_disk(move |spool| spool.read(name)).await
        {
            let mut suspect = Suspect::new(name, lines);
            // A single failure never finds a line.
            let _ = suspect.failed();
            self.suspect = Some(suspect);
        }
    }

    /// Waits until carbon's machine has acknowledged something on each liveness connection since
    /// this time. False if one of them ends instead, or there is none.
    async fn has_answered_since(&mut self, time: Instant) -> bool {
        loop {
            if self.check_liveness().await || self.liveness.is_empty() || self.is_draining() {
                return false;
            }
            if self
                .liveness
                .values()
                .all(|one| one.has_answered_since(time))
            {
                return true;
            }
            sleep(ANSWER_POLL).await;
        }
    }

    /// Looks whether a liveness connection has ended. True if one has.
    async fn check_liveness(&mut self) -> bool {
        if !self.liveness.values().any(Liveness::has_ended) {
            return false;
        }
        let (address, end) = first_end(&mut self.liveness).await;
        self.liveness_ended(address, end);
        true
    }

    fn liveness_ended(&mut self, address: SocketAddr, end: End<N::Stream>) {
        self.liveness.remove(&address);
        match end {
            End::Reconnected(stream) => {
                self.rewind(
                    RestartEvidence::Uncertain,
                    &"it has closed an idle connection",
                );
                self.report_weak_confirmation();
                self.watch(address, stream);
            }
            End::Gone(why) => self.rewind(RestartEvidence::Certain, &why),
        }
    }

    fn watch(&mut self, address: SocketAddr, stream: N::Stream) {
        let liveness = Liveness::new(stream, address, Arc::clone(&self.network));
        self.liveness.insert(address, liveness);
    }

    /// Says that a restart of carbon cannot be told from something else here.
    fn report_weak_confirmation(&mut self) {
        self.metrics.confirmation_weak.set(true);
        if self.weak_log.is_due() {
            warn!(
                carbon = %self.network,
                "connections to carbon are closed while it runs, by a proxy, a balancer or \
                 METRIC_CLIENT_IDLE_TIMEOUT: a restart of carbon behind that cannot be seen for sure, \
                 and can lose lines that were confirmed; connect the relay to carbon itself"
            );
        }
    }

    /// Sends again what carbon has confirmed and may have lost.
    fn rewind(&mut self, evidence: RestartEvidence, why: &dyn Display) {
        let again = self.spool.rewind(evidence, Instant::now());
        if again.batches == 0 {
            return;
        }
        let (batches, lines) = (again.batches, again.lines);
        match evidence {
            RestartEvidence::Certain => {
                self.metrics.carbon_restarts.add(1);
                warn!(carbon = %self.network, %why, batches, lines, "carbon is gone: the last batches will be sent again");
            }
            RestartEvidence::Uncertain => {
                self.metrics.replays_in_doubt.add(1);
                warn!(carbon = %self.network, %why, batches, lines, "carbon may have restarted: the last batches are sent again");
            }
        }
    }

    /// Sends what is next over one connection. `Ok` if carbon has confirmed it.
    async fn deliver(&mut self, start: Instant, own_lines: &[u8]) -> Result<(), DeliveryError> {
        let next = self.spool.next(None);
        self.suspect.take_if(|suspect| Some(suspect.name) != next);
        let (address, delivery) = self.connect().await?;
        let is_proven = self.liveness.get(&address).is_some_and(|one| one.is_carbon);
        if !is_proven {
            delivery.prove(proof_line().as_bytes()).await?;
        }
        if let Some(suspect) = self.suspect.take() {
            let sent = self.write(&delivery, suspect.part()).await;
            self.suspect = Some(suspect);
            sent?;
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

    /// An address that is no longer listed under carbon's name is evidence that another carbon has
    /// taken over, unless the name lists its addresses in turn.
    fn note_addresses(&mut self, listed: &[SocketAddr]) {
        let window = self.spool.limits().replay_window;
        self.delisted.retain(|_, since| since.elapsed() < window);
        let is_listed = |address: &SocketAddr| listed.contains(address);
        if self.delisted.keys().any(is_listed) {
            return;
        }
        let mut gone = self.liveness.keys().copied().filter(|one| !is_listed(one));
        if let Some(address) = gone.next() {
            self.liveness.remove(&address);
            self.delisted.insert(address, Instant::now());
            let why = format!("its name no longer has the address {}", address.ip());
            self.rewind(RestartEvidence::Certain, &why);
        }
    }

    async fn send_batches(
        &mut self,
        delivery: &Delivery<N::Stream>,
        start: Instant,
    ) -> Result<(), DeliveryError> {
        let mut bytes = 0;
        let mut last = None;
        while let Some(name) = self.spool.next(last) {
            let most = if start.elapsed() < SPACING {
                MAX_DELIVERY_BYTES
            } else {
                DELIVERY_BYTES
            };
            bytes += name.bytes;
            let is_room = bytes <= most.min(self.rate_limit.bytes_at_once());
            if !self.sent.is_empty() && (!is_room || self.sent.len() >= self.batches_at_once) {
                break;
            }
            last = Some(name);
            match self.on_disk(move |spool| spool.read(name)).await {
                Ok(lines) => {
                    // Before it is: a part of it may arrive.
                    self.sent.push(name);
                    self.write(delivery, &lines).await?;
                }
                // Reported where it was found.
                Err(ReadError::Damaged(_) | ReadError::Unreadable(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn write(
        &mut self,
        delivery: &Delivery<N::Stream>,
        mut lines: &[u8],
    ) -> Result<(), DeliveryError> {
        while !lines.is_empty() {
            let piece;
            (piece, lines) = self.rate_limit.piece(lines);
            self.rate_limit.wait(piece).await;
            delivery.write(piece).await?;
        }
        Ok(())
    }

    /// Runs something that may block on the disk.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> T + Send + 'static,
    ) -> T {
        let spool = Arc::clone(&self.spool);
        match tokio::task::spawn_blocking(move || work(&spool)).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Waits until one of the connections ends.
async fn first_end<S: Stream>(all: &mut BTreeMap<SocketAddr, Liveness<S>>) -> (SocketAddr, End<S>) {
    poll_fn(|context| {
        for (address, liveness) in &mut *all {
            if let Poll::Ready(end) = liveness.poll_end(context) {
                return Poll::Ready((*address, end));
            }
        }
        Poll::Pending
    })
    .await
}

/// A line about the relay itself, the first that a new peer gets.
fn proof_line() -> String {
    let (host, now) = (host_node(), clock::now());
    format!("carbon.relays.{host}.catchpoint_graphite.connected 1 {now}\n")
}

#[cfg(test)]
mod tests;
