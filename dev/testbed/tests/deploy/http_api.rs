//! `/collect` and `/status` over HTTP: who gets in, and that two calls at once fetch once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use catchpoint_testbed::{Process, local, port, wait};

use crate::pipeline::{Pipeline, Report, SOON};

const TOKEN: &str = "a-token-with-%-and-&-in-it";

/// The host serving the component's routes.
struct Server {
    address: SocketAddr,
    process: Process,
}

impl Server {
    fn start(pipeline: &Pipeline, token: Option<&str>) -> Self {
        let address = port::free().unwrap();
        // The manifest without a schedule, which would fire in the middle of a test now and then.
        let manifest = "deploy/fermyon/spin.toml";
        let mut host = pipeline.host(&["up", &format!("--listen={address}")], manifest);
        if let Some(token) = token {
            host.env("SPIN_VARIABLE_COLLECT_TOKEN", token);
        }
        let log = pipeline.folder.path().join("up.log");
        let mut process = Process::spawn("catchpoint-graphite", host, &log).unwrap();
        process.wait_port(address, SOON).unwrap();
        Self { address, process }
    }

    /// The status and the body of an answer.
    fn get(&self, path: &str, authorization: Option<&str>) -> (u16, String) {
        get(self.address, path, authorization)
    }
}

fn get(address: SocketAddr, path: &str, authorization: Option<&str>) -> (u16, String) {
    let mut request = local::client(SOON).get(format!("http://{address}{path}"));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let mut answer = request.call().unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), body)
}

#[test]
fn all_paths_are_closed_without_a_token_to_open_them() {
    let pipeline = Pipeline::start();
    let server = Server::start(&pipeline, None);
    for path in ["/collect", "/status", "/check", "/collect?key="] {
        for authorization in [None, Some("Bearer "), Some("Bearer x")] {
            let (status, body) = server.get(path, authorization);
            assert_eq!(status, 403, "{path} {authorization:?}");
            assert!(body.contains("set the variable collect_token"), "{body}");
        }
    }
    assert!(pipeline.calls().is_empty());
}

#[test]
fn the_token_opens_and_no_other() {
    let pipeline = Pipeline::start();
    let server = Server::start(&pipeline, Some(TOKEN));
    let encoded = TOKEN.replace('%', "%25").replace('&', "%26");
    let begin = TOKEN.split('%').next().unwrap();
    for (path, authorization) in [
        ("/collect".to_owned(), None),
        ("/collect".to_owned(), Some(format!("Bearer {TOKEN}x"))),
        ("/collect".to_owned(), Some(format!("Bearer {begin}"))),
        ("/collect".to_owned(), Some(format!("Basic {TOKEN}"))),
        ("/collect".to_owned(), Some(TOKEN.to_owned())),
        (format!("/collect?key={begin}"), None),
        (format!("/collect?token={encoded}"), None),
        // A wrong header is not mended by a right key.
        (
            format!("/collect?key={encoded}"),
            Some("Bearer x".to_owned()),
        ),
    ] {
        let (status, body) = server.get(&path, authorization.as_deref());
        assert_eq!(status, 401, "{path} {authorization:?}: {body}");
    }
    assert!(pipeline.calls().is_empty());

    let bearer = format!("Bearer {TOKEN}");
    let (status, body) = server.get("/status", Some(&bearer));
    assert_eq!(status, 404, "{body}");
    let (status, body) = server.get(&format!("/collect?key={encoded}"), None);
    assert_eq!(status, 200, "{body}");
    let collected: Report = serde_json::from_str(&body).unwrap();
    assert_eq!(collected.outcome, "ok");
    let lines = pipeline.carbon.wait_lines(collected.lines_accepted, SOON);
    assert!(!lines.unwrap().is_empty());
    assert_eq!(server.get("/status", Some(&bearer)), (200, body));

    let log = server.process.printed();
    assert!(!log.contains(TOKEN) && !log.contains(&encoded), "{log}");
}

#[test]
fn a_call_during_a_run_does_not_fetch_again() {
    let pipeline = Pipeline::start();
    let server = Server::start(&pipeline, Some("token"));
    let address = server.address;
    let (running, (status, body)) = pipeline.while_no_run_ends(|| {
        let running = thread::spawn(move || get(address, "/collect?key=token", None));
        wait::until("the first call to the API", SOON, || {
            Ok((!pipeline.calls().is_empty()).then_some(()))
        })
        .unwrap();
        (running, server.get("/collect?key=token", None))
    });
    assert_eq!(status, 409, "{body}");
    let skipped: Report = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (skipped.outcome.as_str(), skipped.lines_accepted),
        ("skipped", 0)
    );

    let (status, body) = running.join().unwrap();
    assert_eq!(status, 200, "{body}");
    let calls = pipeline.calls();
    let once: BTreeSet<_> = calls.iter().collect();
    assert_eq!(once.len(), calls.len(), "{calls:?}");
    // One for a token, one for each test type.
    assert_eq!(calls.len(), 17, "{calls:?}");
}

#[test]
fn of_calls_at_the_same_moment_one_fetches() {
    const CALLERS: usize = 4;
    const ROUNDS: usize = 10;
    let pipeline = Pipeline::start();
    let server = Server::start(&pipeline, Some("token"));
    let mut taken_over = 0;
    for round in 1..=ROUNDS {
        let together = Barrier::new(CALLERS);
        let (sender, statuses) = channel();
        let call = |sender: Sender<u16>| {
            together.wait();
            sender.send(server.get("/collect?key=token", None).0)
        };
        thread::scope(|scope| {
            pipeline.while_no_run_ends(|| {
                for _ in 0..CALLERS {
                    let sender = sender.clone();
                    scope.spawn(|| call(sender).unwrap());
                }
                // However late they come, they meet the one that runs.
                for _ in 1..CALLERS {
                    let status = statuses.recv_timeout(SOON).unwrap();
                    // 502: it stood still between two looks at the lease, which another one took.
                    assert!(matches!(status, 409 | 502), "round {round}: {status}");
                    taken_over += usize::from(status == 502);
                }
            });
            assert_eq!(statuses.recv_timeout(SOON), Ok(200), "round {round}");
        });
    }
    assert!(taken_over <= 1, "{taken_over}");
    // One for a token, one for each test type in each round.
    let calls = pipeline.calls().len() - 1 - 16 * ROUNDS;
    assert!(calls <= 2 * taken_over, "{calls} too many");
}
