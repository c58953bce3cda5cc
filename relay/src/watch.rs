//! An idle connection to carbon that tells when carbon goes away.
//!
//! What carbon has read it keeps in memory for a while, and loses when it stops. So as long as
//! there are confirmed batches whose replay window is not over, the relay must notice every
//! restart of carbon, also a quick one between two deliveries, after which nothing would ever be
//! refused. An open connection notices: carbon's end closes it, and when carbon's machine fails,
//! keepalive does.
//!
//! Each delivery opens a new watch before it sends, and then closes the one before, so that there
//! is no gap in which a restart could hide, and a peer that serves one connection after the other
//! (`nc -lk`) is not held up.
//!
//! When the watch ends and carbon cannot be reached at once, carbon was really gone. When it can,
//! carbon has most likely only closed an idle connection (`METRIC_CLIENT_IDLE_TIMEOUT`, off by
//! default, or a load balancer's timeout). The relay sends again in either case, but in the second
//! the replay window is not begun anew: else it would send the same forever. Behind something that
//! accepts for carbon a restart cannot be told from an idle timeout, which is why the relay should
//! connect to carbon itself.
//!
//! A delivery that is under way when the watch ends goes on, because it may take longer than carbon's
//! idle timeout. What it has carried is sent again with the rest: a carbon that died just after it had
//! read, and was back before the probe, looks the same.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::confirm::has_ended;

/// The connection.
pub struct Watch {
    stream: TcpStream,
    /// Carbon's.
    address: SocketAddr,
}

impl Watch {
    /// Watches the carbon at this address by this connection, on which nothing is ever sent.
    #[must_use]
    pub fn new(stream: TcpStream, address: SocketAddr) -> Self {
        Self { stream, address }
    }

    /// The address that carbon has.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether carbon has held it open until now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !has_ended(&self.stream)
    }

    /// Waits until carbon closes it, or it breaks.
    pub async fn ended(&self) {
        let mut buffer = [0; 512];
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return,
                // Carbon says nothing; whoever it is that does, goes on.
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
