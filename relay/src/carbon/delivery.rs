//! One connection that carries lines to carbon, and finds out whether carbon has read them.
//!
//! Carbon's plaintext protocol has no acknowledgement. Lines count as read only if all of these
//! hold, in this order:
//! 1. after we have shut down our side, carbon closes its own in an orderly way (end of file);
//! 2. nothing of what we have sent is left in our kernel's send queue, and no error is pending on
//!    the socket;
//! 3. a fresh connection to the same address, not just to the same name, is not refused.
//!
//! Measured on carbon-cache 1.1.10 under SIGTERM at random times, in 240 runs: end of file alone
//! was wrong 96 times, the first two together 27 times, all three never. The third works because a
//! stopping carbon closes its listener before its connections. It is weaker where something else
//! accepts for carbon: a proxy, or several carbons behind one port.
//!
//! A peer that is not carbon's plaintext listener must not confirm anything. It answers (a web
//! server, a mail server) or closes the connection (carbon's pickle and query ports) as soon as it
//! gets a line. So before the first confirmation of an address the relay sends one line of its own
//! and waits a moment. Carbon never sends a byte.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use strum::{IntoStaticStr, VariantNames};
use tokio::time::{Instant, timeout};

use super::connect::{Network, Stream};

/// How long a peer has to show that it is not carbon.
pub const PROOF_TIME: Duration = Duration::from_millis(250);
/// What a peer does that reads nothing of the first delivery.
const ONE_AT_A_TIME: &str = ": it has accepted a second connection and does not serve it. Carbon hangs, or \
    this is a program that serves one connection at a time, as `nc -lk` does; the relay keeps one open \
    to notice restarts, and needs another to deliver";

/// Why carbon may not have read what was sent.
#[derive(Debug, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryError {
    /// The name has no address now.
    #[error("its name cannot be resolved: {0}")]
    Unresolved(io::Error),
    /// Nobody listens at its address.
    #[error("it refuses connections: {0}")]
    Refused(io::Error),
    /// No connection could be made.
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    /// The peer does what carbon's plaintext listener never does.
    #[error(
        "this is not carbon's plaintext listener: it {0}; check carbon_server and carbon_port \
         (plaintext is 2003 by default, pickle 2004, queries 7002), or whether a proxy stands before \
         a carbon that is down"
    )]
    NotCarbon(&'static str),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// Carbon closed before it had got everything, or had been told that there is no more.
    #[error("it closed the connection before the end")]
    EarlyEnd,
    /// Carbon did not read any further, for this time; and why, if that is known.
    #[error("it has read nothing for {} s{}", .0.as_secs(), .1)]
    Stalled(Duration, &'static str),
    /// A fresh connection was not possible right after.
    #[error("no new connection is possible right after the delivery: {0}")]
    ProbeFailed(io::Error),
    /// The spool is not there.
    #[error("{0}")]
    Spool(#[from] crate::spool::ReadError),
}

impl DeliveryError {
    /// Its stable name, for metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Of a connection that could not be made.
    pub(super) fn connecting(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            Self::Refused(error)
        } else {
            Self::Unreachable(error)
        }
    }

    /// Whether carbon is not there, or something else is in its place: what it had in memory is lost.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Refused(_) | Self::NotCarbon(_) => true,
            Self::ProbeFailed(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            _ => false,
        }
    }

    /// Whether carbon may have closed the connection because of what it had got.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::EarlyEnd)
    }
}

/// One connection that carries lines.
pub struct Delivery<S> {
    stream: S,
    address: SocketAddr,
    stall_timeout: Duration,
    /// What else a stall may mean.
    stall_hint: &'static str,
}

impl<S: Stream> Delivery<S> {
    /// Sends over this connection to this address. `stall_timeout` is how long carbon may read
    /// nothing at all.
    pub fn new(stream: S, address: SocketAddr, stall_timeout: Duration) -> Self {
        Self {
            stream,
            address,
            stall_timeout,
            stall_hint: "",
        }
    }

    /// Sends a line, and waits a moment whether the peer shows that it is not carbon.
    ///
    /// # Errors
    /// It does.
    pub async fn prove(&mut self, line: &[u8]) -> Result<(), DeliveryError> {
        self.stall_hint = ONE_AT_A_TIME;
        self.write(line).await?;
        match timeout(PROOF_TIME, self.end()).await {
            Err(_) => Ok(()),
            Ok(Ok(())) => Err(DeliveryError::NotCarbon("closes the connection at once")),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Hands lines to the kernel, as fast as carbon reads.
    ///
    /// # Errors
    /// When carbon closes or stalls.
    pub async fn write(&self, mut lines: &[u8]) -> Result<(), DeliveryError> {
        while !lines.is_empty() {
            let written = async {
                tokio::select! {
                    biased;
                    end = self.end() => Err(end.err().unwrap_or(DeliveryError::EarlyEnd)),
                    written = self.stream.write(lines) => written.map_err(DeliveryError::Broken),
                }
            };
            let count = timeout(self.stall_timeout, written)
                .await
                .map_err(|_| self.stalled())??;
            lines = lines.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the connection and finds out whether carbon has read everything.
    ///
    /// # Errors
    /// When that is not sure. Then the lines must be sent again.
    pub async fn confirm<N: Network>(self, network: &N) -> Result<(), DeliveryError> {
        if self.stream.is_disturbed() {
            return Err(DeliveryError::EarlyEnd);
        }
        self.stream.shutdown().map_err(DeliveryError::Broken)?;
        self.wait_end().await?;
        if self.unacknowledged()? > 0 {
            return Err(DeliveryError::EarlyEnd);
        }
        let probe = network.connect(self.address, None).await;
        probe.map(drop).map_err(DeliveryError::ProbeFailed)
    }

    /// Waits until carbon closes, as long as the send queue gets shorter.
    async fn wait_end(&self) -> Result<(), DeliveryError> {
        let mut queue = u32::MAX;
        let mut progress = Instant::now();
        loop {
            let queued = self.unacknowledged()?;
            if queued < queue {
                queue = queued;
                progress = Instant::now();
            }
            if progress.elapsed() >= self.stall_timeout {
                return Err(self.stalled());
            }
            if let Ok(end) = timeout(self.stall_timeout / 8, self.end()).await {
                return end;
            }
        }
    }

    /// Waits until the peer ends its side. Carbon sends nothing before.
    async fn end(&self) -> Result<(), DeliveryError> {
        match self.stream.read().await {
            Ok(false) => Ok(()),
            Ok(true) => Err(DeliveryError::NotCarbon("answers")),
            Err(error) => Err(DeliveryError::Broken(error)),
        }
    }

    fn unacknowledged(&self) -> Result<u32, DeliveryError> {
        self.stream.unacknowledged().map_err(DeliveryError::Broken)
    }

    fn stalled(&self) -> DeliveryError {
        DeliveryError::Stalled(self.stall_timeout, self.stall_hint)
    }
}
