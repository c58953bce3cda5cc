//! The server, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use catchpoint_sandbox::{Datapoint, Effect, Rule, Sandbox, Server, TestType, World};
use common::{LASTRAW, START, V2, get, json, list, sandbox, token};

fn serve() -> (Arc<Sandbox>, Server) {
    let sandbox = Arc::new(sandbox(World::builder().nodes(2).build()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Arc::clone(&sandbox).serve(listener).unwrap();
    (sandbox, server)
}

/// All bytes that come back until the connection ends.
fn request(address: SocketAddr, method: &str, uri: &str, bearer: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = format!(
        "{method} {uri} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {bearer}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A fault may end the connection with a reset; what came before it counts.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// The body of an answer, its chunks put together; panics if the last one is missing.
fn body(answer: &str) -> String {
    let (head, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    if !head.contains("transfer-encoding: chunked") {
        return rest.to_owned();
    }
    let mut body = String::new();
    loop {
        let (length, chunk) = rest.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return body;
        }
        let (chunk, after) = chunk.split_at(length);
        body += chunk;
        rest = after.strip_prefix("\r\n").unwrap();
    }
}

#[test]
fn the_server_answers_as_the_sandbox_does() {
    let (sandbox, server) = serve();
    let token = token(&sandbox);
    for kind in [TestType::Web, TestType::Ping] {
        let uri = format!("{LASTRAW}?tests={}", list(sandbox.world().ids(kind)));
        let answer = request(server.address(), "GET", &uri, &token, "");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(body(&answer), get(&sandbox, &uri, &token).1);
    }
}

#[test]
fn faults_break_connections() {
    let (sandbox, server) = serve();
    let ask = |effect| {
        sandbox.set_faults(vec![Rule::new(effect)]);
        let uri = format!("{V2}?testIds=142600");
        request(server.address(), "GET", &uri, "sandbox-key", "")
    };
    let cut = ask(Effect::Truncate { after: None });
    assert!(cut.contains(r#"{"data":{"responseItems""#), "{cut}");
    assert!(!cut.ends_with("\r\n0\r\n\r\n"), "{cut}");
    assert_eq!(ask(Effect::Refuse), "");
    let whole = ask(Effect::Delay { millis: 1 });
    assert!(whole.ends_with("\r\n0\r\n\r\n"), "{whole}");
}

#[test]
fn faults_are_switched_from_outside() {
    let (_sandbox, server) = serve();
    let call = |method, uri, body: &str| request(server.address(), method, uri, "", body);
    let rules = r#"[{"kind":"token","skip":0,"times":1,"effect":{"status":{"code":503,"retry_after":null}}}]"#;
    assert!(call("PUT", "/sandbox/faults", rules).starts_with("HTTP/1.1 204"));
    assert_eq!(body(&call("GET", "/sandbox/faults", "")), rules);
    assert!(call("POST", "/ui/api/token", "").starts_with("HTTP/1.1 503"));
    assert!(call("POST", "/ui/api/token", "").starts_with("HTTP/1.1 400"));
    let answer = call("PUT", "/sandbox/faults", r#"[{"effect":"explode"}]"#);
    assert!(answer.contains("unknown variant `explode`"), "{answer}");
    let calls = json(&body(&call("GET", "/sandbox/calls", "")));
    let faults = calls["calls"].as_array().unwrap();
    let faults: Vec<_> = faults.iter().map(|call| &call["fault"]).collect();
    assert_eq!(faults, [&"status".into(), &serde_json::Value::Null]);
}

#[test]
fn the_truth_is_told_from_outside() {
    let (sandbox, server) = serve();
    let uri = format!("/sandbox/truth?from={}&to={START}", START - 600);
    let lines = body(&request(server.address(), "GET", &uri, "", ""));
    let told: Vec<Datapoint> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let truth: Vec<Datapoint> = sandbox.truth(START - 600, START).collect();
    assert!(told.len() > 1000);
    assert_eq!(told, truth);
}
