//! Who gets in, and what a request may look like.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use catchpoint_testbed::{Conduct, Signal, StandIn};
use flate2::Compression;
use flate2::write::GzEncoder;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A relay that needs no carbon here, with these settings changed.
fn relay_with(
    change: impl FnOnce(&mut catchpoint_graphite_relay::config::Settings),
) -> (Inner, StandIn, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let mut settings = settings(dir.path(), carbon.addr());
    change(&mut settings);
    (Inner::start(settings), carbon, dir)
}

fn token_file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("tokens");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn only_a_valid_token_lets_in() {
    let dir = tempfile::tempdir().unwrap();
    let file = token_file(
        dir.path(),
        &format!("# rotation\n{TOKEN}\nanother-token-of-some-length\n"),
    );
    let (relay, carbon, _spool) = relay_with(|settings| settings.token_file = Some(file));
    let good = lines(1, 1);
    for (header, status) in [
        (None, 401),
        (Some("Bearer wrong".to_owned()), 401),
        (Some("Bearer ".to_owned()), 401),
        (Some(format!("Bearer {TOKEN}x")), 401),
        (Some(format!("Basic {TOKEN}")), 401),
        (Some(TOKEN.to_owned()), 401),
        (Some(format!("Bearer {TOKEN}")), 202),
        (Some(format!("bearer {TOKEN}")), 202),
        (Some("Bearer another-token-of-some-length".to_owned()), 202),
    ] {
        let headers: Vec<_> = header
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        let answer = post_with(relay.addr, &headers, body(&good));
        assert_eq!(answer.status, status, "{header:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    wait_all(&carbon, &good.into_iter().collect());
    let content = relay.content();
    assert_eq!(content.confirmed.lines + content.waiting.lines, 3);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(relay.addr, path).status, 200, "{path}");
    }
}

#[test]
fn tokens_are_read_again_on_sighup_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = token_file(dir.path(), TOKEN);
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let flags = ["--token-file", file.to_str().unwrap()];
    let mut relay = Program::start(dir.path(), carbon.addr(), &flags);
    let post = |token: &str| {
        let value = format!("Bearer {token}");
        post_with(relay.addr, &[("authorization", &value)], body(&lines(1, 1))).status
    };
    assert_eq!(
        (post(TOKEN), post("a-new-token-of-some-length")),
        (202, 401)
    );
    token_file(dir.path(), "a-new-token-of-some-length");
    relay.process.signal(Signal::HUP).unwrap();
    relay.process.wait_line("were read again", SOON).unwrap();
    assert_eq!(
        (post(TOKEN), post("a-new-token-of-some-length")),
        (401, 202)
    );
    // A broken file changes nothing.
    token_file(dir.path(), "\n");
    relay.process.signal(Signal::HUP).unwrap();
    let line = relay.process.wait_line("stay as they were", SOON).unwrap();
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(post("a-new-token-of-some-length"), 202);
    let said = relay.process.printed() + &get(relay.addr, "/metrics").body;
    for token in [TOKEN, "a-new-token-of-some-length"] {
        assert!(!said.contains(token));
    }
}

fn certificate(dir: &Path) -> (Vec<String>, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["relay.test".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), signing_key.serialize_pem()).unwrap();
    let path = |name| dir.join(name).display().to_string();
    let flags = vec![
        "--tls-cert".to_owned(),
        path("cert.pem"),
        "--tls-key".to_owned(),
        path("key.pem"),
    ];
    (flags, cert.der().clone())
}

/// Posts over TLS, trusting this certificate alone.
fn post_tls(
    addr: SocketAddr,
    trusted: &CertificateDer<'static>,
    text: &str,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("relay.test").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(addr)?);
    stream.write_all(&request("POST", "/v1/lines", &[], text.as_bytes()))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn tls_is_spoken_and_the_certificate_read_again_on_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let (flags, first) = certificate(dir.path());
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut relay = Program::start(dir.path(), carbon.addr(), &flags);
    let good = lines(1, 10);
    let answer = post_tls(relay.addr, &first, &body(&good)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    wait_all(&carbon, &good.into_iter().collect());
    // Plain HTTP gets no answer, and a stranger's certificate is not trusted.
    assert!(send(relay.addr, &request("GET", "/healthz", &[], b"")).is_err());
    let (_, second) = certificate(dir.path());
    assert!(post_tls(relay.addr, &second, "").is_err());
    relay.process.signal(Signal::HUP).unwrap();
    relay.process.wait_line("were read again", SOON).unwrap();
    assert!(post_tls(relay.addr, &second, &body(&lines(2, 1))).is_ok());
    assert!(post_tls(relay.addr, &first, &body(&lines(2, 1))).is_err());
    // A pair that is not one, or no certificate at all, changes nothing.
    let key = std::fs::read(dir.path().join("key.pem")).unwrap();
    certificate(dir.path());
    std::fs::write(dir.path().join("key.pem"), key).unwrap();
    relay.process.signal(Signal::HUP).unwrap();
    let line = relay.process.wait_line("cannot be used", SOON).unwrap();
    assert!(line.contains("stay as they were"), "{line}");
    assert!(post_tls(relay.addr, &second, &body(&lines(2, 1))).is_ok());
    std::fs::write(dir.path().join("cert.pem"), "junk").unwrap();
    relay.process.signal(Signal::HUP).unwrap();
    let line = relay
        .process
        .wait_line("cannot be read as PEM", SOON)
        .unwrap();
    assert!(line.contains("stay as they were"), "{line}");
    assert!(post_tls(relay.addr, &second, &body(&lines(2, 1))).is_ok());
}

#[test]
fn bodies_may_be_packed_or_chunked() {
    let (relay, carbon, _dir) = relay_with(|_| {});
    let good = lines(1, 1000);
    let text = body(&good);
    let (first, second) = text.split_at(text.len() / 2);
    let packed = gzip(text.as_bytes());
    let members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    for (encoding, bytes) in [
        ("identity", text.as_bytes()),
        ("gzip", &packed),
        ("GZIP", &members),
    ] {
        let answer = post_with(relay.addr, &[("content-encoding", encoding)], bytes);
        assert_eq!(
            (answer.status, &answer.json()["accepted"]),
            (202, &1000.into()),
            "{encoding}"
        );
    }
    let mut chunked = b"POST /v1/lines HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in text.as_bytes().chunks(777) {
        chunked.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    chunked.extend(b"0\r\n\r\n");
    let answer = send(relay.addr, &chunked).unwrap();
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (202, &1000.into())
    );
    wait_all(&carbon, &good.into_iter().collect());
}

fn check_refused(relay: &Inner, headers: &[(&str, &str)], bytes: &[u8], status: u16, why: &str) {
    let answer = post_with(relay.addr, headers, bytes);
    assert_eq!(answer.status, status, "{why}: {}", answer.body);
    assert!(answer.body.contains(why), "{why}: {}", answer.body);
}

#[test]
fn unusable_posts_are_refused_and_leave_nothing_behind() {
    let (relay, _carbon, dir) = relay_with(|settings| settings.max_body_bytes = 1 << 20);
    let text = body(&lines(1, 1000));
    let packed = gzip(text.as_bytes());
    let (half, _) = packed.split_at(packed.len() / 2);
    let large = body(&lines(1, 20_000));
    let packed_large = gzip(large.as_bytes());
    assert!(packed_large.len() < 1 << 20);
    let long_key = "k".repeat(256);
    let gzipped = [("content-encoding", "gzip")];
    check_refused(&relay, &[], b"", 400, "no usable line");
    check_refused(&relay, &[], b"a nan 1700000000\n", 400, "value_not_finite");
    check_refused(
        &relay,
        &gzipped,
        text.as_bytes(),
        400,
        "not whole and valid gzip",
    );
    check_refused(&relay, &gzipped, half, 400, "not whole and valid gzip");
    check_refused(&relay, &gzipped, b"", 400, "not whole and valid gzip");
    check_refused(
        &relay,
        &gzipped,
        &[&packed[..], b"junk"].concat(),
        400,
        "not whole and valid gzip",
    );
    check_refused(
        &relay,
        &[("content-encoding", "br")],
        b"x",
        415,
        "gzip, identity or absent",
    );
    check_refused(&relay, &[], large.as_bytes(), 413, "max_body_bytes");
    check_refused(&relay, &gzipped, &packed_large, 413, "max_body_bytes");
    check_refused(
        &relay,
        &[("idempotency-key", &long_key)],
        text.as_bytes(),
        400,
        "Idempotency-Key",
    );
    for (method, path, status) in [
        ("GET", "/v1/lines", 405),
        ("PUT", "/v1/lines", 405),
        ("POST", "/metrics", 405),
        ("POST", "/", 404),
        ("POST", "//v1/lines", 404),
        ("POST", "/v1/lines/", 404),
        ("POST", "/v1/../v1/lines", 404),
        ("POST", "/v1/lines%2f", 404),
        ("POST", "/V1/LINES", 404),
    ] {
        let answer = send(relay.addr, &request(method, path, &[], text.as_bytes())).unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
    assert_eq!(relay.content().waiting, relay.content().confirmed);
    for folder in ["batches", "tmp"] {
        assert_eq!(
            std::fs::read_dir(dir.path().join("spool").join(folder))
                .unwrap()
                .count(),
            0
        );
    }
}

#[test]
fn many_small_posts_share_batches() {
    let (relay, carbon, _dir) = relay_with(|_| {});
    std::thread::scope(|scope| {
        for sender in 0..16 {
            let addr = relay.addr;
            scope.spawn(move || {
                for part in 0..25 {
                    assert_eq!(post(addr, body(&lines(sender * 100 + part, 2))).status, 202);
                }
            });
        }
    });
    let expected = (0..16)
        .flat_map(|sender| (0..25).flat_map(move |part| lines(sender * 100 + part, 2)))
        .collect();
    wait_all(&carbon, &expected);
    let content = relay.wait_delivered();
    assert_eq!(content.confirmed.lines, 800);
    assert!(content.confirmed.batches < 400, "{content:?}");
}

#[test]
fn senders_that_stop_sending_are_cut_off() {
    let (relay, _carbon, dir) = relay_with(|settings| {
        settings.patience.head = Duration::from_millis(200);
        settings.patience.body_piece = Duration::from_millis(200);
        settings.patience.body = Duration::from_millis(600);
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
    let drip = std::thread::spawn({
        let mut stream = stream.try_clone().unwrap();
        move || {
            while stream.write_all(b"a").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
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
    assert_eq!(
        std::fs::read_dir(dir.path().join("spool/batches"))
            .unwrap()
            .count(),
        0
    );
}
