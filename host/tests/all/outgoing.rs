//! What a guest can send: where to, within which time, and what it learns of failures.

use crate::support::{Reply, Setup, server, tell};
use tokio::net::TcpListener;

const ALLOWED: &str = "allowed_outbound_hosts = [\"{{ host }}\"]";

async fn fetch(setup: &Setup, target: &str) -> String {
    tell(&setup.app(), &format!("fetch?{target}"))
        .await
        .unwrap()
}

#[tokio::test]
async fn sends_and_receives() {
    let (address, requests) = server(Reply::Bytes(
        "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok",
    ))
    .await;
    let host = format!("http://{address}");
    let setup = Setup::new(ALLOWED).variable("host", &host);
    assert_eq!(fetch(&setup, &format!("{host}/v1/lines")).await, "202 ok");
    let request = requests.lock().unwrap().concat();
    assert_eq!(
        request,
        format!(
            "POST /v1/lines HTTP/1.1\r\nhost: {address}\r\ntransfer-encoding: chunked\r\n\r\n\
             4\r\nsent\r\n0\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn does_not_reach_what_is_not_allowed() {
    let (address, requests) = server(Reply::Bytes("HTTP/1.1 200 OK\r\n\r\n")).await;
    let host = format!("http://{address}");
    let closed = Setup::new("");
    assert_eq!(fetch(&closed, &host).await, "ErrorCode::HttpRequestDenied");
    let elsewhere = Setup::new(ALLOWED).variable("host", "http://127.0.0.1:9");
    assert_eq!(
        fetch(&elsewhere, &host).await,
        "ErrorCode::HttpRequestDenied"
    );
    // An empty variable allows nothing, and is no error.
    let empty = Setup::new(ALLOWED).variable("host", "");
    assert_eq!(fetch(&empty, &host).await, "ErrorCode::HttpRequestDenied");
    assert!(requests.lock().unwrap().is_empty());
}

async fn check(reply: Reply, timeout: &str, expect: &str) {
    let (address, _) = server(reply).await;
    let host = format!("http://{address}");
    let setup = Setup::new(ALLOWED).variable("host", &host);
    let answer = fetch(&setup, &format!("{host}/#{timeout}")).await;
    assert_eq!(answer, expect);
}

#[tokio::test]
async fn keeps_to_the_timeouts_of_the_guest() {
    check(Reply::Stall(""), "200", "ErrorCode::ConnectionReadTimeout").await;
    check(
        Reply::Stall("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
        "30000/200",
        "200 half, then connection read timeout",
    )
    .await;
}

#[tokio::test]
async fn failures_have_their_codes() {
    check(Reply::Bytes(""), "30000", "ErrorCode::HttpProtocolError").await;
    check(
        Reply::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
        "30000",
        "200 half, then hyper error: error reading a body from connection",
    )
    .await;

    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let setup = Setup::new(ALLOWED).variable("host", &host);
    assert_eq!(fetch(&setup, &host).await, "ErrorCode::ConnectionRefused");

    // A label of more than 63 characters: no resolver has to be asked, which may take long.
    let host = format!("http://{}.invalid", "h".repeat(64));
    let setup = Setup::new(ALLOWED).variable("host", &host);
    let answer = fetch(&setup, &host).await;
    assert!(answer.contains("DnsError"), "{answer}");
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_times_out() {
    let (address, _) = server(Reply::Stall("")).await;
    let host = format!("https://{address}");
    let setup = Setup::new(ALLOWED).variable("host", &host);
    let answer = fetch(&setup, &format!("{host}/#200")).await;
    assert_eq!(answer, "ErrorCode::ConnectionTimeout");
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_told_from_others() {
    let (address, _) = server(Reply::Greeting("220 ready\r\n")).await;
    let host = format!("https://{address}");
    let setup = Setup::new(ALLOWED).variable("host", &host);
    let answer = fetch(&setup, &format!("{host}/#30000")).await;
    assert_eq!(answer, "ErrorCode::TlsProtocolError");
}
