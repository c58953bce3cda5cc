//! The server and the binary, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catchpoint_sandbox::{Datapoint, Effect, Rule, Sandbox, Server, TestType, World};
use common::{LASTRAW, START, V2, get, json, sandbox, time, token};

fn serve() -> (Arc<Sandbox>, Server) {
    let sandbox = Arc::new(sandbox(World::builder().nodes(2).build()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Arc::clone(&sandbox).serve(listener).unwrap();
    (sandbox, server)
}

/// All bytes that come back until the connection ends.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // Who is refused may get the answer before all is written.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    // A fault may end the connection with a reset; what came before it counts.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn request(address: SocketAddr, method: &str, uri: &str, bearer: &str, body: &str) -> String {
    exchange(
        address,
        &format!(
            "{method} {uri} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {bearer}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
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
    for kind in TestType::ALL {
        let uri = format!(
            "{LASTRAW}?tests={}",
            common::list(&sandbox.world().ids(kind))
        );
        let answer = request(server.address(), "GET", &uri, &token, "");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(body(&answer), get(&sandbox, &uri, &token).1);
    }
    let form =
        "grant_type=client_credentials&client_id=sandbox-client&client_secret=sandbox-secret";
    let answer = request(server.address(), "POST", "/ui/api/token", "", form);
    assert!(json(&body(&answer))["access_token"].is_string());
    let next = body(&request(
        server.address(),
        "GET",
        &format!("{V2}?testIds=142600&pageSize=1"),
        "sandbox-key",
        "",
    ));
    let link = format!("http://{}{V2}?testIds=142600&", server.address());
    assert!(
        json(&next)["data"]["next"]
            .as_str()
            .unwrap()
            .starts_with(&link)
    );
}

#[test]
fn a_cut_answer_has_no_end() {
    let (sandbox, server) = serve();
    sandbox.add_fault(Rule::new(Effect::Truncate { after: None }));
    let answer = request(
        server.address(),
        "GET",
        &format!("{V2}?testIds=142600"),
        "sandbox-key",
        "",
    );
    assert!(answer.contains(r#"{"data":{"responseItems""#), "{answer}");
    assert!(!answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn a_refused_connection_is_closed_without_a_byte() {
    let (sandbox, server) = serve();
    sandbox.add_fault(Rule::new(Effect::Refuse));
    assert_eq!(request(server.address(), "GET", "/", "", ""), "");
}

#[test]
fn a_delayed_answer_takes_its_time() {
    let (sandbox, server) = serve();
    sandbox.add_fault(Rule::new(Effect::Delay { millis: 300 }));
    let start = Instant::now();
    assert!(request(server.address(), "GET", "/", "", "").starts_with("HTTP/1.1 404"));
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_huge_request_is_refused() {
    let (_sandbox, server) = serve();
    let answer = request(
        server.address(),
        "POST",
        "/ui/api/token",
        "",
        &"x".repeat(2 << 20),
    );
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );
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
    assert!(call("DELETE", "/sandbox/faults", "").starts_with("HTTP/1.1 204"));
    assert_eq!(body(&call("GET", "/sandbox/faults", "")), "[]");
    let answer = call("PUT", "/sandbox/faults", r#"[{"effect":"explode"}]"#);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("unknown variant `explode`"), "{answer}");
    assert!(call("POST", "/sandbox/faults", "[]").starts_with("HTTP/1.1 405"));
    assert!(call("GET", "/sandbox/nothing", "").starts_with("HTTP/1.1 404"));
    let calls = json(&body(&call("GET", "/sandbox/calls", "")));
    assert_eq!(calls["peak"]["day"], 2);
    let faults: Vec<_> = calls["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["fault"])
        .collect();
    assert_eq!(faults, [&"status".into(), &serde_json::Value::Null]);
}

#[test]
fn truth_and_served_are_told_from_outside() {
    let (sandbox, server) = serve();
    let call = |uri: &str| request(server.address(), "GET", uri, "", "");
    let lines = body(&call(&format!(
        "/sandbox/truth?from={}&to={START}",
        START - 600
    )));
    let told: Vec<Datapoint> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let truth: Vec<Datapoint> = sandbox.truth(START - 600, START).collect();
    assert!(told.len() > 1000);
    assert_eq!(told, truth);
    assert!(call("/sandbox/truth?from=0").starts_with("HTTP/1.1 400"));
    assert_eq!(body(&call("/sandbox/served")), "{}");
    sandbox.clock().set(time(START));
    request(
        server.address(),
        "GET",
        &format!("{V2}?testIds=142609"),
        "sandbox-key",
        "",
    );
    let served = json(&body(&call("/sandbox/served")));
    assert_eq!(served["ping"]["items"], 24);
}

#[test]
fn a_dropped_server_is_gone() {
    let (_sandbox, server) = serve();
    let address = server.address();
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "it still listens");
        std::thread::yield_now();
    }
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn binary(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catchpoint-sandbox"));
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn the_binary_serves_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for signal in ["-TERM", "-INT"] {
        let args = [
            "--listen",
            "127.0.0.1:0",
            "--tests-per-type",
            "1",
            "--config-out",
            path,
        ];
        let mut running = Running(binary(&args).spawn().unwrap());
        let mut lines = BufReader::new(running.0.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let line = lines.find(|line| line.starts_with("API v2: ")).unwrap();
        let address = line
            .trim_start_matches("API v2: http://")
            .trim_end_matches("/api/v2");
        let config = std::fs::read_to_string(folder.path().join("config_catchpoint.yaml")).unwrap();
        assert!(
            config.contains(&format!("domain: '{address}/ui/api'")),
            "{config}"
        );
        let uri = format!("{V2}?testIds=142600");
        let answer = request(address.parse().unwrap(), "GET", &uri, "sandbox-key", "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let pid = running.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(lines.last().unwrap().starts_with("stopped: 1 calls, "));
        assert_eq!(running.0.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn bad_usage_is_64() {
    let check = |args: &[&str], code: i32, says: &str| {
        let Output { status, stderr, .. } = binary(args).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    };
    check(&["--listen", "0.0.0.0:8089"], 64, "--listen");
    check(&["--listen", "0.0.0.0:8089"], 64, "use 127.0.0.1 or [::1]");
    check(
        &["--listen", "nowhere"],
        64,
        "an address looks like 127.0.0.1:8089",
    );
    check(&["--nodes", "0"], 64, "--nodes");
    check(&["--no-such-flag"], 64, "--no-such-flag");
    check(&["--help"], 0, "");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config_graphite.yaml"), "mine").unwrap();
    let path = folder.path().to_str().unwrap();
    check(
        &["--listen", "127.0.0.1:0", "--config-out", path],
        64,
        "name another folder",
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(
        &["--listen", &address],
        1,
        &format!("--listen {address}: cannot listen there"),
    );
}
