//! Sends lines to carbon and finds out whether it has read them.
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
//! A connection carries as many batches as are at hand, up to a bound, which are confirmed
//! together: that costs three connects for a few megabytes instead of three for each small batch,
//! and a delivery that fails is simply sent again.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::socket::GetSockOpt as _;
use nix::{getsockopt_impl, sockopt_impl};
use socket2::SockRef;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::carbon::Carbon;
use crate::doubt::Doubt;

/// One connection that carries lines.
pub struct Delivery {
    stream: TcpStream,
    /// Carbon's.
    address: SocketAddr,
    patience: Duration,
}

impl Delivery {
    /// Sends over this connection. `patience` is how long carbon may read nothing at all.
    ///
    /// # Errors
    /// When it has broken already.
    pub fn new(stream: TcpStream, patience: Duration) -> Result<Self, Doubt> {
        // Asked now, because the system forgets it when both sides have closed.
        let address = stream.peer_addr().map_err(Doubt::Broken)?;
        Ok(Self {
            stream,
            address,
            patience,
        })
    }

    /// The address that carbon has.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands lines to the kernel, as fast as carbon reads.
    ///
    /// # Errors
    /// When carbon closes or stalls.
    pub async fn write(&self, mut lines: &[u8]) -> Result<(), Doubt> {
        while !lines.is_empty() {
            let ready = self.stream.ready(Interest::READABLE | Interest::WRITABLE);
            let ready = timeout(self.patience, ready)
                .await
                .map_err(|_| Doubt::Stalled(self.patience))?
                .map_err(Doubt::Broken)?;
            if ready.is_readable() && self.read_end()? {
                return Err(Doubt::EarlyEnd);
            }
            match self.stream.try_write(lines) {
                Ok(count) => lines = lines.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Doubt::Broken(error)),
            }
        }
        Ok(())
    }

    /// Ends the connection and finds out whether carbon has read everything.
    ///
    /// # Errors
    /// When there is any doubt; the lines must be sent again.
    pub async fn confirm(mut self, carbon: &Carbon) -> Result<(), Doubt> {
        if has_ended(&self.stream) {
            return Err(Doubt::EarlyEnd);
        }
        self.stream.shutdown().await.map_err(Doubt::Broken)?;
        self.end().await?;
        if send_queue(&self.stream).map_err(Doubt::SocketError)? > 0 {
            return Err(Doubt::Unsent);
        }
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Err(Doubt::SocketError(error)),
        }
        carbon
            .connect_to(self.address, self.patience)
            .await
            .map_err(Doubt::ProbeRefused)?;
        Ok(())
    }

    /// Waits until carbon closes, with patience as long as the send queue gets shorter.
    async fn end(&self) -> Result<(), Doubt> {
        let mut queue = u32::MAX;
        let mut progress = Instant::now();
        loop {
            let queued = send_queue(&self.stream).map_err(Doubt::SocketError)?;
            if queued < queue {
                queue = queued;
                progress = Instant::now();
            }
            if progress.elapsed() >= self.patience {
                return Err(Doubt::Stalled(self.patience));
            }
            match timeout(self.patience / 8, self.stream.readable()).await {
                Ok(Ok(())) if self.read_end()? => return Ok(()),
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => return Err(Doubt::Broken(error)),
            }
        }
    }

    /// Reads what carbon sends, which is nothing, up to its end. True if it has come.
    fn read_end(&self) -> Result<bool, Doubt> {
        let mut buffer = [0; 512];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(Doubt::Broken(error)),
            }
        }
    }
}

/// Whether the other side has closed or reset the connection, asked of the kernel itself: the
/// runtime may not have heard of it yet.
pub(crate) fn has_ended(stream: &TcpStream) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 1];
    match SockRef::from(stream).peek(&mut buffer) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

sockopt_impl!(
    /// What a socket's buffers hold, by Linux' `sk_get_meminfo`. The kernel gives nine numbers
    /// (since 4.12) and cuts them to the room there is, here to the first six.
    MemInfo,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    [u32; 6]
);

/// Memory of what is sent and not yet acknowledged, 0 if and only if there is none: the same
/// verdict as `SIOCOUTQ`, for which no safe call exists.
fn send_queue(stream: &TcpStream) -> io::Result<u32> {
    // SK_MEMINFO_WMEM_QUEUED is the sixth.
    let [.., queued] = MemInfo.get(stream)?;
    Ok(queued)
}

#[cfg(test)]
mod tests;
