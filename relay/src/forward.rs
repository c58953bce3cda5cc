//! Carries the batches of the spool to carbon, until carbon has confirmed them.
//!
//! One delivery after the other: carbon is one thread, and takes no more lines from several
//! connections than from one. What fails is tried again, after a pause that doubles up to
//! [`Timing::max_backoff`]; a batch that fails by itself while carbon is well lets the others go
//! first. The oldest and the newest batches take turns, so that a backlog and new data do not
//! hold up each other. What is sent again goes in the order in which it came.
//!
//! Confirmed batches are put up to be sent again after any sign that carbon has restarted:
//! it cannot be reached, it refuses the probe, or the [watch](crate::watch) ends.
//!
//! # Layout
//! - this file: deliveries, one after the other
//! - `sign` what tells that carbon may have restarted

mod sign;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::carbon::Carbon;
use crate::confirm::Delivery;
use crate::doubt::Doubt;
use crate::metrics::Metrics;
use crate::pace::Pace;

use crate::log_throttle::LogThrottle;
use crate::shutdown::Phase;
use crate::spool::index::End;
use crate::spool::name::BatchName;
use crate::spool::{ReadError, Spool};
use crate::timing::Timing;
use crate::watch::Watch;
use sign::Sign;

/// Most bytes and batches that one connection carries.
const DELIVERY_BYTES: u64 = 4 << 20;
const DELIVERY_BATCHES: usize = 256;
/// Bytes read from the spool at a time.
const CHUNK_BYTES: u64 = 256 << 10;
/// How often replay windows are looked after when there is nothing else to do.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// The slowest carbon that is waited for without end: bytes a second.
const SLOWEST: u64 = 512;

/// Carries batches to carbon.
pub struct Forwarder {
    spool: Arc<Spool>,
    carbon: Carbon,
    metrics: Arc<Metrics>,
    timing: Timing,
    pace: Pace,
    /// Lines about the relay itself; they are not worth spooling.
    own_lines: mpsc::Receiver<Vec<u8>>,
    watch: Option<Watch>,
    phase: watch::Receiver<Phase>,
    end: End,
    /// In a row.
    failures: u32,
    /// How many batches the next delivery may carry: one after a failure, so that a bad one
    /// shows, then twice as many each time.
    batches_at_once: usize,
    patience: Duration,
    warned: LogThrottle,
}

impl Forwarder {
    /// A forwarder from this spool to this carbon, with at most so many lines a second (0: no
    /// limit).
    #[must_use]
    pub fn new(
        spool: Arc<Spool>,
        carbon: Carbon,
        metrics: Arc<Metrics>,
        timing: Timing,
        lines_per_second: u64,
        own_lines: mpsc::Receiver<Vec<u8>>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            spool,
            carbon,
            metrics,
            timing,
            pace: Pace::new(lines_per_second),
            own_lines,
            watch: None,
            phase,
            end: End::Newest,
            failures: 0,
            batches_at_once: DELIVERY_BATCHES,
            patience: timing.patience,
            warned: LogThrottle::default(),
        }
    }

    /// Forwards until the relay is draining and nothing waits any more. Dropping the future at any
    /// point loses nothing.
    pub async fn run(mut self) {
        loop {
            let batches = self.next();
            if !batches.is_empty() {
                let own_lines = self.own_lines.try_recv().unwrap_or_default();
                self.attempt(batches, own_lines).await;
            } else if self.is_draining() && self.spool.content().is_sent() {
                return;
            } else {
                self.idle().await;
            }
        }
    }

    fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// The batches of the next delivery, from the two ends in turn.
    fn next(&mut self) -> Vec<BatchName> {
        let max_bytes = self.pace.bytes_at_once().min(DELIVERY_BYTES);
        for _ in 0..2 {
            self.end = self.end.other();
            let batches =
                self.spool
                    .next(self.end, max_bytes, self.batches_at_once, Instant::now());
            if !batches.is_empty() {
                return batches;
            }
        }
        Vec::new()
    }

    async fn idle(&mut self) {
        let draining = self.is_draining();
        let spool = Arc::clone(&self.spool);
        let watch = self.watch.take();
        let watch_ended = async {
            match &watch {
                Some(watch) => watch.ended().await,
                None => std::future::pending().await,
            }
        };
        let mut ended = false;
        let mut own_lines = None;
        tokio::select! {
            () = spool.arrival() => {}
            () = watch_ended => ended = true,
            Some(lines) = self.own_lines.recv() => own_lines = Some(lines),
            _ = self.phase.wait_for(|phase| *phase >= Phase::Draining), if !draining => {}
            () = sleep(IDLE_TICK) => {}
        }
        self.watch = watch;
        if ended {
            // What it tells of carbon shows in the next delivery.
            let _ = self.watch_ended().await;
        }
        if let Some(lines) = own_lines {
            self.attempt(Vec::new(), lines).await;
        }
        self.on_disk(|spool| spool.expire(Instant::now())).await;
        if self.spool.content().confirmed.batches == 0 {
            // There is nothing left for which a restart would matter.
            self.watch = None;
        }
    }

    /// Tries to deliver these batches, and lines about the relay itself. If that fails the latter
    /// are forgotten: the next ones follow soon.
    async fn attempt(&mut self, batches: Vec<BatchName>, own_lines: Vec<u8>) {
        let start = Instant::now();
        match self.deliver(&batches, &own_lines).await {
            Ok(sent) => {
                if self.metrics.carbon_up.get() != Some(true) {
                    info!(carbon = %self.carbon, "delivering to carbon");
                    self.warned.reset();
                }
                self.metrics.carbon_up.set(true);
                self.metrics.confirm_seconds.observe(start.elapsed());
                self.metrics.batches_confirmed.add(sent.len() as u64);
                let lines = sent.iter().map(|name| name.lines).sum();
                self.metrics.lines_confirmed.add(lines);
                self.on_disk(move |spool| spool.confirm(&sent, Instant::now()))
                    .await;
                // Carbon may only have closed an idle connection, as in a long delivery. It may as
                // well have died with what it had just read, and be back before it was probed: so
                // this comes after the confirmation, and what was sent now is sent again, too.
                if !self.watch_is_open() {
                    // What it tells of carbon shows in the next delivery.
                    let _ = self.watch_ended().await;
                }
                self.failures = 0;
                self.batches_at_once = (self.batches_at_once * 2).min(DELIVERY_BATCHES);
                self.patience = self.timing.patience.max(start.elapsed() * 2);
            }
            Err(doubt) => self.failed(&doubt, &batches).await,
        }
    }

    async fn failed(&mut self, doubt: &Doubt, batches: &[BatchName]) {
        if !matches!(doubt, Doubt::Spool(_)) {
            self.metrics.carbon_up.set(false);
        }
        self.metrics.deliveries_failed.add(doubt.name(), 1);
        self.failures = self.failures.saturating_add(1);
        self.batches_at_once = 1;
        if self.warned.is_due() {
            let waiting = self.spool.content().waiting;
            warn!(
                carbon = %self.carbon, %doubt, failures = self.failures,
                waiting_batches = waiting.batches, waiting_lines = waiting.lines,
                "carbon does not confirm: what waits stays in the spool and is sent again"
            );
        } else {
            debug!(carbon = %self.carbon, %doubt, failures = self.failures, "still not confirmed");
        }
        let gone = match doubt {
            Doubt::Unreachable(error) | Doubt::ProbeRefused(error) => {
                self.replay(Sign::of(error));
                true
            }
            _ => !self.watch_is_open() && self.watch_ended().await.is_err(),
        };
        if matches!(doubt, Doubt::Stalled(_)) {
            let bytes: u64 = batches.iter().map(|name| name.bytes).sum();
            let longest = self.timing.patience + Duration::from_secs(bytes / SLOWEST);
            self.patience = (self.patience * 2).min(longest).max(self.timing.patience);
        }
        self.pause().await;
        match batches {
            // From now on, so that the others do go first.
            [batch] if !gone => self.hold(*batch),
            // One of them may be bad: the next one alone is from the same end.
            [_, _, ..] if !gone => self.end = self.end.other(),
            _ => {}
        }
    }

    /// Waits before the next attempt; not any longer when the relay begins to stop, since carbon may
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

    fn watch_is_open(&self) -> bool {
        self.watch.as_ref().is_none_or(Watch::is_open)
    }

    /// The watch has ended. If carbon takes a connection at once it may only have closed an idle
    /// one, though it may as well have restarted very quickly. That connection is the new watch.
    async fn watch_ended(&mut self) -> io::Result<()> {
        let Some(address) = self.watch.take().map(|watch| watch.address()) else {
            return Ok(());
        };
        match self.carbon.connect_to(address, self.patience).await {
            Ok(stream) => {
                self.replay(Sign::ClosedIdle);
                self.watch = Some(Watch::new(stream, address));
                Ok(())
            }
            Err(error) => {
                self.replay(Sign::Gone);
                Err(error)
            }
        }
    }

    /// Puts up to be sent again what carbon has confirmed.
    fn replay(&mut self, sign: Sign) {
        self.watch = None;
        let again = self.spool.replay(sign != Sign::ClosedIdle);
        if again.batches == 0 {
            return;
        }
        self.metrics.lines_replayed.add(again.lines);
        let counter = match sign {
            Sign::Gone => &self.metrics.carbon_restarts,
            Sign::Unreachable | Sign::ClosedIdle => &self.metrics.replays_in_doubt,
        };
        counter.add(1);
        warn!(
            carbon = %self.carbon, batches = again.batches, lines = again.lines,
            "{sign}: what it had read since is sent again"
        );
    }

    /// Lets the other batches go first for a while.
    fn hold(&self, batch: BatchName) {
        let timing = self.timing;
        self.spool
            .hold(batch, Instant::now(), |failures| timing.backoff(failures));
    }

    /// Sends batches over one connection. Gives those that carbon has confirmed, which are all but
    /// the ones that could not be read.
    async fn deliver(
        &mut self,
        batches: &[BatchName],
        own_lines: &[u8],
    ) -> Result<Vec<BatchName>, Doubt> {
        // Our own patience is to end first: it tells a carbon that stalls from a broken connection.
        let stream = self.carbon.connect(self.patience.saturating_mul(2)).await;
        let delivery = Delivery::new(stream.map_err(Doubt::Unreachable)?, self.patience)?;
        // After the delivery: a peer that serves one connection at a time reads the first.
        let address = delivery.address();
        let stream = self.carbon.connect_to(address, self.patience).await;
        let watch = Watch::new(stream.map_err(Doubt::Unreachable)?, address);
        if !self.watch_is_open() {
            self.replay(Sign::Gone);
        }
        self.watch = Some(watch);
        let mut sent = Vec::new();
        for name in batches.iter().copied() {
            match self.on_disk(move |spool| spool.read(name)).await {
                Ok(file) => {
                    self.send_file(&delivery, file).await?;
                    sent.push(name);
                }
                // Reported where it was found.
                Err(ReadError::Damaged(_)) => {}
                Err(ReadError::Disk { name, source }) => {
                    warn!(batch = %name, error = %source, "a batch cannot be read now and is tried again later");
                    self.hold(name);
                }
            }
        }
        delivery.write(own_lines).await?;
        delivery.confirm(&self.carbon).await?;
        Ok(sent)
    }

    async fn send_file(
        &mut self,
        delivery: &Delivery,
        mut file: Box<dyn Read + Send>,
    ) -> Result<(), Doubt> {
        let mut chunk = Vec::new();
        loop {
            let read;
            (file, chunk, read) = self
                .on_disk(move |_| {
                    chunk.clear();
                    let read = file.by_ref().take(CHUNK_BYTES).read_to_end(&mut chunk);
                    (file, chunk, read)
                })
                .await;
            if read.map_err(Doubt::Spool)? == 0 {
                return Ok(());
            }
            let mut rest = chunk.as_slice();
            while !rest.is_empty() {
                let piece;
                (piece, rest) = self.pace.piece(rest);
                self.pace.wait(piece).await;
                delivery.write(piece).await?;
            }
        }
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
