//! Attackers. None of them harms a sender who behaves well at the same time, and the
//! relay's memory stays below 64 MB.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::common::{SOON, body, file, lines, post_with, request, send, start_program, wait_all};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const AUTHORIZED: &str = "Bearer 0123456789abcdef0123456789abcdef";
const MAX_MEMORY_KB: u64 = 64 * 1024;

/// Posts new lines, again and again if it has to: to do so is to behave well, as long as it takes no
/// long time in all.
fn post_well(addr: SocketAddr, lines: &[String]) {
    let headers = [("authorization", AUTHORIZED)];
    let request = request("POST", "/v1/lines", &headers, body(lines).as_bytes());
    let start = Instant::now();
    loop {
        match send(addr, &request) {
            Ok(answer) if answer.status == 202 => break,
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.body),
            // The connection had to make room.
            Err(_) => {}
        }
        assert!(start.elapsed() < SOON, "no other answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    // To behave well is also not to use up the machine, which has to bear the attack.
    std::thread::sleep(Duration::from_millis(5));
}

/// Runs an attack against a relay with a token, while a sender posts all the time.
fn attack(attack: impl Fn(SocketAddr) + Sync) {
    let tokens = tempfile::tempdir().unwrap();
    let tokens = file(tokens.path(), "tokens", TOKEN);
    let (relay, carbon, _dir) = start_program(&["--token-file", &tokens]);
    let over = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = HashSet::new();
            // A little beyond the attack's end: what it leaves behind must not harm either.
            let mut after = 0;
            while after < 5 {
                after += u32::from(over.load(Ordering::Relaxed));
                let lines = lines(sent.len(), 20);
                post_well(relay.addr, &lines);
                sent.extend(lines);
            }
            sent
        });
        let attack = scope.spawn(|| attack(relay.addr));
        // The sender ends even if the attack panics.
        let attacked = attack.join();
        over.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        attacked.unwrap();
        sent
    });
    wait_all(&carbon, &sent);
    let memory = peak_memory_kb(relay.process.id());
    assert!(memory < MAX_MEMORY_KB, "{memory} kB");
}

fn peak_memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let memory = line.unwrap().trim().trim_end_matches(" kB");
    memory.parse().unwrap()
}

/// Opens so many connections and says this on each; they stay open.
fn open_many(addr: SocketAddr, count: usize, text: &[u8]) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(addr).unwrap();
            // The relay may have closed it already, to make room.
            let _ = stream.write_all(text);
            stream
        })
        .collect()
}

/// A post with this behind the first fields of its head.
fn post(rest: &str) -> String {
    format!("POST /v1/lines HTTP/1.1\r\nhost: relay\r\nauthorization: {AUTHORIZED}\r\n{rest}")
}

#[test]
fn garbage() {
    attack(|addr| {
        let line = |_| {
            [
                fastrand::alphanumeric() as u8,
                fastrand::u8(128..),
                b' ',
                b'\n',
            ]
        };
        let garbage: Vec<u8> = (0..100_000).flat_map(line).collect();
        let headers = [("authorization", AUTHORIZED)];
        for _ in 0..10 {
            let answer = post_with(addr, &headers, &garbage);
            assert_eq!(answer.status, 400);
            assert_eq!(answer.json()["rejected_total"], 100_000);
        }
        let newlines = vec![b'\n'; 16 << 20];
        assert_eq!(post_with(addr, &headers, newlines).status, 400);
    });
}

#[test]
fn gzip_bombs() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..256 {
        encoder.write_all(&vec![b'a'; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    attack(|addr| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let headers = [("authorization", AUTHORIZED), ("content-encoding", "gzip")];
                    for _ in 0..3 {
                        let answer = post_with(addr, &headers, &bomb);
                        // Too large, or all of them together.
                        assert!(matches!(answer.status, 413 | 503), "{}", answer.body);
                    }
                });
            }
        });
    });
}

#[test]
fn ten_thousand_idle_connections() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // With room for the tests that run beside this one.
    let needed = hard.min(16_384);
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard).unwrap();
    }
    attack(|addr| {
        let _idle = open_many(addr, 5_000, b"");
        let _slow = open_many(addr, 5_000, b"POST /v1/lines HTTP/1.1\r\nhost: re");
        // They are there, and stay, while good posts go on.
        std::thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn slow_heads_and_slow_bodies() {
    attack(|addr| {
        let head = post("content-length: 1000000\r\n\r\n");
        // More of each than the relay has connections.
        let mut slow = open_many(addr, 600, b"POST /v1/lines HTTP/1.1\r\nhost: re");
        slow.extend(open_many(addr, 600, head.as_bytes()));
        for _ in 0..20 {
            for stream in &mut slow {
                let _ = stream.write_all(b"x");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

/// All that the relay answers on one connection.
fn answers(addr: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // The relay may close before it has read all of it.
    let _ = stream.write_all(text.as_bytes());
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    String::from_utf8_lossy(&answers).into_owned()
}

#[test]
fn request_smuggling() {
    attack(|addr| {
        let smuggled = post("content-length: 27\r\n\r\nsmuggled.line 1 1700000000\n");
        // A proxy before us may see another end of these than we do, so that what follows may be
        // from another sender. It is no request; if it were one, its line would come to carbon.
        for shape in [
            "content-length: 5\r\ncontent-length: 99\r\n\r\nhello",
            "content-length: 5, 5\r\n\r\nhello",
            "content-length: +5\r\n\r\nhello",
            "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
            "content-length: 4\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
            "content-length: 4\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "content-length: 4\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
            "content-length: 4\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
            "content-length: 4\r\nx: y\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            "transfer-encoding: chunked\r\n\r\n0;x=\"\r\n\"\r\n\r\n",
        ] {
            let answers = answers(addr, &format!("{}{smuggled}", post(shape)));
            let count = answers.matches("HTTP/1.1 ").count();
            let first = answers.starts_with("HTTP/1.1 400");
            assert!(first && count == 1, "{shape}: {answers}");
        }
        for nonsense in [
            "POST /v1/lines\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\0\0\0\0",
        ] {
            let answers = answers(addr, &format!("{nonsense}{smuggled}"));
            assert!(!answers.contains("HTTP/1.1 202"), "{nonsense}: {answers}");
        }
        // Where the end is beyond doubt, what follows is a request: it is answered for its own line.
        let (first, second) = (
            post("content-length: 0\r\n\r\n"),
            post("connection: close\r\ncontent-length: 24\r\n\r\nbad.line nan 1700000000\n"),
        );
        let answers = answers(addr, &(first + &second));
        assert_eq!(answers.matches("HTTP/1.1 400").count(), 2, "{answers}");
        assert!(answers.contains("value_not_finite"), "{answers}");
    });
}
