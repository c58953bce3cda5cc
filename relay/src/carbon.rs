//! Where carbon is, and how it is connected to.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::metrics::Metrics;

/// How long one address may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is probed after this time, then at this interval.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Carbon's plaintext listener.
#[derive(Debug, Clone)]
pub struct Carbon {
    host: String,
    port: u16,
    metrics: Arc<Metrics>,
}

impl Carbon {
    /// Carbon at this host name or address.
    #[must_use]
    pub fn new(host: &str, port: u16, metrics: Arc<Metrics>) -> Self {
        Self {
            host: host.to_owned(),
            port,
            metrics,
        }
    }

    /// Connects. The name is resolved anew each time, because carbon may have moved; a name that
    /// does not resolve now may do so later. `unacknowledged` is how long sent data, or a probe of
    /// an idle connection, may stay without any sign of the other kernel.
    ///
    /// # Errors
    /// That of the last address tried.
    pub async fn connect(&self, unacknowledged: Duration) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((self.host.as_str(), self.port)).await? {
            match self.connect_to(address, unacknowledged).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to one address. A name may stand for several, so this is how one learns about the
    /// very carbon that one has connected to before.
    ///
    /// # Errors
    /// When it does not accept.
    pub async fn connect_to(
        &self,
        address: SocketAddr,
        unacknowledged: Duration,
    ) -> io::Result<TcpStream> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // A port of our own range on loopback can connect to itself when nobody listens on it.
        if stream.local_addr()? == address {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(unacknowledged))?;
        self.metrics.carbon_connects.add(1);
        Ok(stream)
    }
}

impl fmt::Display for Carbon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
