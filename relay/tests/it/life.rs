//! Start, stop, exit codes, and what is said on the way.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use catchpoint_testbed::{Conduct, Process, Signal, StandIn, port};
use tempfile::TempDir;

use crate::common::*;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_catchpoint-graphite-relay"))
        .args(args)
        .output()
        .unwrap()
}

fn check_refused(args: &str, code: i32, message: &str) {
    let output = run(&args.split(' ').collect::<Vec<_>>());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args}: {error}");
    assert!(error.contains(message), "{args}: {error}");
    // R11: nothing is said twice.
    let parts: Vec<_> = error.trim().split(": ").collect();
    let unique: HashSet<_> = parts.iter().collect();
    assert_eq!(unique.len(), parts.len(), "{error}");
}

#[test]
fn wrong_usage_and_configuration_exit_64() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| file(dir.path(), name, text);
    let bad = file("bad.yaml", "carbon_port: 2003\nrelay:\n  spol: x\n");
    let tokens = file("tokens", "0123456789abcdef\n");
    let empty = file("empty", "# none\n");
    let junk = file("junk.pem", "junk");
    for (args, message) in [
        ("--nonsense", "--nonsense"),
        ("--drain-timeout 18446744073709551615", "is not in 0..=3600"),
        ("--carbon localhost", "it is not HOST:PORT"),
        (
            "--config no/such.yaml",
            "no/such.yaml (--config) cannot be read",
        ),
        (&format!("--config {bad}"), "bad.yaml:3:3"),
        ("--listen 0.0.0.0:2080", "needs a token file"),
        (
            &format!("--listen 0.0.0.0:0 --token-file {tokens}"),
            "needs TLS",
        ),
        ("--tls-cert x", "--tls-key) is missing"),
        ("--listen localhost", "is not HOST:PORT"),
        ("--listen localhost:http", "is not HOST:PORT"),
        (&format!("--check --token-file {empty}"), "holds no token"),
        (
            &format!("--check --tls-cert {junk} --tls-key {junk}"),
            "junk.pem (tls_cert, --tls-cert)",
        ),
    ] {
        check_refused(args, 64, message);
    }
}

#[test]
fn what_may_pass_exits_1() {
    let (used, _carbon, dir) = start_program(&[]);
    let spool = dir.path().join("free").display().to_string();
    let used_spool = dir.path().join("spool").display().to_string();
    // A label of more than 63 characters: no resolver has to be asked, which may take long.
    let listen = format!("{}:2080", "r".repeat(64));
    for (args, message) in [
        (
            "--token-file no/tokens",
            "no/tokens (token_file, --token-file): cannot be read",
        ),
        (
            "--tls-cert no/cert --tls-key no/key",
            "no/cert (tls_cert, --tls-cert): cannot be read",
        ),
        (&format!("--listen {listen}"), "cannot be found"),
        (&format!("--listen {}", used.addr), "cannot listen on"),
        (
            &format!("--listen 127.0.0.1:0 --spool {used_spool}"),
            "is in use by another relay",
        ),
    ] {
        check_refused(&format!("--spool {spool} {args}"), 1, message);
    }
}

#[test]
fn check_says_what_the_configuration_means() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(
        dir.path(),
        "config_graphite.yaml",
        "carbon_server: 'carbon.example'\ncarbon_port: 2013\nrelay:\n  spool: '/var/spool/relay'\n  max_lines_per_second: 900\n",
    );
    let output = run(&["--check", "--config", &path]);
    assert!(output.status.success());
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap(), @r"
    listens on 127.0.0.1:2080 (HTTP, no token needed)
    sends to carbon at carbon.example:2013, at most 900 lines a second
    keeps up to 1024 MiB in /var/spool/relay while carbon does not accept it
    sends at least the last 900 s again when carbon has restarted
    note: a carbon with its default limits writes MAX_UPDATES_PER_SECOND = 500 series a second and creates MAX_CREATES_PER_MINUTE = 50 new ones a minute; raise them in carbon.conf for more, and keep max_lines_per_second below what carbon writes if its cache fills up
    ");
}

/// A relay whose carbon is down, that has stored these lines.
fn with_lines_left(lines: &[String], drain_timeout: &str) -> (Program, SocketAddr, TempDir) {
    let (dir, carbon) = (tempfile::tempdir().unwrap(), port::free().unwrap());
    let relay = Program::start(dir.path(), carbon, &["--drain-timeout", drain_timeout]);
    assert_eq!(post(relay.addr, body(lines)).status, 202);
    (relay, carbon, dir)
}

#[test]
fn a_stop_says_what_stays_in_the_spool() {
    let (mut relay, _, _dir) = with_lines_left(&lines(1, 7), "1");
    relay.process.signal(Signal::TERM).unwrap();
    let line = relay
        .process
        .wait_line("stays in the spool and is sent at the next start", SOON)
        .unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&said["waiting_lines"], &said["level"]),
        (&7.into(), &"INFO".into())
    );
    assert_eq!(relay.process.wait_end(SOON).unwrap().code(), Some(0));
    let start = relay.process.printed();
    let said: serde_json::Value = serde_json::from_str(start.lines().next().unwrap()).unwrap();
    assert_eq!(said["message"], "settings in force");
}

#[test]
fn a_relay_with_nothing_to_send_does_not_wait_for_a_carbon_that_hangs() {
    let (dir, carbon) = (
        tempfile::tempdir().unwrap(),
        StandIn::start(Conduct::NeverRead).unwrap(),
    );
    let mut relay = Program::start(dir.path(), carbon.addr(), &["--drain-timeout", "60"]);
    until("the first delivery", || {
        (carbon.record().connections > 1).then_some(())
    });
    let begun = Instant::now();
    relay.process.signal(Signal::TERM).unwrap();
    assert_eq!(relay.process.wait_end(SOON).unwrap().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{begun:?}");
}

#[test]
fn a_relay_that_stops_refuses_new_posts_and_sends_the_old() {
    let expected = lines(1, 100);
    let (mut relay, addr, _dir) = with_lines_left(&expected, "60");
    relay.process.signal(Signal::INT).unwrap();
    relay.process.wait_line("stopping", SOON).unwrap();
    assert_eq!(post(relay.addr, body(&lines(2, 1))).status, 503);
    assert_eq!(get(relay.addr, "/readyz").status, 503);
    assert_eq!(get(relay.addr, "/healthz").status, 200);
    let carbon = carbon_at(addr);
    wait_all(&carbon, &expected.into_iter().collect());
    assert_eq!(relay.process.wait_end(SOON).unwrap().code(), Some(0));
}

#[test]
fn a_post_that_was_let_in_is_answered_before_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--drain-timeout", "60"];
    let mut relay = Program::start(dir.path(), port::free().unwrap(), &flags);
    let text = body(&lines(1, 100));
    let expect = [("expect", "100-continue")];
    let request = request("POST", "/v1/lines", &expect, text.as_bytes());
    let (head, text) = request.split_at(request.len() - text.len());
    let mut stream = TcpStream::connect(relay.addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(head).unwrap();
    // It says so when it lets the post in.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    relay.process.signal(Signal::TERM).unwrap();
    relay.process.wait_line("stopping", SOON).unwrap();
    stream.write_all(text).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 202);
    relay.process.signal(Signal::TERM).unwrap();
    relay.process.wait_end(SOON).unwrap();
    let carbon = carbon();
    let _relay = Program::start(dir.path(), carbon.addr(), &[]);
    wait_all(&carbon, &lines(1, 100).into_iter().collect());
}

#[test]
fn a_second_signal_stops_at_once() {
    let (mut relay, _, _dir) = with_lines_left(&lines(1, 1), "600");
    relay.process.signal(Signal::TERM).unwrap();
    relay.process.wait_line("stopping", SOON).unwrap();
    relay.process.signal(Signal::TERM).unwrap();
    assert_eq!(relay.process.wait_end(SOON).unwrap().code(), Some(1));
}

#[test]
fn systemd_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_catchpoint-graphite-relay"));
    command
        .args(["--listen", "127.0.0.1:0", "--drain-timeout", "0"])
        .arg("--spool")
        .arg(dir.path().join("spool"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "2000");
    let mut process = Process::spawn("relay", command, &dir.path().join("log")).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
    };
    assert_eq!(told(), "READY=1");
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(told(), "WATCHDOG=1");
    }
    // At the pace of its own looks, one a second, it would take 100 s.
    assert!(start.elapsed() < Duration::from_secs(60));
    process.signal(Signal::TERM).unwrap();
    until("STOPPING=1", || (told() == "STOPPING=1").then_some(()));
    assert_eq!(process.wait_end(SOON).unwrap().code(), Some(0));
}
