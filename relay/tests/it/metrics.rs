//! What the relay tells about itself.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use catchpoint_graphite_relay::lines::validate::{TimeBound, check_line};
use catchpoint_testbed::{Venv, port};

use crate::common::*;

#[test]
fn its_figures_are_series_in_graphite() {
    let every = Duration::from_millis(50);
    let (relay, carbon, _dir) = start_with(|settings| settings.own_lines_interval = every);
    post(relay.addr, body(&lines(1, 7)));
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let accepted = format!(
        "carbon.relays.{}.catchpoint_graphite.linesAccepted 7 ",
        host.replace('.', "_")
    );
    carbon
        .wait("the figures", SOON, |record| {
            record.lines.iter().any(|line| line.starts_with(&accepted))
        })
        .unwrap();
    let own = |line: &&String| line.starts_with("carbon.relays.");
    for line in carbon.lines().iter().filter(own) {
        let checked = check_line(line.as_bytes(), TimeBound::new(0, None, 0));
        assert_eq!(checked, Ok(()), "{line}");
    }
    let accepted = relay.relay().metrics().lines_accepted.get();
    assert_eq!(accepted, 7, "its figures are no posts");
}

/// The names are an interface: dashboards and alerts are made of them.
#[test]
fn metrics_are_open_metrics() {
    let (relay, _carbon, _dir) = start_with(|_| {});
    post(relay.addr, body(&lines(1, 7)));
    relay.wait_delivered();
    let answer = get(relay.addr, "/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    insta::assert_snapshot!(open_metrics_families(&answer.body), @r"
    process_cpu_seconds counter
    process_resident_memory_bytes gauge
    process_open_fds gauge
    process_max_fds gauge
    catchpoint_graphite_relay_posts counter
    catchpoint_graphite_relay_lines_accepted counter
    catchpoint_graphite_relay_result_lines counter
    catchpoint_graphite_relay_lines_rejected counter
    catchpoint_graphite_relay_lines_lost counter
    catchpoint_graphite_relay_batches_damaged counter
    catchpoint_graphite_relay_disk_errors counter
    catchpoint_graphite_relay_connections counter
    catchpoint_graphite_relay_connections_open gauge
    catchpoint_graphite_relay_connections_evicted counter
    catchpoint_graphite_relay_tls_failures counter
    catchpoint_graphite_relay_carbon_connects counter
    catchpoint_graphite_relay_batches_confirmed counter
    catchpoint_graphite_relay_lines_confirmed counter
    catchpoint_graphite_relay_deliveries_failed counter
    catchpoint_graphite_relay_carbon_restarts counter
    catchpoint_graphite_relay_replays_in_doubt counter
    catchpoint_graphite_relay_lines_replayed counter
    catchpoint_graphite_relay_replay_cut_short counter
    catchpoint_graphite_relay_carbon_up gauge
    catchpoint_graphite_relay_spool_batches gauge
    catchpoint_graphite_relay_spool_lines gauge
    catchpoint_graphite_relay_spool_bytes gauge
    catchpoint_graphite_relay_spool_max_bytes gauge
    catchpoint_graphite_relay_spool_oldest_age_seconds gauge
    catchpoint_graphite_relay_spool_writable gauge
    catchpoint_graphite_relay_replay_batches gauge
    catchpoint_graphite_relay_replay_bytes gauge
    catchpoint_graphite_relay_replay_waiting_batches gauge
    catchpoint_graphite_relay_post_seconds histogram
    catchpoint_graphite_relay_store_seconds histogram
    catchpoint_graphite_relay_result_age_seconds histogram
    catchpoint_graphite_relay_confirm_seconds histogram
    ");
}

/// The families and their types, as the parser of Prometheus' own Python library reads them, which
/// takes nothing that is not OpenMetrics.
fn open_metrics_families(page: &str) -> String {
    const PARSE: &str = "\
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.name, family.type)
";
    let venv = Venv::ensure_default().unwrap();
    let mut python = Command::new(venv.program("python"))
        .args(["-I", "-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    input.write_all(page.as_bytes()).unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{page}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn carbon_s_state_is_known_before_the_first_lines_come() {
    let (relay, _carbon, _dir) = start_with(|_| {});
    until("carbon's state", || {
        (get(relay.addr, "/readyz").json()["carbon"] == "up").then_some(())
    });
    assert_eq!(metric(relay.addr, "carbon_up"), 1.0);
}

#[test]
fn readiness_is_not_carbons() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), port::free().unwrap());
    settings.limits.max_bytes = 1 << 16;
    let relay = Inner::start(settings);
    let ready = |status: u16, carbon: &str| {
        let answer = get(relay.addr, "/readyz");
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.json()["carbon"], carbon);
    };
    until("a failed delivery", || {
        (relay.relay().metrics().deliveries_failed.sum() > 0).then_some(())
    });
    ready(200, "down");
    assert_eq!(metric(relay.addr, "carbon_up"), 0.0);
    for part in 0..20 {
        post(relay.addr, body(&lines(part, 7)));
    }
    ready(503, "down");
    assert_eq!(get(relay.addr, "/healthz").status, 200);
}

#[test]
fn a_full_spool_is_told_of_once_and_when_it_has_room_again() {
    let (dir, addr) = (tempfile::tempdir().unwrap(), port::free().unwrap());
    let config = file(
        dir.path(),
        "graphite.yaml",
        "relay: { spool_max_bytes: 1048576 }",
    );
    let mut relay = Program::start(dir.path(), addr, &["--config", &config]);
    let text = body(&lines(1, 1000));
    while post(relay.addr, &text).status == 202 {}
    for _ in 0..3 {
        assert_eq!(post(relay.addr, &text).status, 503);
    }
    let said = relay.process.wait_line("the spool is full", SOON).unwrap();
    assert!(said.contains("WARN") && said.contains("1048576"), "{said}");
    let times = relay.process.printed().matches("the spool is full").count();
    assert_eq!(times, 1);
    let _carbon = carbon_at(addr);
    until("room in the spool", || {
        (post(relay.addr, &text).status == 202).then_some(())
    });
    let room = "the spool has room again";
    let said = relay.process.wait_line(room, SOON).unwrap();
    assert!(said.contains("INFO"), "{said}");
}
