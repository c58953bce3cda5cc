//! What a guest can send: where to, within which time, and what it learns of failures.

use crate::support::{Reply, Setup, certificate, server, tell, tls_server};
use std::fs;
use tokio::net::TcpListener;

async fn fetch(setup: &Setup, target: &str) -> String {
    tell(&setup.app(), &format!("fetch?{target}"))
        .await
        .unwrap()
}

#[tokio::test]
async fn sends_and_receives() {
    let answer = "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok";
    let (address, requests) = server(Reply::Bytes(answer)).await;
    let host = format!("http://{address}");
    let setup = Setup::new("").variable("host", &host);
    assert_eq!(fetch(&setup, &format!("{host}/v1/lines")).await, "202 ok");
    let expect = format!(
        "POST /v1/lines HTTP/1.1\r\nhost: {address}\r\ntransfer-encoding: chunked\r\n\r\n\
         4\r\nsent\r\n0\r\n\r\n"
    );
    assert_eq!(requests.lock().unwrap().concat(), expect);
}

#[tokio::test]
async fn does_not_reach_what_is_not_allowed() {
    let (address, requests) = server(Reply::Bytes("HTTP/1.1 200 OK\r\n\r\n")).await;
    let answer = fetch(&Setup::new(""), &format!("http://{address}")).await;
    assert_eq!(answer, "ErrorCode::HttpRequestDenied");
    assert!(requests.lock().unwrap().is_empty());
}

/// What the guest gets from a peer with this conduct, without its address.
async fn check(reply: Reply, scheme: &str, timeout: &str, expect: &str) {
    let (address, _) = server(reply).await;
    let host = format!("{scheme}://{address}");
    let setup = Setup::new("").variable("host", &host);
    let answer = fetch(&setup, &format!("{host}/#{timeout}")).await;
    assert_eq!(answer.replace(&address, "PEER"), expect);
}

#[tokio::test]
async fn keeps_to_the_timeouts_of_the_guest() {
    check(
        Reply::Stall(""),
        "http",
        "200",
        "ErrorCode::ConnectionReadTimeout",
    )
    .await;
    let half = Reply::Stall("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    check(
        half,
        "http",
        "30000/200",
        "200 half, then connection read timeout",
    )
    .await;
    // It accepts and never shakes hands.
    check(
        Reply::Stall(""),
        "https",
        "200",
        "ErrorCode::ConnectionTimeout",
    )
    .await;
}

#[tokio::test]
async fn c16_network_failures_have_plain_words_and_the_hosts_name() {
    let internal = |words: &str| format!("ErrorCode::InternalError(Some(\"{words}\"))");
    let closed = "PEER closed the connection before the end of its answer";
    check(Reply::Bytes(""), "http", "30000", &internal(closed)).await;
    let not_http = "PEER does not answer with plain HTTP: use https:// if it has TLS";
    check(
        Reply::Bytes("\x15\x03\x03\0\x02\x02\x0a"),
        "http",
        "30000",
        &internal(not_http),
    )
    .await;
    let not_tls = "PEER does not speak TLS on this port: use http:// or its port for https";
    check(
        Reply::Greeting("220 ready\r\n"),
        "https",
        "30000",
        &internal(not_tls),
    )
    .await;
    let half = Reply::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    check(half, "http", "30000", "200 half, then PEER: error reading a body from connection: end of file before message length reached").await;

    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let setup = Setup::new("").variable("host", &host);
    assert_eq!(fetch(&setup, &host).await, "ErrorCode::ConnectionRefused");

    // A label of more than 63 characters: no resolver has to be asked, which may take long.
    let host = format!("http://{}.invalid", "h".repeat(64));
    let setup = Setup::new("").variable("host", &host);
    let answer = fetch(&setup, &host).await;
    assert!(answer.contains("DnsError"), "{answer}");
}

#[tokio::test]
async fn c16_ca_file_adds_an_authority() {
    let (pem, acceptor) = certificate("localhost");
    let port = tls_server(acceptor).await;
    let host = format!("https://localhost:{port}");
    let mut setup = Setup::new("").variable("host", &host);
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
    let setup = setup.variable("host", &host);
    let said = fetch(&setup, &host).await;
    let expect = format!("the certificate of 127.0.0.1:{port} is for another name");
    assert!(said.contains(&expect), "{said}");
}
