//! Too many senders for a slow disk, good senders beside a flood of connections over a slow network, and
//! clocks that differ.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catchpoint_graphite_relay::server::tls::TlsFiles;
use catchpoint_graphite_relay::spool::disk::OsDisk;
use catchpoint_testbed::Conduct;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex, split,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::common::*;
use crate::sender::World;
use crate::table::Tally;

/// Posts once from each of so many senders at the same time, and gives the answers' statuses.
fn post_from_many(addr: SocketAddr, senders: usize) -> Vec<u16> {
    std::thread::scope(|scope| {
        let posts: Vec<_> = (0..senders)
            .map(|part| {
                let post = move || {
                    let request =
                        request("POST", "/v1/lines", &[], body(&lines(part, 2)).as_bytes());
                    send(addr, &request).map_or(0, |answer| answer.status)
                };
                std::thread::Builder::new()
                    .stack_size(128 << 10)
                    .spawn_scoped(scope, post)
                    .unwrap()
            })
            .collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    })
}

pub fn on_a_slow_disk() -> Tally {
    let disk = TestDisk::new(Conditions {
        write_time: Duration::from_secs(2),
        ..Conditions::default()
    });
    let world = World::new_on(Conduct::Read, disk, |_, _| {});
    let start = Instant::now();
    let answers = post_from_many(world.relay.addr, 600);
    let took = start.elapsed().as_secs();
    let accepted = (0..).zip(answers).filter(|(_, status)| *status == 202);
    let accepted: Vec<_> = accepted.map(|(part, _)| part).collect();
    for part in &accepted {
        world.sender.note(lines(*part, 2));
    }
    let first = accepted.len();
    let note = format!("{first} of 600 at the first try, in {took} s");
    world.tally().noting(note)
}

/// Where the flood comes from.
pub const FLOOD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// How long a byte takes from a sender to the relay, and back.
const DELAY: Duration = Duration::from_millis(50);

/// Carries bytes on as they come, each a delay later.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let (queue, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let _ = queue.send((Instant::now() + DELAY, buffer[..count].to_vec()));
        }
    };
    let write = async move {
        while let Some((arrival, bytes)) = under_way.recv().await {
            sleep_until(arrival).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

/// A connection over a slow network.
async fn connect_slowly(from: IpAddr, to: SocketAddr) -> std::io::Result<DuplexStream> {
    sleep(DELAY).await;
    let (relay_reads, relay_writes) = connect(from, to).await?.into_split();
    sleep(DELAY).await;
    let (near, far) = duplex(64 << 10);
    let (far_reads, far_writes) = split(far);
    tokio::spawn(carry(far_reads, relay_writes));
    tokio::spawn(carry(relay_reads, far_writes));
    Ok(near)
}

async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// Opens 3000 connections a second that say nothing, and holds each until it is closed.
async fn flood(from: IpAddr, to: SocketAddr, opened: Arc<AtomicUsize>) {
    let mut ticks = interval(Duration::from_millis(10));
    // On a busy machine it is a smaller flood.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
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
    let mut stream = connector
        .connect(name, connect_slowly(from, to).await?)
        .await?;
    let request = request("POST", "/v1/lines", &[], body(lines).as_bytes());
    stream.write_all(&request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Good senders at this address.
pub fn beside_a_flood(good: IpAddr) -> Tally {
    // Two floods at once are another one.
    static FLOODS: Mutex<()> = Mutex::new(());
    let _one = FLOODS.lock().unwrap_or_else(PoisonError::into_inner);
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["relay.test".to_owned()]).unwrap();
    let world = World::new_on(Conduct::Read, Arc::new(OsDisk), |settings, dir| {
        let files = TlsFiles {
            cert: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            client_ca: None,
        };
        std::fs::write(&files.cert, cert.pem()).unwrap();
        std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        settings.tls = Some(files);
    });
    let (relay, sender) = (&world.relay, &world.sender);
    let connector = TlsConnector::from(Arc::new(client(cert.der())));
    let opened = Arc::new(AtomicUsize::new(0));
    let (mut tries, mut slowest) = (0, Duration::ZERO);
    let senders = Runtime::new().unwrap();
    senders.spawn(flood(FLOOD, relay.addr, Arc::clone(&opened)));
    senders.block_on(async {
        // The flood is at its height.
        sleep(Duration::from_secs(2)).await;
        for part in 0..10 {
            let lines = lines(part, 20);
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(20) {
                tries += 1;
                let post = post_by_tls(&connector, good, relay.addr, &lines);
                let answer = timeout(Duration::from_secs(5), post).await;
                if matches!(answer, Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 202")) {
                    sender.note(lines);
                    break;
                }
            }
            slowest = slowest.max(start.elapsed());
        }
    });
    senders.shutdown_background();
    let tally = world.tally();
    assert_eq!(tally.answered, 200, "each of ten posts succeeds");
    tally.noting(format!(
        "{} connections opened; 10 posts in {tries} tries, the slowest {} ms",
        opened.load(Ordering::Relaxed),
        slowest.as_millis()
    ))
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

/// Posts lines of the sender's present, by a clock that is so far ahead of the relay's; then by one
/// that agrees with it.
pub fn by_clock(ahead: i64) -> Tally {
    let world = World::new(Conduct::Read);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let here = since.unwrap().as_secs();
    let there = here.saturating_add_signed(ahead);
    let date = UNIX_EPOCH + Duration::from_secs(there);
    let date = httpdate::fmt_http_date(date);
    let post_of = |time: u64, headers: &[(&str, &str)]| {
        let lines: Vec<_> = (0..100).map(|n| format!("clock.s{n} 1 {time}")).collect();
        let status = post_with(world.relay.addr, headers, body(&lines)).status;
        if status == 202 {
            world.sender.note(lines);
        }
        status
    };
    let first = post_of(there, &[("date", &date)]);
    if ahead > 0 {
        assert_eq!(first, 503);
        // The relay's clock is set right: by its new time the lines are of the present.
        assert_eq!(post_of(here, &[]), 202);
    }
    world.tally().noting(format!("first answered {first}"))
}
