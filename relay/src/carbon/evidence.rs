//! What failures mean: has carbon restarted, is a line to blame, or is it only to be tried again?

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use super::bisect::Suspect;
use super::connect::{Network, Stream};
use super::delivery::DeliveryError;
use super::liveness::{End, Liveness};
use super::{Forwarder, proof_line};
use crate::shutdown::Phase;
use crate::spool::Spool;
use crate::spool::index::RestartEvidence;

/// How often the liveness connection is asked for an answer after a failure.
const ANSWER_POLL: Duration = Duration::from_millis(100);
/// The slowest carbon that is waited for without end: bytes a second.
const SLOWEST: u64 = 512;

impl<N: Network + Display> Forwarder<N> {
    pub(super) async fn failed(&mut self, error: DeliveryError) {
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
        if let DeliveryError::Stalled(..) = error {
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
        if let DeliveryError::Spool(_) = error {
            if self.away_log.is_due() {
                error!(
                    spool = %self.spool.dir().display(), %error, waiting_batches = waiting.batches,
                    "the spool cannot be read: its batches are sent when it is there again"
                );
            }
        } else if self.failure_log.is_due() {
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
            Ok(_) = self.phase.wait_for(|phase| *phase >= Phase::Draining), if !draining => {
                self.failures = 0;
            }
        }
    }

    /// Notes that carbon, which is well, has closed the connection on a batch that was sent alone.
    async fn suspect(&mut self) {
        if let Some(suspect) = &mut self.suspect {
            if let Some(line) = suspect.failed()
                && self.closes_over_suspect().await
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
            self.suspect = Some(Suspect::new(name, lines));
        }
    }

    /// Whether carbon closes over what is suspect, and confirms a line of the relay before and after.
    /// Else it closes every connection, as at its MAX_RECEIVER_CONNECTIONS, or did so until now.
    async fn closes_over_suspect(&mut self) -> bool {
        let Some(suspect) = &self.suspect else {
            return false;
        };
        let (own, lines) = (proof_line(), suspect.part().to_vec());
        self.deliver_alone(own.as_bytes()).await.is_ok()
            && matches!(self.deliver_alone(&lines).await, Err(error) if error.is_closed())
            && self.deliver_alone(own.as_bytes()).await.is_ok()
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
    pub(super) async fn check_liveness(&mut self) -> bool {
        if !self.liveness.values().any(Liveness::has_ended) {
            return false;
        }
        let (address, end) = first_end(&mut self.liveness).await;
        self.liveness_ended(address, end);
        true
    }

    pub(super) fn liveness_ended(&mut self, address: SocketAddr, end: End<N::Stream>) {
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

    pub(super) fn watch(&mut self, address: SocketAddr, stream: N::Stream) {
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
                 METRIC_CLIENT_IDLE_TIMEOUT: the relay may not notice a restart of carbon, and \
                 confirmed lines may be lost; connect the relay to carbon itself"
            );
        }
    }

    /// Sends again what carbon has confirmed and may have lost.
    pub(super) fn rewind(&mut self, evidence: RestartEvidence, why: &dyn Display) {
        if evidence == RestartEvidence::Certain {
            // Carbon has lost the parts of it that it had confirmed.
            self.suspect = None;
        }
        let lines = self.spool.rewind(evidence, Instant::now());
        if lines == 0 {
            return;
        }
        match evidence {
            RestartEvidence::Certain => {
                self.metrics.carbon_restarts.inc();
                warn!(carbon = %self.network, %why, lines, "carbon is gone: the last batches will be sent again");
            }
            RestartEvidence::Uncertain => {
                self.metrics.replays_in_doubt.inc();
                warn!(carbon = %self.network, %why, lines, "carbon may have restarted: the last batches are sent again");
            }
        }
    }

    /// An address that is no longer listed under carbon's name is evidence that another carbon has
    /// taken over. Once in a replay window for each, since a name may list its addresses in turn.
    pub(super) fn note_addresses(&mut self, listed: &[SocketAddr]) {
        let window = self.spool.limits().replay_window;
        self.delisted.retain(|_, at| at.elapsed() < window);
        let watched = self.liveness.keys().copied();
        let is_new = |one: &SocketAddr| !listed.contains(one) && !self.delisted.contains_key(one);
        let gone: Vec<_> = watched.filter(is_new).collect();
        for address in gone {
            self.liveness.remove(&address);
            self.delisted.insert(address, Instant::now());
            let why = format!("its name no longer has the address {}", address.ip());
            self.rewind(RestartEvidence::Certain, &why);
        }
    }
}

/// Waits until one of the connections ends.
pub(super) async fn first_end<S: Stream>(
    all: &mut BTreeMap<SocketAddr, Liveness<S>>,
) -> (SocketAddr, End<S>) {
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
