//! Asks a relay that runs on this machine whether it is alive: `GET /healthz`, for where nothing else is
//! at hand to ask, such as in an image without any other program.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, Stream};

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const ALIVE: &[u8] = b"HTTP/1.1 200 ";
/// For each step; a relay that is well answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(3);

/// None of the addresses answers as a relay; this is the last of them.
#[derive(Debug, thiserror::Error)]
#[error(
    "no relay answers at {address}: {source}; see whether it runs, or name its address with --listen"
)]
pub struct HealthError {
    address: SocketAddr,
    source: io::Error,
}

/// Asks the relay that listens on one of these addresses, by TLS or without, whichever it speaks.
///
/// # Errors
/// None of them answers, or not with 200.
pub fn check_health(listen: &[SocketAddr]) -> Result<(), HealthError> {
    let mut result = Ok(());
    for address in listen.iter().copied().flat_map(reachable) {
        // A relay that speaks TLS counts handshakes that fail, one that does not only closes.
        result = by_tls(address)
            .or_else(|_| ask(&mut connect(address)?))
            .map_err(|source| HealthError { address, source });
        if result.is_ok() {
            break;
        }
    }
    result
}

/// An address to listen on everywhere is none to connect to. On a machine without IPv6, `[::]`
/// listens on IPv4 all the same.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    let (v6, v4) = (Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into());
    let hosts: Vec<IpAddr> = match address.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => vec![v6, v4],
        IpAddr::V4(ip) if ip.is_unspecified() => vec![v4],
        ip => vec![ip],
    };
    let with_port = |host| SocketAddr::new(host, address.port());
    hosts.into_iter().map(with_port).collect()
}

fn by_tls(address: SocketAddr) -> io::Result<()> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    let mut session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    ask(&mut Stream::new(&mut session, &mut connect(address)?))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn ask(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(REQUEST)?;
    let mut answer = [0; ALIVE.len()];
    stream.read_exact(&mut answer)?;
    if answer == ALIVE {
        Ok(())
    } else {
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Err(io::Error::other(format!("it answers `{answer}`")))
    }
}

/// Takes any certificate: the question goes to this machine, and there is no secret in it. The
/// certificate is for the relay's public name, which is not that of the loopback.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
