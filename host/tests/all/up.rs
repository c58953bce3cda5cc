//! The binary's `up`, and how its commands stop.

use crate::support::Setup;
use catchpoint_graphite_host::store::Store;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A command that runs; killed when the test is over.
struct Running {
    setup: Setup,
    child: Child,
    /// What it writes to standard error; each line as it comes.
    lines: Receiver<String>,
}

impl Running {
    fn start(setup: Setup, arguments: &[&str]) -> Self {
        let mut command = setup.command(arguments);
        command.env("RUST_LOG", "info").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines() {
                // The test has seen enough.
                let _ = sender.send(line.unwrap());
            }
        });
        Self {
            setup,
            child,
            lines,
        }
    }

    fn wait_for(&self, part: &str) -> String {
        let start = Instant::now();
        let mut seen = Vec::new();
        loop {
            let left = Duration::from_secs(60).saturating_sub(start.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no {part:?} in:\n{}", seen.join("\n")),
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    fn store(&self) -> Store {
        Store::open(&self.setup.options.state).unwrap()
    }

    fn code(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `up` on a free port; the component's check is good.
fn up(setup: Setup, flags: &[&str]) -> Running {
    let arguments = [&["up", "--listen", "127.0.0.1:0"][..], flags].concat();
    let setup = setup.variable("check", "200 fine");
    Running::start(setup, &arguments)
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn c18_up_does_not_start_with_a_wrong_configuration() {
    let wrong = Setup::new().variable("check", "400 config.yaml:3:1: wrong");
    let cron = "[[trigger.cron]]\ncomponent = \"guest\"\ncron_expression = \"0 0 0 1 1 *\"\n";
    let closed = Setup::new().replace(cron, "").variable("check", "200 fine");
    let nothing = "there is no [[trigger.cron]], and /collect is closed";
    for (setup, said) in [(wrong, "config.yaml:3:1: wrong\n"), (closed, nothing)] {
        let ran = setup.run("up");
        assert_eq!(ran.code, 64);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn up_fires_at_once_and_serves_until_told_to_stop() {
    let report = r#"200 {"outcome": "partial", "started": "2026-03-01T00:00:00Z", "ended": "2026-03-01T00:00:02.500Z", "samples": 12, "lines_accepted": 10, "lines_rejected": 2, "failures": [{}]}"#;
    let mut up = up(Setup::new().variable("status", report), &[]);
    assert!(up.wait_for("variable secret").ends_with("secret = ***"));
    let serving = up.wait_for("serving http://");
    let address = serving.split("http://").nth(1).unwrap();
    up.wait_for("fired at ");
    assert_eq!(get(address, "/healthz"), "ok\n");
    assert_eq!(get(address, "/variable?secret"), "hidden");
    let metrics = get(address, "/metrics");
    let varies = |line: &&str| line.contains("memory") || line.contains("next_run");
    let lines = metrics
        .lines()
        .filter(|line| !line.starts_with('#') && !varies(line));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    catchpoint_graphite_runs_total 1
    catchpoint_graphite_runs_broken_total 0
    catchpoint_graphite_catchpoint_requests_total 0
    catchpoint_graphite_relay_requests_total 0
    catchpoint_graphite_last_run_timestamp_seconds 1772323202.5
    catchpoint_graphite_last_run_duration_seconds 2.5
    catchpoint_graphite_last_run_samples 12
    catchpoint_graphite_last_run_lines_accepted 10
    catchpoint_graphite_last_run_lines_rejected 2
    catchpoint_graphite_last_run_failures 1
    catchpoint_graphite_last_run_ok 0
    catchpoint_graphite_last_run_partial 1
    catchpoint_graphite_last_run_failed 0
    ");
    up.signal("TERM");
    up.wait_for("SIGTERM: no new runs");
    assert_eq!(up.code(), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn up_fires_on_its_schedule_and_goes_on_after_a_crash() {
    let setup = Setup::new().replace("0 0 0 1 1 *", "* * * * * *");
    let up = up(setup.variable("cron", "panic"), &["--no-first-run"]);
    for _ in 0..2 {
        assert!(up.wait_for("the component failed").contains("ERROR"));
    }
}

/// Its lease is given back, and the process ends, so that systemd starts it again.
#[test]
fn up_ends_when_a_run_computes_without_an_end() {
    let setup = Setup::new().variable("cron", "loop");
    let mut up = up(setup, &["--deadline", "1"]);
    up.wait_for("a run computes without an end");
    assert_eq!(up.code(), 1);
}

/// A server that answers each request after a moment; `host` of a guest, and each request as it comes.
fn slow_server() -> (String, Receiver<()>) {
    let (sender, requests) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes);
            // The test has seen enough.
            let _ = sender.send(());
            std::thread::sleep(Duration::from_millis(300));
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.read(&mut bytes);
        }
    });
    (host, requests)
}

/// `run`, or another command, whose component makes one call after the other.
fn working(arguments: &[&str], host: &str) -> Running {
    let setup = Setup::new().variable("host", host);
    let setup = setup.variable("collect", &format!("do work?{host}/"));
    Running::start(setup, arguments)
}

#[test]
fn c17_run_ends_its_call_and_releases_the_lease_on_a_signal() {
    for signal in ["INT", "TERM"] {
        let (host, requests) = slow_server();
        let mut run = working(&["run"], &host);
        for _ in 0..2 {
            requests.recv().unwrap();
        }
        run.wait_for("call ended");
        assert_eq!(run.store().get("lease").unwrap().unwrap(), b"mine");
        run.signal(signal);
        run.wait_for("stopping after the current call");
        run.wait_for("call ended");
        let told = run.wait_for("stopped after");
        assert!(told.contains("calls to Catchpoint"), "{told}");
        assert_eq!(run.code(), 1);
        assert_eq!(run.store().get("lease").unwrap(), None);
    }
}

#[test]
fn c17_a_second_signal_or_the_grace_stops_at_once() {
    for (grace, signals) in [("60", 2), ("1", 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        let mut run = working(&["run", "--grace", grace], &host);
        let _never_answered = listener.accept().unwrap();
        for _ in 0..signals {
            run.signal("INT");
            std::thread::sleep(Duration::from_millis(300));
        }
        run.wait_for("stopped after");
        assert_eq!(run.code(), 1);
        assert_eq!(run.store().get("lease").unwrap(), None);
    }
}

/// A lease that another run has taken meanwhile stays.
#[test]
fn c17_up_releases_only_its_own_lease() {
    for other in [None, Some(b"other".to_vec())] {
        let (host, _requests) = slow_server();
        let setup = Setup::new().variable("host", &host);
        let mut up = up(setup.variable("cron", "work"), &[]);
        up.wait_for("call ended");
        if let Some(other) = &other {
            up.store().set("lease", other).unwrap();
        }
        up.signal("TERM");
        up.wait_for("stopped");
        assert_eq!(up.code(), 0);
        assert_eq!(up.store().get("lease").unwrap(), other);
    }
}
