//! `/collect` and `/status` over HTTP: who gets in, and that two calls at once fetch once.

use std::net::SocketAddr;
use std::thread;

use catchpoint_testbed::pipeline::{Report, SOON};
use catchpoint_testbed::{Process, Signal, local, port, wait};

use crate::tools::Rig;

const TOKEN: &str = "a-token-with-%-and-&-in-it";
const ENCODED: &str = "a-token-with-%25-and-%26-in-it";

/// Our host serving the component's routes.
fn serve(rig: &Rig, token: &str) -> (SocketAddr, Process) {
    let address = port::free().unwrap();
    // The manifest without a schedule, which would fire in the middle of a test now and then.
    let arguments = ["up", &format!("--listen={address}")];
    let mut host = rig.host(&arguments, "deploy/fermyon/spin.toml").unwrap();
    host.env("SPIN_VARIABLE_COLLECT_TOKEN", token);
    let log = rig.folder.path().join("up.log");
    let mut process = Process::spawn("catchpoint-graphite", host, &log).unwrap();
    process.wait_port(address, SOON).unwrap();
    (address, process)
}

/// The status and the body of an answer.
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
fn the_token_opens_and_no_other() {
    let rig = Rig::start();
    let (open, process) = serve(&rig, TOKEN);
    for (path, authorization) in [
        ("/collect", ""),
        ("/collect", "Bearer TOKENx"),
        ("/collect", "Basic TOKEN"),
        ("/collect", "TOKEN"),
        ("/collect?token=ENCODED", ""),
        // A wrong header is not made good by a right key.
        ("/collect?key=ENCODED", "Bearer x"),
    ] {
        let path = path.replace("ENCODED", ENCODED);
        let authorization = authorization.replace("TOKEN", TOKEN);
        let given = Some(authorization.as_str()).filter(|it| !it.is_empty());
        let (status, body) = get(open, &path, given);
        assert_eq!(status, 401, "{path} {authorization}: {body}");
    }
    assert!(rig.calls().unwrap().is_empty());

    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(get(open, "/status", Some(&bearer)).0, 404);
    let (status, body) = get(open, &format!("/collect?key={ENCODED}"), None);
    assert_eq!(status, 200, "{body}");
    let report: Report = serde_json::from_str(&body).unwrap();
    assert_eq!(report.outcome, "ok");
    // The relay's status page tells of the run, by test type.
    let relay = rig.relay_url().replace("http://", "").parse().unwrap();
    let (_, page) = get(relay, "/", None);
    assert!(page.contains("system.cp.collector"), "{page}");
    for test_type in report.types.keys() {
        let row = format!("<code>{test_type}</code></th><td>");
        assert!(page.contains(&row), "{test_type}: {page}");
    }
    rig.carbon.wait_lines(report.lines_accepted, SOON).unwrap();
    assert_eq!(get(open, "/status", Some(&bearer)), (200, body));
    let log = process.printed();
    assert!(!log.contains(TOKEN) && !log.contains(ENCODED), "{log}");
}

#[test]
fn a_call_during_a_run_does_not_fetch_again() {
    let rig = Rig::start();
    let (address, _process) = serve(&rig, "token");
    // While the relay stands still, no run can end.
    rig.relay.signal(Signal::STOP).unwrap();
    let running = thread::spawn(move || get(address, "/collect?key=token", None));
    wait::until("the first call to the API", SOON, || {
        Ok((!rig.calls()?.is_empty()).then_some(()))
    })
    .unwrap();
    let (status, body) = get(address, "/collect?key=token", None);
    rig.relay.signal(Signal::CONT).unwrap();
    assert_eq!(status, 409, "{body}");
    let (status, body) = running.join().unwrap();
    assert_eq!(status, 200, "{body}");
    // One call for a token, one for each test type.
    let calls = rig.calls().unwrap();
    assert_eq!(calls.len(), 17, "{calls:?}");
}
