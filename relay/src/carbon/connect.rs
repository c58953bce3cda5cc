//! Where carbon is, and how to connect to it.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::GetSockOpt as _;
use nix::{getsockopt_impl, sockopt_impl};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::metrics::Metrics;

/// How long one address may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is probed after this time, then at this interval.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// So many probes without an answer end a connection.
const KEEPALIVE_RETRIES: u32 = 8;

/// The way to carbon, behind a trait so that tests can put a carbon of their own there.
pub trait Network: Send + Sync + 'static {
    /// A connection.
    type Stream: Stream;

    /// The addresses that carbon's name has now.
    fn resolve(&self) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects to one of them. Sent data may stay unacknowledged for `unacknowledged`, if that is
    /// given.
    fn connect(
        &self,
        address: SocketAddr,
        unacknowledged: Option<Duration>,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// A connection to carbon.
pub trait Stream: Send + Sync + 'static {
    /// Hands over some of these bytes, as soon as there is room for any, and says how many.
    fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> + Send;
    /// Waits until the peer sends something, true, or ends its side, false.
    fn read(&self) -> impl Future<Output = io::Result<bool>> + Send;
    /// Ends our side.
    fn shutdown(&self) -> io::Result<()>;
    /// Whether the peer has ended its side or has sent something, or the connection is broken.
    fn is_disturbed(&self) -> bool;
    /// Memory of what is sent and not acknowledged, or the error that is pending. 0 if and only if
    /// there is neither.
    fn unacknowledged(&self) -> io::Result<u32>;
    /// The time since the other machine has last acknowledged anything, a keepalive probe too.
    fn last_ack(&self) -> io::Result<Duration>;
}

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
}

impl Network for Carbon {
    type Stream = TcpStream;

    /// Carbon may have moved, so the name is resolved anew each time.
    async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let found = lookup_host((self.host.as_str(), self.port)).await?;
        Ok(found.collect())
    }

    async fn connect(
        &self,
        address: SocketAddr,
        unacknowledged: Option<Duration>,
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
            .with_interval(KEEPALIVE)
            .with_retries(KEEPALIVE_RETRIES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(unacknowledged)?;
        self.metrics.carbon_connects.inc();
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

impl Stream for TcpStream {
    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let write = || self.try_write(bytes);
        self.async_io(Interest::WRITABLE, write).await
    }

    async fn read(&self) -> io::Result<bool> {
        let read = || self.try_read(&mut [0; 512]);
        let count = self.async_io(Interest::READABLE, read).await?;
        Ok(count > 0)
    }

    fn shutdown(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(std::net::Shutdown::Write)
    }

    /// Asks the kernel: the runtime may not have heard of it yet.
    fn is_disturbed(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 1];
        match SockRef::from(self).peek(&mut buffer) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn unacknowledged(&self) -> io::Result<u32> {
        if let Some(error) = self.take_error()? {
            return Err(error);
        }
        // SK_MEMINFO_WMEM_QUEUED is the sixth.
        let [.., queued] = MemInfo.get(self)?;
        Ok(queued)
    }

    fn last_ack(&self) -> io::Result<Duration> {
        // `tcpi_last_ack_recv` is the fifteenth, in milliseconds.
        let [.., last_ack] = TcpInfo.get(self)?;
        Ok(Duration::from_millis(last_ack.into()))
    }
}

sockopt_impl!(
    /// What a socket's buffers hold, by Linux' `sk_get_meminfo`. The kernel gives nine numbers
    /// (since 4.12) and cuts them to the room there is, here to the first six. It says the same as
    /// `SIOCOUTQ`, for which no safe call exists.
    MemInfo,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    [u32; 6]
);

sockopt_impl!(
    /// The front of Linux' `struct tcp_info`: eight bytes, then numbers of 32 bits. The kernel cuts
    /// it to the room there is.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u32; 15]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_tells_when_its_peer_has_last_acknowledged() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let carbon = Carbon::new("127.0.0.1", address.port(), Arc::default());
        assert_eq!(carbon.resolve().await.unwrap(), [address]);
        let stream = carbon.connect(address, None).await.unwrap();
        let _peer = listener.accept().await.unwrap();
        assert!(stream.last_ack().unwrap() < Duration::from_secs(1));
        assert_eq!(stream.unacknowledged().unwrap(), 0);
        assert!(!stream.is_disturbed());
    }
}
