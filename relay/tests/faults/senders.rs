//! Too many senders for a slow disk, good senders beside a flood of connections over a slow network, and
//! clocks that differ.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use catchpoint_graphite_relay::server::tls::TlsFiles;
use catchpoint_testbed::{Conduct, StandIn};
use nix::sched::{CloneFlags, setns};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::common::*;
use crate::sender::Sender;
use crate::table::{Needs, Tally};

pub fn on_a_slow_disk() -> Result<Tally, Needs> {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let disk = TestDisk::new(Conditions {
        write_time: Duration::from_secs(2),
        ..Conditions::default()
    });
    let relay = Inner::start_on(settings(dir.path(), carbon.addr()), disk);
    let start = Instant::now();
    let answers = post_from_many(relay.addr, 600);
    let took = start.elapsed();
    let sender = Sender::default();
    for (part, status) in answers.iter().enumerate() {
        if *status == 202 {
            sender.note(lines(part, 2));
        }
    }
    let first = answers.iter().filter(|status| **status == 202).count();
    Ok(sender.tally(&carbon).noting(format!(
        "{first} of 600 at the first try, in {} s",
        took.as_secs()
    )))
}

/// A network of its own for senders, 50 ms away in each direction.
struct SlowNetwork {
    name: String,
}

const NETWORK: Needs = Needs("needs root and ip, tc: a network namespace with delay");

impl SlowNetwork {
    /// The relay's address in it is 10.213.`n`.1, senders have .2 and .3.
    fn new(n: u8) -> Result<Self, Needs> {
        let name = format!("relayflood{n}");
        let network = Self { name };
        network.remove();
        let Self { name } = &network;
        let (here, there) = (format!("rf{n}a"), format!("rf{n}b"));
        for command in [
            format!("ip netns add {name}"),
            format!("ip link add {here} type veth peer name {there} netns {name}"),
            format!("ip addr add 10.213.{n}.1/24 dev {here}"),
            format!("ip link set {here} up"),
            format!("ip -n {name} addr add 10.213.{n}.2/24 dev {there}"),
            format!("ip -n {name} addr add 10.213.{n}.3/24 dev {there}"),
            format!("ip -n {name} link set {there} up"),
            format!("tc qdisc add dev {here} root netem delay 50ms limit 100000"),
            format!("tc -n {name} qdisc add dev {there} root netem delay 50ms limit 100000"),
        ] {
            let mut words = command.split(' ');
            let mut process = Command::new(words.next().unwrap());
            let done = process.args(words).output();
            if !done.is_ok_and(|output| output.status.success()) {
                return Err(NETWORK);
            }
        }
        Ok(network)
    }

    fn remove(&self) {
        // With the namespace goes its end of the link, and with that the other one.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }

    /// Runs this with a runtime of its own, whose sockets are in this network.
    fn run<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        let name = self.name.clone();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let namespace = std::fs::File::open(Path::new("/run/netns").join(name)).unwrap();
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_all().build().unwrap().block_on(work)
            });
            thread.join().unwrap()
        })
    }
}

impl Drop for SlowNetwork {
    fn drop(&mut self) {
        self.remove();
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// Opens 3000 connections a second that say nothing, and holds each until it is closed.
async fn flood(from: IpAddr, to: SocketAddr, opened: &AtomicUsize) {
    let mut ticks = interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        for _ in 0..30 {
            opened.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                if let Ok(mut stream) = connect(from, to).await {
                    let _ = stream.read(&mut [0]).await;
                }
            });
        }
    }
}

async fn post_by_tls(
    connector: &TlsConnector,
    from: IpAddr,
    to: SocketAddr,
    lines: &[String],
) -> std::io::Result<String> {
    let name = ServerName::try_from("relay.test").unwrap();
    let mut stream = connector.connect(name, connect(from, to).await?).await?;
    let request = request("POST", "/v1/lines", &[], body(lines).as_bytes());
    stream.write_all(&request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn beside_flood(n: u8, good: u8) -> Result<Tally, Needs> {
    let network = SlowNetwork::new(n)?;
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["relay.test".to_owned()]).unwrap();
    let files = TlsFiles {
        cert: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
        client_ca: None,
    };
    std::fs::write(&files.cert, cert.pem()).unwrap();
    std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    let mut settings = settings(dir.path(), carbon.addr());
    settings.listen = vec![format!("10.213.{n}.1:0").parse().unwrap()];
    settings.tls = Some(files);
    let relay = Inner::start(settings);
    let connector = TlsConnector::from(Arc::new(client(cert.der())));
    let address = |last: u8| IpAddr::from([10, 213, n, last]);
    let sender = Sender::default();
    let (opened, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (mut tries, mut slowest) = (0, Duration::ZERO);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            network.run(async {
                tokio::select! {
                    () = flood(address(2), relay.addr, &opened) => {}
                    () = async { while !over.load(Ordering::Relaxed) { sleep(Duration::from_millis(50)).await; } } => {}
                }
            });
        });
        network.run(async {
            // The flood is at its height.
            sleep(Duration::from_secs(2)).await;
            for part in 0..10 {
                let lines = lines(part, 20);
                let start = Instant::now();
                while start.elapsed() < Duration::from_secs(20) {
                    tries += 1;
                    let post = post_by_tls(&connector, address(good), relay.addr, &lines);
                    let answer = timeout(Duration::from_secs(5), post).await;
                    if matches!(answer, Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 202")) {
                        sender.note(lines);
                        break;
                    }
                }
                slowest = slowest.max(start.elapsed());
            }
            over.store(true, Ordering::Relaxed);
        });
    });
    let tally = sender.tally(&carbon);
    assert_eq!(tally.answered, 200, "each of ten posts succeeds");
    Ok(tally.noting(format!(
        "{} connections opened; 10 posts in {tries} tries, the slowest {} ms",
        opened.load(Ordering::Relaxed),
        slowest.as_millis()
    )))
}

fn client(trusted: &CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub fn beside_a_flood() -> Result<Tally, Needs> {
    beside_flood(1, 3)
}

pub fn beside_a_flood_from_their_own_address() -> Result<Tally, Needs> {
    beside_flood(2, 2)
}

/// Posts lines of the sender's present, by a clock that is so far ahead of the relay's; then by one
/// that agrees with it.
fn by_clock(ahead: i64) -> Result<Tally, Needs> {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let relay = Inner::start(settings(dir.path(), carbon.addr()));
    let here = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let there = here.saturating_add_signed(ahead);
    let lines: Vec<String> = (0..100).map(|n| format!("clock.s{n} 1 {there}")).collect();
    let post = |date: u64| {
        let date = UNIX_EPOCH + Duration::from_secs(date);
        let date = httpdate::fmt_http_date(date);
        post_with(relay.addr, &[("date", date.as_str())], body(&lines)).status
    };
    let first = post(there);
    // The relay's clock is set right: by its new time the lines are of the present.
    let late = ahead > 0;
    let sender = Sender::default();
    if first == 202 {
        sender.note(lines.clone());
    }
    assert_eq!(first, if late { 503 } else { 202 });
    if late {
        let now: Vec<String> = (0..100).map(|n| format!("clock.s{n} 1 {here}")).collect();
        let answer = post_with(relay.addr, &[], body(&now));
        assert_eq!(answer.status, 202);
        sender.note(now);
    }
    Ok(sender
        .tally(&carbon)
        .noting(format!("first answered {first}")))
}

pub fn clock_is_slow() -> Result<Tally, Needs> {
    by_clock(13 * 3600)
}

pub fn clock_is_fast() -> Result<Tally, Needs> {
    by_clock(-2 * 365 * 86_400)
}
