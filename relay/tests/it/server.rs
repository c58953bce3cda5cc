//! Connections and who gets in: tokens, TLS, files that change, many senders, slow ones.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use catchpoint_graphite_relay::server::listen;
use catchpoint_testbed::Signal;
use flate2::Compression;
use flate2::write::GzEncoder;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::common::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const NEW_TOKEN: &str = "a-new-token-of-some-length";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn token_file(dir: &Path, text: &str) -> String {
    file(dir, "tokens", text)
}

#[test]
fn r11_r18_the_log_tells_of_wrong_tokens_and_of_a_broken_file() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = token_file(dir.path(), TOKEN);
    let (mut relay, _carbon, _dir) = start_program(&["--token-file", &tokens]);
    let wrong = "a-wrong-token-of-some-length";
    for path in ["/v1/lines", "/v1/lines?token=x", "http://relay/v1/lines"] {
        let headers = [("authorization", "Bearer a-wrong-token-of-some-length")];
        let answer = send(relay.addr, &request("POST", path, &headers, b"")).unwrap();
        assert_eq!(answer.status, 401, "{path}");
    }
    let line = relay.process.wait_line("refused with 401", SOON).unwrap();
    assert!(
        line.contains("WARN") && line.contains("127.0.0.1"),
        "{line}"
    );
    let printed = relay.process.printed();
    assert_eq!(printed.matches("refused with 401").count(), 1);
    let said = printed + &get(relay.addr, "/metrics").body;
    assert!(!said.contains(TOKEN) && !said.contains(wrong));
    for (text, expect) in [("\n", "holds no token"), (NEW_TOKEN, "is in force")] {
        token_file(dir.path(), text);
        relay.process.signal(Signal::HUP).unwrap();
        let line = relay.process.wait_line(expect, SOON).unwrap();
        assert_eq!(line.contains("WARN"), text == "\n", "{line}");
    }
}

#[test]
fn r12_r18_each_file_is_read_again_when_it_changes_and_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (files, first) = certificate(dir.path());
    let (relay, _carbon, _spool) = start_with(|settings| {
        settings.token_file = Some(token_file(dir.path(), TOKEN).into());
        settings.tls = Some(files);
        settings.reload_interval = Duration::from_millis(50);
    });
    let post = |token: &str, trusted: &CertificateDer<'static>| {
        Tls::trusting(trusted).post(relay.addr, token).unwrap_or(0)
    };
    assert_eq!((post(TOKEN, &first), post(NEW_TOKEN, &first)), (202, 401));
    // A broken certificate does not keep a token that was taken away.
    let renewed = std::fs::read(dir.path().join("cert.pem")).unwrap();
    file(dir.path(), "cert.pem", "junk");
    token_file(dir.path(), NEW_TOKEN);
    until("the new token", || {
        (post(TOKEN, &first) == 401).then_some(())
    });
    assert_eq!(post(NEW_TOKEN, &first), 202);
    // A token file without a token changes nothing, and certificates are renewed all the same.
    token_file(dir.path(), "\n");
    file(dir.path(), "cert.pem", renewed);
    let (_, second) = certificate(dir.path());
    until("the new certificate", || {
        (post(NEW_TOKEN, &second) == 202).then_some(())
    });
    assert_eq!(post(NEW_TOKEN, &first), 0);
}

/// A sender over TLS.
struct Tls {
    trusted: CertificateDer<'static>,
    identity: Option<CertifiedKey<KeyPair>>,
    version: &'static SupportedProtocolVersion,
}

impl Tls {
    /// That trusts this certificate alone.
    fn trusting(trusted: &CertificateDer<'static>) -> Self {
        Self {
            trusted: trusted.clone(),
            identity: None,
            version: &TLS13,
        }
    }

    /// Posts a line, and gives the status of the answer.
    fn post(&self, addr: SocketAddr, token: &str) -> std::io::Result<u16> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(CertifiedKey { cert, signing_key }) => {
                let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
                let chain = vec![cert.der().clone()];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::try_from("relay.test").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(addr)?);
        let (value, text) = (format!("Bearer {token}"), body(&lines(1, 1)));
        let headers = [("authorization", value.as_str())];
        stream.write_all(&request("POST", "/v1/lines", &headers, text.as_bytes()))?;
        Ok(read_answer(&mut stream)?.status)
    }
}

#[test]
fn r12_tls_of_both_versions_is_spoken_with_certificates_of_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    let (mut files, trusted) = certificate(dir.path());
    let identity = || generate_simple_self_signed(["sender.test".to_owned()]).unwrap();
    let (known, stranger) = (identity(), identity());
    let (open, _carbon, _spool) = start_with(|settings| settings.tls = Some(files.clone()));
    files.client_ca = Some(file(dir.path(), "client_ca.pem", known.cert.pem()).into());
    let (closed, _carbon, _spool) = start_with(|settings| settings.tls = Some(files));
    let other = stranger.cert.der().clone();
    for (relay, version, trusted, identity, expect) in [
        (&open, &TLS12, &trusted, None, Some(202)),
        (&open, &TLS13, &trusted, None, Some(202)),
        (&open, &TLS13, &other, None, None),
        (&closed, &TLS13, &trusted, Some(known), Some(202)),
        (&closed, &TLS13, &trusted, Some(stranger), None),
        (&closed, &TLS13, &trusted, None, None),
    ] {
        let sender = Tls {
            identity,
            version,
            ..Tls::trusting(trusted)
        };
        assert_eq!(sender.post(relay.addr, "").ok(), expect);
    }
    // Plain HTTP gets no answer.
    assert!(send(open.addr, &request("GET", "/healthz", &[], b"")).is_err());
}

#[test]
fn bodies_may_be_packed_or_chunked() {
    let (relay, carbon, _dir) = start_with(|_| {});
    let good = lines(1, 1000);
    let text = body(&good);
    let (first, second) = text.split_at(text.len() / 2);
    let packed = gzip(text.as_bytes());
    let members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    let encoded = |name, bytes| request("POST", "/v1/lines", &[("content-encoding", name)], bytes);
    for request in [
        encoded("identity", text.as_bytes()),
        encoded("gzip", &packed),
        encoded("GZIP", &members),
        chunked(&text, 777),
    ] {
        let answer = send(relay.addr, &request).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(answer.json()["accepted"], 1000);
    }
    wait_all(&carbon, &good.into_iter().collect());
}

/// The request of a post in chunks of so many bytes.
fn chunked(text: &str, size: usize) -> Vec<u8> {
    let head = "POST /v1/lines HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut request = head.as_bytes().to_vec();
    for chunk in text.as_bytes().chunks(size) {
        request.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    request.extend(b"0\r\n\r\n");
    request
}

/// A piece of a body takes memory beside its bytes.
#[test]
fn chunks_of_one_byte_count_as_memory() {
    let (relay, _carbon, _dir) = start_with(|settings| settings.body_room_bytes = 32 << 10);
    let newlines = "\n".repeat(1000);
    for (size, status) in [(1000, 400), (1, 503)] {
        let answer = send(relay.addr, &chunked(&newlines, size)).unwrap();
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[test]
fn unusable_posts_are_refused_and_leave_nothing_behind() {
    let (relay, _carbon, dir) = start_with(|settings| settings.max_body_bytes = 1 << 20);
    let packed = gzip(body(&lines(1, 1000)).as_bytes());
    let (half, _) = packed.split_at(packed.len() / 2);
    let large = body(&lines(1, 20_000));
    let packed_large = gzip(large.as_bytes());
    assert!(packed_large.len() < 1 << 20);
    for (encoding, bytes, status, why) in [
        ("identity", &b""[..], 400, "no usable line"),
        ("gzip", half, 400, "not whole and valid gzip"),
        ("gzip", b"", 400, "not whole and valid gzip"),
        (
            "gzip",
            &[&packed, &b"junk"[..]].concat(),
            400,
            "not whole and valid gzip",
        ),
        ("identity", large.as_bytes(), 413, "max_body_bytes"),
        ("gzip", &packed_large, 413, "max_body_bytes"),
    ] {
        let answer = post_with(relay.addr, &[("content-encoding", encoding)], bytes);
        assert_eq!(answer.status, status, "{why}: {}", answer.body);
        assert!(answer.body.contains(why), "{why}: {}", answer.body);
    }
    assert_eq!(relay.content().waiting, relay.content().confirmed);
    for folder in ["batches", "tmp"] {
        let files = std::fs::read_dir(dir.path().join("spool").join(folder));
        assert_eq!(files.unwrap().count(), 0);
    }
}

#[test]
fn senders_that_stop_sending_are_cut_off() {
    let (relay, _carbon, _dir) = start_with(|settings| {
        settings.timeouts.head = Duration::from_millis(200);
        settings.timeouts.body_piece = Duration::from_millis(200);
        settings.timeouts.body = Duration::from_millis(600);
    });
    let head = "POST /v1/lines HTTP/1.1\r\nhost: relay\r\ncontent-length: 1000\r\n\r\n";
    for (text, expect) in [
        ("", ""),
        ("POST /v1/lines HTT", ""),
        ("POST /v1/lines HTTP/1.1\r\nhost: re", ""),
        // Answered, and idle from then on.
        (
            "GET /healthz HTTP/1.1\r\nhost: relay\r\n\r\n",
            "HTTP/1.1 200",
        ),
        (head, "HTTP/1.1 408"),
        (&format!("{head}a 1 1700000000\n"), "HTTP/1.1 408"),
    ] {
        let answer = until("an answer", || {
            let mut stream = TcpStream::connect(relay.addr).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            let written = stream.write_all(text.as_bytes());
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            // We, too, may be late on a busy machine.
            let is_late = written.and(read).is_err() || answer.is_empty() && !expect.is_empty();
            (!is_late).then_some(answer)
        });
        assert!(answer.starts_with(expect), "{text}: {answer}");
        assert!(
            !expect.is_empty() || !answer.contains(" 2"),
            "{text}: {answer}"
        );
    }
    // A body that drips: each piece comes in time, the whole does not.
    let mut stream = TcpStream::connect(relay.addr).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut dripping = stream.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        while dripping.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    drop(stream);
    drip.join().unwrap();
    until("no connection left", || {
        (relay.relay().metrics().connections_open.get() == 0).then_some(())
    });
}

#[test]
fn r07_lines_ahead_of_a_clock_come_again_or_are_refused_alone() {
    let (relay, _carbon, _dir) = start_with(|_| {});
    let now = SystemTime::now();
    let late = now + Duration::from_secs(13 * 3600);
    let line = |name: &str, at: SystemTime| {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        format!("{name} 1 {seconds}\n")
    };
    let mixed = line("a", now) + &line("b", late);
    for (date, text, status, why) in [
        (Some(now), &line("a", now), 202, ""),
        // The relay's clock is 13 hours slow, as far as the sender can tell.
        (Some(late), &line("a", late), 503, "clock_skew"),
        (Some(late), &mixed, 503, "clock_skew"),
        (Some(late), &line("a", now), 202, ""),
        // The clocks agree.
        (Some(now), &mixed, 202, "timestamp_in_future"),
        (Some(now), &line("a", late), 400, "timestamp_in_future"),
        // Nobody knows.
        (None, &line("a", late), 503, "clock_skew"),
        (None, &mixed, 202, "timestamp_in_future"),
    ] {
        let date = date.map(httpdate::fmt_http_date);
        let headers: Vec<_> = date.iter().map(|date| ("date", date.as_str())).collect();
        let answer = post_with(relay.addr, &headers, text);
        let shown = format!("{date:?} {text}: {}", answer.body);
        assert_eq!(answer.status, status, "{shown}");
        assert!(answer.body.contains(why), "{shown}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
    }
    let skewed = "posts_total{outcome=\"clock_skew\"}";
    assert_eq!(metric(relay.addr, skewed), 3.0);
}

#[test]
fn r09_large_bodies_hold_up_no_other_connection() {
    let (relay, _carbon, _dir) = start_with(|_| {});
    // 15 MiB of lines that are refused, so that the disk plays no part.
    let packed =
        gzip(&b"system.cp.testdata.DNS(ms);testId=1;nodeId=2 x 1700000000\n".repeat(270_000));
    let headers = [("content-encoding", "gzip")];
    let begun = Instant::now();
    let slowest = thread::scope(|scope| {
        let posts: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| assert_eq!(post_with(relay.addr, &headers, &packed).status, 400))
            })
            .collect();
        let mut slowest = Duration::ZERO;
        while !posts.iter().all(|post| post.is_finished()) {
            let asked = Instant::now();
            assert_eq!(get(relay.addr, "/healthz").status, 200);
            slowest = slowest.max(asked.elapsed());
        }
        slowest
    });
    let all = begun.elapsed();
    assert!(slowest < all / 10, "{slowest:?} of {all:?}");
}

#[test]
fn r09_a_refused_sender_reads_its_answer_after_it_has_sent_all() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, _carbon, _spool) = start_with(|settings| {
        settings.max_body_bytes = 1 << 20;
        settings.token_file = Some(token_file(dir.path(), TOKEN).into());
    });
    let large = vec![b'x'; 32 << 20];
    let (length, size) = (format!("content-length: {}", large.len()), large.len());
    for (request, token, status) in [
        ("POST /v1/lines", "", 401),
        ("POST /v1/lines", TOKEN, 413),
        ("PUT /v1/lines", TOKEN, 405),
        ("POST /v1/line", TOKEN, 404),
    ] {
        for (length, before, after) in [
            (length.as_str(), String::new(), ""),
            (
                "transfer-encoding: chunked",
                format!("{size:x}\r\n"),
                "\r\n0\r\n\r\n",
            ),
        ] {
            let mut stream = TcpStream::connect(relay.addr).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            write!(
                stream,
                "{request} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{length}\r\n\r\n{before}"
            )
            .unwrap();
            stream.write_all(&large).unwrap();
            stream.write_all(after.as_bytes()).unwrap();
            let answer = read_answer(&mut stream).unwrap();
            assert_eq!(answer.status, status, "{request} {length}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn r09_an_address_in_use_is_an_error_and_one_that_is_not_there_is_passed_over() {
    let used = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let used = used.local_addr().unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    let (address, error) = listen(&[used, free]).map(|_| ()).unwrap_err();
    assert_eq!(address, used.to_string());
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let absent = "192.0.2.1:0".parse().unwrap();
    assert!(listen(&[absent, free]).is_ok());
}
