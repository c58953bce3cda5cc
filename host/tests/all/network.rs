//! What a guest can send: where to, within which time, and what it learns of failures.

use crate::support::{ACCEPTED, Ran, Reply, Setup, read_until, server, tell, tls_server};
use std::fs;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

async fn fetch(setup: &Setup, target: &str) -> String {
    let command = format!("fetch?{target}");
    tell(&setup.app(), &command).await.unwrap()
}

#[tokio::test]
async fn sends_and_receives_what_is_allowed() {
    let (port, requests) = server(ACCEPTED, None).await;
    let host = format!("http://127.0.0.1:{port}");
    let refused = fetch(&Setup::new(), &host).await;
    assert_eq!(refused, "ErrorCode::HttpRequestDenied");
    let setup = Setup::new().variable("host", &host);
    assert_eq!(fetch(&setup, &format!("{host}/v1/lines")).await, "202 ok");
    let expect = format!(
        "POST /v1/lines HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ntransfer-encoding: chunked\r\n\r\n\
         4\r\nsent\r\n0\r\n\r\n"
    );
    assert_eq!(requests.lock().unwrap().concat(), expect);
}

/// What the guest gets from a peer with this conduct, without its address.
async fn check(reply: Reply, scheme: &str, timeout: &str, expect: &str) {
    let (port, _) = server(reply, None).await;
    let host = format!("{scheme}://127.0.0.1:{port}");
    let setup = Setup::new().variable("host", &host);
    let answer = fetch(&setup, &format!("{host}/~{timeout}")).await;
    let answer = answer.replace(&format!("127.0.0.1:{port}"), "PEER");
    let words = answer.strip_prefix("ErrorCode::InternalError(Some(\"");
    let words = words.and_then(|words| words.strip_suffix("\"))"));
    assert_eq!(words.unwrap_or(&answer), expect);
}

#[tokio::test]
async fn keeps_to_the_timeouts_of_the_guest() {
    let late = "ErrorCode::ConnectionReadTimeout";
    check(Reply::Stall(""), "http", "200", late).await;
    let half = Reply::Stall("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let late = "200 half, then connection read timeout";
    check(half, "http", "30000/200", late).await;
    // It accepts and never shakes hands.
    let late = "ErrorCode::ConnectionTimeout";
    check(Reply::Stall(""), "https", "200", late).await;
}

#[tokio::test]
async fn c16_network_failures_have_plain_words_and_the_hosts_name() {
    let closed = "PEER closed the connection before the end of its answer";
    check(Reply::Bytes(""), "http", "30000", closed).await;
    let not_http = "PEER does not answer with plain HTTP: use https:// if it has TLS";
    let alert = Reply::Bytes("\x15\x03\x03\0\x02\x02\x0a");
    check(alert, "http", "30000", not_http).await;
    let not_tls = "PEER does not speak TLS on this port: use http:// or its port for https";
    let mail = Reply::Greeting("220 ready\r\n");
    check(mail, "https", "30000", not_tls).await;
    let half = Reply::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let cut = "200 half, then internal error: PEER: error reading a body from connection: end of file before message length reached";
    check(half, "http", "30000", cut).await;

    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (host, expect) in [
        (refused, "ErrorCode::ConnectionRefused"),
        // A label of more than 63 characters: no resolver has to be asked, which may take long.
        (format!("http://{}.invalid", "h".repeat(64)), "DnsError"),
    ] {
        let answer = fetch(&Setup::new().variable("host", &host), &host).await;
        assert!(answer.contains(expect), "{answer}");
    }
}

#[tokio::test]
async fn c16_ca_file_adds_an_authority() {
    let (pem, port) = tls_server("localhost").await;
    let host = format!("https://localhost:{port}");
    let mut setup = Setup::new().variable("host", &host);
    let said = fetch(&setup, &host).await;
    let expect = format!(
        "the certificate of localhost:{port} is from an authority that is not trusted here: pass the authority's certificate with --ca-file"
    );
    assert!(said.contains(&expect), "{said}");

    let file = setup.folder.path().join("ca.pem");
    fs::write(&file, pem).unwrap();
    setup.options.ca_files = vec![file];
    assert_eq!(fetch(&setup, &host).await, "202 ok");

    let host = format!("https://127.0.0.1:{port}");
    let said = fetch(&setup.variable("host", &host), &host).await;
    let expect = format!(
        "the certificate of 127.0.0.1:{port} is not accepted: certificate not valid for name"
    );
    assert!(said.contains(&expect), "{said}");
}

/// A proxy that answers plain requests itself, and connects CONNECT to `port` of this machine.
async fn proxy(port: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = heads.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_until(&mut stream, b"\r\n\r\n").await;
            let connect = head.starts_with("CONNECT");
            seen.lock().unwrap().push(head);
            let answer: &[u8] = match connect {
                true => b"HTTP/1.1 200 Connected\r\n\r\n",
                false => b"HTTP/1.1 407 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            };
            stream.write_all(answer).await.unwrap();
            if connect {
                let mut target = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut target).await;
            }
        }
    });
    (address, heads)
}

/// The answer of a guest that fetches `url`, in this environment.
async fn fetch_in(pem: &str, url: &str, environment: &[(&str, &str)]) -> String {
    let setup = Setup::new()
        .variable("host", url.trim_end_matches("/x"))
        .variable("check", &format!("do fetch?{url}"));
    fs::write(setup.folder.path().join("ca.pem"), pem).unwrap();
    let mut command = setup.command(&["check", "--ca-file", "ca.pem"]);
    command.envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ran = Ran::from(output.await.unwrap());
    ran.out + &ran.err
}

#[tokio::test]
async fn c16_requests_go_through_the_proxies_of_the_environment() {
    let (pem, port) = tls_server("io.catchpoint.test").await;
    let (address, heads) = proxy(port).await;
    let with_password = format!("http://user:pass@{address}");
    // A label of more than 63 characters: no resolver has to be asked.
    let nowhere = format!("http://{}.invalid/x", "h".repeat(64));
    let here = format!("https://localhost:{port}/x");
    let not_invalid = [("ALL_PROXY", address.as_str()), ("NO_PROXY", "invalid")];
    let connect = "CONNECT io.catchpoint.test:443 HTTP/1.1\r\nhost: io.catchpoint.test:443\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n";
    let plain = "POST http://relay.test:2080/x HTTP/1.1\r\nhost: relay.test:2080\r\n";
    let https = "https://io.catchpoint.test/x";
    let refused = "cannot connect to the proxy 127.0.0.1:1";
    for (url, environment, expect, head) in [
        (
            https,
            &[("HTTPS_PROXY", with_password.as_str())][..],
            "202 ok",
            connect,
        ),
        (
            "http://relay.test:2080/x",
            &[("http_proxy", &address)],
            "407",
            plain,
        ),
        // Not for this machine, nor for what NO_PROXY names.
        (&here, &not_invalid, "ErrorCode", ""),
        (&nowhere, &not_invalid, "ErrorCode", ""),
        (https, &[("HTTPS_PROXY", "http://127.0.0.1:1")], refused, ""),
    ] {
        let answer = fetch_in(&pem, url, environment).await;
        assert!(answer.contains(expect), "{url} {answer}");
        let heads: String = heads.lock().unwrap().drain(..).collect();
        assert!(
            heads.starts_with(head) && heads.is_empty() == head.is_empty(),
            "{heads}"
        );
    }
}

#[tokio::test]
async fn a_relay_that_refuses_shows_in_the_progress() {
    let setup = Setup::new();
    let app = setup.app();
    tell(&app, "fetch?http://127.0.0.1:2").await.unwrap();
    let expect =
        "0 calls to Catchpoint, 0 posts to the relay, the relay does not answer: tried 1 time";
    assert_eq!(app.figures().words(), expect);
}
