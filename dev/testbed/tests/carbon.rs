//! The carbon stand-in: what it records, and what a peer sees of each conduct.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use catchpoint_testbed::{Conduct, Error, StandIn};

const SOON: Duration = Duration::from_secs(20);

/// Sends text, shuts down the writing side and reads to the end, as a relay does.
fn send(carbon: &StandIn, text: &str) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(carbon.addr())?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    stream.read(&mut [0])
}

#[test]
fn reads_and_records_whole_lines() {
    let carbon = StandIn::start(Conduct::Read).unwrap();
    assert_eq!(send(&carbon, "a 1 2\nb 3 4\n").unwrap(), 0);
    assert_eq!(send(&carbon, "c 5 6\nhalf a l").unwrap(), 0);
    let record = carbon
        .wait("a torn line", SOON, |record| record.torn == 1)
        .unwrap();
    assert_eq!(record.lines, ["a 1 2", "b 3 4", "c 5 6"]);
    assert_eq!(record.connections, 2);
}

#[test]
fn a_missing_line_is_said() {
    let carbon = StandIn::start(Conduct::Read).unwrap();
    send(&carbon, "a 1 2\n").unwrap();
    carbon.wait_lines(1, SOON).unwrap();
    let error = carbon.wait_lines(2, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }));
    assert_eq!(
        error.to_string(),
        "2 lines at the carbon stand-in did not happen within 20ms: \
         1 lines and 0 torn ones came over 1 connections"
    );
}

#[test]
fn resets_are_seen_as_resets() {
    let carbon = StandIn::start(Conduct::Reset).unwrap();
    let kind = send(&carbon, "a 1 2\n").unwrap_err().kind();
    assert!(
        matches!(
            kind,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected
        ),
        "{kind}"
    );
    assert!(carbon.lines().is_empty());

    carbon.conduct(Conduct::ResetAfter { lines: 2 });
    assert!(send(&carbon, "a 1 2\nb 1 2\nc 1 2\n").is_err());
    assert_eq!(carbon.lines(), ["a 1 2", "b 1 2"]);
}

#[test]
fn one_that_never_reads_blocks_its_peer() {
    let carbon = StandIn::start(Conduct::NeverRead).unwrap();
    let mut stream = TcpStream::connect(carbon.addr()).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let block = vec![b'x'; 1 << 20];
    let error = (0..64)
        .find_map(|_| stream.write_all(&block).err())
        .expect("64 MiB do not fit into the socket buffers");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_slow_one_is_slow() {
    let carbon = StandIn::start(Conduct::ReadSlowly {
        bytes_per_second: 60,
    })
    .unwrap();
    let start = Instant::now();
    assert_eq!(send(&carbon, "a 1 2\nb 3 4\nc 5 6\n").unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(250));
    assert_eq!(carbon.lines(), ["a 1 2", "b 3 4", "c 5 6"]);
}

#[test]
fn stops_at_once_and_starts_again_on_the_same_port() {
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let addr = carbon.addr();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(b"a 1 2\n").unwrap();
    carbon.wait_lines(1, SOON).unwrap();
    assert_eq!(carbon.stop().lines, ["a 1 2"]);
    stream.set_read_timeout(Some(SOON)).unwrap();
    // A clean end or a reset, but an end.
    assert!(!matches!(stream.read(&mut [0]), Ok(1)));
    assert!(TcpStream::connect(addr).is_err());

    let again = StandIn::start_at(addr, Conduct::Read).unwrap();
    assert_eq!(send(&again, "b 1 2\n").unwrap(), 0);
    assert_eq!(again.lines(), ["b 1 2"]);
}
