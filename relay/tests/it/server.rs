//! Connections and who gets in: tokens, TLS, files that change, many senders, slow ones.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catchpoint_graphite_relay::server::listen;
use catchpoint_graphite_relay::server::tls::TlsFiles;
use catchpoint_testbed::{Conduct, Signal, StandIn, port};
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

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn only_a_valid_token_lets_in() {
    let dir = tempfile::tempdir().unwrap();
    let file = token_file(dir.path(), TOKEN);
    let (relay, carbon, _spool) = relay_with(|settings| settings.token_file = Some(file));
    let good = lines(1, 1);
    for (header, status) in [
        (None, 401),
        (Some(bearer("wrong")), 401),
        (Some(bearer(TOKEN)), 202),
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
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(relay.addr, path).status, 200, "{path}");
    }
    for (path, status) in [
        ("/v1/lines?token=x", 401),
        ("http://relay/v1/lines", 401),
        ("//v1/lines", 404),
        ("/v1/%6cines", 404),
        ("/v1/lines/../../etc/passwd", 404),
    ] {
        let answer = send(relay.addr, &request("POST", path, &[], b"")).unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
}

#[test]
fn r11_posts_without_a_valid_token_are_logged_once_a_minute_and_no_token_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = token_file(dir.path(), TOKEN);
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let flags = ["--token-file", file.to_str().unwrap()];
    let mut relay = Program::start(dir.path(), carbon.addr(), &flags);
    for _ in 0..3 {
        let headers = [("authorization", "Bearer a-wrong-token-of-some-length")];
        assert_eq!(
            post_with(relay.addr, &headers, body(&lines(1, 1))).status,
            401
        );
    }
    let line = relay.process.wait_line("refused with 401", SOON).unwrap();
    assert!(
        line.contains("WARN") && line.contains("127.0.0.1"),
        "{line}"
    );
    let printed = relay.process.printed();
    assert_eq!(printed.matches("refused with 401").count(), 1);
    let said = printed + &get(relay.addr, "/metrics").body;
    for token in [TOKEN, "a-wrong-token-of-some-length"] {
        assert!(!said.contains(token));
    }
}

#[test]
fn r12_r18_each_file_is_read_again_when_it_changes_and_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (files, first) = certificate(dir.path());
    let tokens = token_file(dir.path(), TOKEN);
    let (relay, _carbon, _spool) = relay_with(|settings| {
        settings.token_file = Some(tokens);
        settings.tls = Some(files);
        settings.reload_interval = Duration::from_millis(50);
    });
    let post = |token: &str, trusted: &CertificateDer<'static>| {
        Tls::trusting(trusted).post(relay.addr, token).unwrap_or(0)
    };
    let new = "a-new-token-of-some-length";
    assert_eq!((post(TOKEN, &first), post(new, &first)), (202, 401));
    // A broken certificate does not keep a token that was taken away.
    let renewed = std::fs::read(dir.path().join("cert.pem")).unwrap();
    std::fs::write(dir.path().join("cert.pem"), "junk").unwrap();
    token_file(dir.path(), new);
    until("the new token", || {
        (post(TOKEN, &first) == 401).then_some(())
    });
    assert_eq!(post(new, &first), 202);
    // A token file without a token changes nothing, and certificates are renewed all the same.
    token_file(dir.path(), "\n");
    std::fs::write(dir.path().join("cert.pem"), renewed).unwrap();
    let (_, second) = certificate(dir.path());
    until("the new certificate", || {
        (post(new, &second) == 202).then_some(())
    });
    assert_eq!(post(new, &first), 0);
}

fn certificate(dir: &Path) -> (TlsFiles, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["relay.test".to_owned()]).unwrap();
    let files = TlsFiles {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        client_ca: None,
    };
    std::fs::write(&files.cert, cert.pem()).unwrap();
    std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    (files, cert.der().clone())
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
        let value = bearer(token);
        let text = body(&lines(1, 1));
        let headers = [("authorization", value.as_str())];
        stream.write_all(&request("POST", "/v1/lines", &headers, text.as_bytes()))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        status.ok_or_else(|| std::io::Error::other(answer))
    }
}

#[test]
fn tls_of_both_versions_is_spoken_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (files, trusted) = certificate(dir.path());
    let stranger = generate_simple_self_signed(["relay.test".to_owned()]).unwrap();
    let (relay, _carbon, _spool) = relay_with(|settings| settings.tls = Some(files));
    for version in [&TLS12, &TLS13] {
        let sender = Tls {
            version,
            ..Tls::trusting(&trusted)
        };
        assert_eq!(sender.post(relay.addr, "").unwrap(), 202);
    }
    assert!(
        Tls::trusting(stranger.cert.der())
            .post(relay.addr, "")
            .is_err()
    );
    // Plain HTTP gets no answer.
    assert!(send(relay.addr, &request("GET", "/healthz", &[], b"")).is_err());
}

#[test]
fn r12_only_certificates_of_the_authority_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let (mut files, trusted) = certificate(dir.path());
    let sender = |name: &str| generate_simple_self_signed([name.to_owned()]).unwrap();
    let (known, stranger) = (sender("sender.test"), sender("sender.test"));
    let authority = dir.path().join("client_ca.pem");
    std::fs::write(&authority, known.cert.pem()).unwrap();
    files.client_ca = Some(authority);
    let (relay, _carbon, _spool) = relay_with(|settings| settings.tls = Some(files));
    for (identity, expect) in [
        (Some(known), Some(202)),
        (Some(stranger), None),
        (None, None),
    ] {
        let sender = Tls {
            identity,
            ..Tls::trusting(&trusted)
        };
        assert_eq!(sender.post(relay.addr, "").ok(), expect);
    }
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
    let gzipped = [("content-encoding", "gzip")];
    check_refused(&relay, &[], b"", 400, "no usable line");
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
    check_refused(&relay, &[], large.as_bytes(), 413, "max_body_bytes");
    check_refused(&relay, &gzipped, &packed_large, 413, "max_body_bytes");
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
fn senders_that_stop_sending_are_cut_off() {
    let (relay, _carbon, dir) = relay_with(|settings| {
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

#[test]
fn r07_lines_ahead_of_a_clock_come_again_or_are_refused_alone() {
    let (relay, _carbon, _dir) = relay_with(|_| {});
    let now = SystemTime::now();
    let hours = |hours: u64| now + Duration::from_secs(hours * 3600);
    let line = |name: &str, at: SystemTime| {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        format!("{name} 1 {seconds}\n")
    };
    let check = |date: Option<SystemTime>, text: &str, status: u16, why: &str| {
        let date = date.map(httpdate::fmt_http_date);
        let headers: Vec<_> = date.iter().map(|date| ("date", date.as_str())).collect();
        let answer = post_with(relay.addr, &headers, text);
        assert_eq!(answer.status, status, "{date:?} {text}: {}", answer.body);
        assert!(
            answer.body.contains(why),
            "{date:?} {text}: {}",
            answer.body
        );
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
    };
    let mixed = line("a", now) + &line("b", hours(13));
    check(Some(now), &line("a", now), 202, "");
    // The relay's clock is 13 hours slow, as far as the sender can tell.
    check(Some(hours(13)), &line("a", hours(13)), 503, "clock_skew");
    check(Some(hours(13)), &mixed, 503, "clock_skew");
    check(Some(hours(13)), &line("a", now), 202, "");
    // The clocks agree.
    check(Some(now), &mixed, 202, "timestamp_in_future");
    check(Some(now), &line("a", hours(13)), 400, "timestamp_in_future");
    // Nobody knows.
    check(None, &line("a", hours(13)), 503, "clock_skew");
    check(None, &mixed, 202, "timestamp_in_future");
    assert_eq!(
        metric(relay.addr, "posts_total{outcome=\"clock_skew\"}"),
        3.0
    );
}

#[test]
fn r09_a_refused_sender_reads_its_answer_after_it_has_sent_all() {
    let dir = tempfile::tempdir().unwrap();
    let file = token_file(dir.path(), TOKEN);
    let (relay, _carbon, _spool) = relay_with(|settings| {
        settings.max_body_bytes = 1 << 20;
        settings.token_file = Some(file);
    });
    let large = vec![b'x'; 32 << 20];
    let good = bearer(TOKEN);
    for (token, status) in [("", 401), (good.as_str(), 413)] {
        let length = large.len().to_string();
        for (name, value) in [
            ("content-length", length.as_str()),
            ("transfer-encoding", "chunked"),
        ] {
            let head = format!(
                "POST /v1/lines HTTP/1.1\r\nhost: relay\r\nauthorization: {token}\r\n{name}: {value}\r\n\r\n"
            );
            let mut stream = TcpStream::connect(relay.addr).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            if name == "transfer-encoding" {
                write!(stream, "{:x}\r\n", large.len()).unwrap();
            }
            stream.write_all(&large).unwrap();
            if name == "transfer-encoding" {
                stream.write_all(b"\r\n0\r\n\r\n").unwrap();
            }
            let answer = read_answer(&mut stream).unwrap();
            assert_eq!(answer.status, status, "{name}: {}", answer.body);
        }
    }
}

#[test]
fn r09_the_relay_answers_while_its_spool_opens() {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let mut settings = settings(dir.path(), port::free().unwrap());
    settings.listen = vec![addr];
    let disk = TestDisk::new(Conditions {
        waits: true,
        ..Conditions::default()
    });
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| Inner::start_on(settings, disk.clone()));
        until("the health of a relay that starts", || {
            let answer = send(addr, &request("GET", "/healthz", &[], b"")).ok()?;
            (answer.status == 200).then_some(())
        });
        assert_eq!(post(addr, body(&lines(1, 1))).status, 503);
        assert_eq!(metric(addr, "posts_total{outcome=\"starting\"}"), 1.0);
        disk.change(Conditions::default());
        let _relay = relay.join().unwrap();
        assert_eq!(get(addr, "/readyz").status, 200);
        assert_eq!(post(addr, body(&lines(1, 1))).status, 202);
    });
}

#[tokio::test]
async fn r09_an_address_in_use_is_an_error_and_one_that_is_not_there_is_passed_over() {
    let used = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let used = used.local_addr().unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    let (address, error) = listen(&[used, free]).map(|_| ()).unwrap_err();
    assert_eq!(
        (address, error.kind()),
        (used.to_string(), std::io::ErrorKind::AddrInUse)
    );
    let absent = "192.0.2.1:0".parse().unwrap();
    assert!(listen(&[absent, free]).is_ok());
}

#[test]
fn a_broken_file_at_a_signal_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = token_file(dir.path(), TOKEN);
    let flags = ["--token-file", file.to_str().unwrap()];
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let mut relay = Program::start(dir.path(), carbon.addr(), &flags);
    token_file(dir.path(), "\n");
    relay.process.signal(Signal::HUP).unwrap();
    let line = relay.process.wait_line("stays in force", SOON).unwrap();
    assert!(
        line.contains("WARN") && line.contains("holds no token"),
        "{line}"
    );
    token_file(dir.path(), "a-new-token-of-some-length");
    relay.process.signal(Signal::HUP).unwrap();
    relay
        .process
        .wait_line("the changed file is in force", SOON)
        .unwrap();
}
