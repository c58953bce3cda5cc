//! Free loopback ports for programs that must be told their port.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use socket2::{Domain, Socket, Type};

use anyhow::{Result, bail};

/// Ports are taken from below the kernel's ephemeral range (32768 and up on Linux), so that no
/// outgoing connection and no `bind(0)` of another test can grab a port between our look and the
/// program's own bind.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback address that nobody listens on now. Two calls in one process never give the same
/// port twice within 12,000 calls; processes start at different places.
///
/// # Errors
/// When all 12,000 ports are taken.
pub fn free() -> Result<SocketAddr> {
    // Consecutive process ids are spread over the range: 97 is coprime to 12,000. The modulo makes
    // the conversion lossless.
    let start = u16::try_from(u64::from(process::id()) * 97 % u64::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    bail!("all ports from {FIRST} on are taken: stop something that listens on 127.0.0.1")
}

/// Takes an address and lets go of it. Nobody ever listens: a program that another test is just
/// starting has a copy of the socket until it has become a program of its own, and a copy that listens
/// would keep the address.
fn bind(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_has_the_port_to_himself() {
        let addr = free().unwrap();
        bind(addr).unwrap();
        let _listener = TcpListener::bind(addr).unwrap();
        assert!(bind(addr).is_err());
    }

    #[test]
    fn a_copy_of_the_socket_does_not_keep_the_port() {
        let addr = free().unwrap();
        let copy = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        copy.set_reuse_address(true).unwrap();
        copy.bind(&addr.into()).unwrap();
        TcpListener::bind(addr).unwrap();
    }
}
