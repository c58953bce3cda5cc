//! `deploy/prometheus`: each rule by promtool, on series that make it fire and on healthy ones; and that
//! the relay and the runner have the metrics that the rules ask for.

use std::fs;
use std::process::Command;

use catchpoint_testbed::pipeline::SOON;
use catchpoint_testbed::{Process, local, port, wait};
use serde_json::{Value, json};

use crate::tools::{Rig, deploy, own_tool, read, run};

/// A rule, the minute after the begin, series that make it fire then, and series that do not. The numbers
/// are promtool's: `0x9 1x9` is ten minutes of 0 and ten of 1. `relay_` stands for the relay's prefix.
const RULES: &str = "
TargetDown | 6 | up{job='catchpoint-graphite-relay'} 0x9 | up{job='catchpoint-graphite-relay'} 1x9, up{job='other'} 0x9
NoRun | 46 | catchpoint_graphite_last_run_timestamp_seconds 0x50 | catchpoint_graphite_last_run_timestamp_seconds 0x14 900x40
RunsFail | 50 | catchpoint_graphite_last_run_failures 2x60 | catchpoint_graphite_last_run_failures 2x19 0x14 2x30
RunBroken | 20 | catchpoint_graphite_runs_broken_total 0x9 1x19 | catchpoint_graphite_runs_broken_total 1x29
LinesLost | 1 | relay_lines_lost_total 3x9 | relay_lines_lost_total 0x9
SpoolNotWritable | 2 | relay_spool_writable 0x9 | relay_spool_writable 1 0 1 1 1
PostsRefused | 20 | relay_posts_total{outcome='full'} 0x9 5x19 | relay_posts_total{outcome='disk'} 5x29, relay_posts_total{outcome='stored'} 0+1x29
SpoolGrows | 1 | relay_spool_bytes 60x9, relay_spool_max_bytes 100x9 | relay_spool_bytes 40x9, relay_spool_max_bytes 100x9, relay_spool_oldest_age_seconds 900x9
SpoolGrows | 1 | relay_spool_oldest_age_seconds 2000x9 | relay_spool_oldest_age_seconds 900x9
CarbonRestarts | 59 | relay_carbon_restarts_total 0x9 2x9 5x49 | relay_carbon_restarts_total 0x9 1x59
ReplaysInDoubt | 59 | relay_replays_in_doubt_total 0x9 9x59 | relay_replays_in_doubt_total 0x9 1x59
ReplayCutShort | 20 | relay_replay_cut_short_total 0x9 1x19 | relay_replay_cut_short_total 1x29
LinesRefused | 20 | relay_lines_rejected_total{reason='too_long'} 0x9 1x19 | relay_lines_rejected_total{reason='too_long'} 7x29
SenderUnauthorized | 20 | relay_posts_total{outcome='unauthorized'} 0x9 1x19 | relay_posts_total{outcome='unauthorized'} 7x29
ClockSkew | 20 | relay_posts_total{outcome='clock_skew'} 0x9 1x19 | relay_posts_total{outcome='clock_skew'} 7x29
TooManySenders | 20 | relay_connections_evicted_total 0x9 1x19 | relay_posts_total{outcome='busy'} 7x29
";

const RELAY: &str = "catchpoint_graphite_relay_";

/// Whether an alert fires, as one of promtool's tests.
fn case(alert: &str, minute: &str, series: &str, fires: bool) -> Value {
    let series = series.split(", ").map(|one| {
        let (name, values) = one.split_once(' ').unwrap();
        let name = name
            .strip_prefix("relay_")
            .map_or(name.to_owned(), |it| format!("{RELAY}{it}"));
        json!({ "series": name, "values": values })
    });
    let one = json!([{ "labels": "{}", "value": 1 }]);
    json!({
        "interval": "1m",
        "input_series": series.collect::<Vec<_>>(),
        "promql_expr_test": [{
            "expr": format!("count(ALERTS{{alertname='Catchpoint{alert}', alertstate='firing'}})"),
            "eval_time": format!("{minute}m"),
            "exp_samples": if fires { one } else { json!([]) },
        }],
    })
}

#[test]
fn every_rule_fires_when_it_should_and_not_otherwise() {
    let text = read("deploy/prometheus/alerts.yaml");
    for name in text.split("- alert: Catchpoint").skip(1) {
        let name = name.lines().next().unwrap();
        assert!(
            RULES.contains(&format!("\n{name} | ")),
            "{name} has no case"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tests.yaml");
    let test = |cases: Vec<Value>| {
        let rules = [deploy("prometheus/alerts.yaml")];
        // JSON is YAML.
        let text = json!({ "rule_files": rules, "evaluation_interval": "1m", "tests": cases });
        fs::write(&file, text.to_string()).unwrap();
        let mut promtool = Command::new(own_tool("usr/bin/promtool"));
        run(promtool.args(["test", "rules"]).arg(&file))
    };
    let rules = RULES.trim().lines().map(|rule| {
        let mut cells = rule.split(" | ");
        [(); 4].map(|()| cells.next().unwrap())
    });
    let cases = rules.flat_map(|[alert, minute, ill, healthy]| {
        [
            case(alert, minute, ill, true),
            case(alert, minute, healthy, false),
        ]
    });
    let (code, said) = test(cases.collect());
    assert_eq!(code, Some(0), "{said}");
    let silent = case("LinesLost", "1", "relay_lines_lost_total 3x9", false);
    assert_ne!(test(vec![silent]).0, Some(0), "finds nothing");
}

/// The names of metrics in a text, as far as they are ours.
fn ours(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("catchpoint_graphite_"))
}

#[test]
fn every_metric_of_a_rule_is_there() {
    let rig = Rig::start();
    let address = port::free().unwrap();
    let arguments = ["up", &format!("--listen={address}")];
    let host = rig.host(&arguments, "spin.toml").unwrap();
    let log = rig.folder.path().join("up.log");
    let _host = Process::spawn("catchpoint-graphite", host, &log).unwrap();
    // Its first run has ended, and the relay has delivered: some metrics show only then.
    let metrics =
        |address: &str| local::get(&format!("{address}/metrics"), SOON).unwrap_or_default();
    // The first host of a build takes its time to compile the component.
    let shown = wait::until("a run and a delivery", 3 * SOON, || {
        let shown = metrics(&format!("http://{address}")) + &metrics(&rig.relay_url());
        let done = shown.contains("\ncatchpoint_graphite_last_run_ok 1")
            && shown.contains("\ncatchpoint_graphite_relay_carbon_up ");
        Ok(done.then_some(shown))
    })
    .unwrap();
    let text = read("deploy/prometheus/alerts.yaml");
    assert!(ours(&text).count() > 15);
    for name in ours(&text) {
        let is_there = |line: &str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        assert!(shown.lines().any(is_there), "nobody has {name}");
    }
    // The values of labels, too.
    for outcome in ["full", "disk", "unauthorized", "clock_skew", "busy"] {
        let series = format!("\n{RELAY}posts_total{{outcome=\"{outcome}\"}} 0");
        assert!(
            text.contains(outcome) && shown.contains(&series),
            "{series}"
        );
    }
}

#[test]
fn every_metric_of_the_page_has_a_rule() {
    let page = read("docs/operations.md");
    let (_, table) = page.split_once("## Alerts").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rules = read("deploy/prometheus/alerts.yaml");
    let mut checked = 0;
    for row in table
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("| …"))
    {
        let when = row.split('|').nth(1).unwrap();
        // `a / b > 0.5` names two; the collector's and carbon's series are not Prometheus'.
        for word in when
            .split('`')
            .skip(1)
            .step_by(2)
            .flat_map(str::split_whitespace)
        {
            let name = word.split('{').next().unwrap();
            if name.contains('_') && !name.contains(['.', '…']) {
                assert!(rules.contains(&format!("{RELAY}{name}")), "{row}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 12, "{checked}");
}
