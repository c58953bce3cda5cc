//! Answers to lines on one thread: the component's way against a tree of values, the way of the
//! original, in Rust and in Python.

use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use catchpoint_graphite::catchpoint::Page;
use catchpoint_graphite::config::catchpoint::ApiVersion;
use catchpoint_graphite::config::graphite::GraphiteSettings;
use chrono::NaiveDateTime;
use serde_json::Value;

use crate::{table::Row, world};

const ROUNDS: usize = 5;
const PREFIX: &str = "system.cp.testdata";
/// So many bytes of lines are one batch.
const BATCH: usize = 1 << 20;

/// Prints the lines that a straightforward script makes of an answer, and the seconds it took.
const SCRIPT: &str = r#"
import json, sys, time
from datetime import datetime, timezone
text = open(sys.argv[1]).read()
begin = time.perf_counter()
detail = json.loads(text)["detail"]
names = [metric["name"].replace(" ", "") for metric in detail["fields"]["synthetic_metrics"]]
count, lines = 0, []
for item in detail["items"]:
    test, node = item["breakdown_1"]["id"], item["breakdown_2"]["id"]
    at = datetime.strptime(item["dimension"]["name"][:19], "%Y-%m-%dT%H:%M:%S")
    at = int(at.replace(tzinfo=timezone.utc).timestamp())
    for name, value in zip(names, item["synthetic_metrics"]):
        if value is not None:
            lines.append(f"system.cp.testdata.{name};testId={test};nodeId={node} {value} {at}\n")
            count += 1
"".join(lines).encode()
print(count, time.perf_counter() - begin)
"#;

/// Runs all of them on the same answer.
pub fn run(baseline: Option<&Path>) -> Result<Vec<Row>> {
    let mut body = Vec::new();
    world::last_raw(&world::sandbox(10, 10, 5))?.read_to_end(&mut body)?;
    let folder = tempfile::tempdir()?;
    let at = |name| folder.path().join(name);
    fs::write(at("answer.json"), &body)?;
    fs::write(at("map.py"), SCRIPT)?;
    let text = String::from_utf8(body)?;

    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    let [ours, tree, python] = &mut times;
    let mut samples = 0;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        samples = by_page(text.clone())?;
        ours.push(begun.elapsed());
        let begun = Instant::now();
        let of_tree = by_tree(text.as_bytes())?;
        tree.push(begun.elapsed());
        ensure!(
            of_tree == samples,
            "the tree gives {of_tree} samples, we {samples}"
        );
        // One round of Python takes longer than all others together.
        if round < 3
            && let Some((of_python, time)) = in_python(&at("map.py"), &at("answer.json"))?
        {
            ensure!(
                of_python == samples,
                "Python gives {of_python} samples, we {samples}"
            );
            python.push(time);
        }
    }
    let mut rows = Vec::new();
    for (name, times) in ["ours", "tree of values, Rust", "json.loads, Python"]
        .iter()
        .zip(&times)
    {
        if times.is_empty() {
            continue;
        }
        let rate = text.len() as f64 / 1e6 / crate::table::median(times).as_secs_f64();
        let row = Row::new(name, samples as f64, "samples", times);
        rows.push(row.note(format!("{rate:.0} MB/s of JSON")));
    }
    if let Some(rate) = baseline.and_then(of_baseline) {
        let row = Row::new("baseline", rate, "samples", &[Duration::from_secs(1)]);
        rows.insert(
            1,
            row.note("by its own benchmark of the same answer".to_owned()),
        );
    }
    Ok(rows)
}

/// What the benchmark of another checkout says about its own way; none if it is not built.
fn of_baseline(root: &Path) -> Option<f64> {
    #[derive(serde::Deserialize)]
    struct Figures {
        name: String,
        rate: f64,
    }
    let mut bench = Command::new(root.join("target/release/catchpoint-bench"));
    let target = root.join("target");
    let ran = bench
        .arg("mapping")
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .ok()?;
    let figures = fs::read(target.join("bench/mapping.json")).ok()?;
    let figures: Vec<Figures> = serde_json::from_slice(&figures).ok()?;
    let ours = figures.into_iter().find(|row| row.name.starts_with("ours"));
    ours.filter(|_| ran.status.success()).map(|row| row.rate)
}

fn by_page(body: String) -> Result<u64> {
    let page = Page::read(ApiVersion::V1, body).map_err(|error| anyhow::anyhow!("{error}"))?;
    let names = GraphiteSettings::default();
    let mut lines = page.lines(&names, "web");
    let (mut batch, mut count, mut has_more) = (String::new(), 0, true);
    while has_more {
        has_more = lines.fill(&mut batch, BATCH);
        count += batch.bytes().filter(|byte| *byte == b'\n').count() as u64;
        batch.clear();
    }
    Ok(count)
}

fn by_tree(body: &[u8]) -> Result<u64> {
    let answer: Value = serde_json::from_slice(body)?;
    let list = |at: &str| answer.pointer(at).and_then(Value::as_array);
    let names = list("/detail/fields/synthetic_metrics").context("no metrics")?;
    let names: Vec<String> = names
        .iter()
        .filter_map(|metric| Some(metric.get("name")?.as_str()?.replace(' ', "")))
        .collect();
    let (mut lines, mut samples) = (String::new(), 0);
    for item in list("/detail/items").context("no items")? {
        let number = |at: &str| item.pointer(at).and_then(Value::as_u64);
        let (Some(test), Some(node)) = (number("/breakdown_1/id"), number("/breakdown_2/id"))
        else {
            bail!("an item without test or node");
        };
        let time = item.pointer("/dimension/name").and_then(Value::as_str);
        // With and without a fraction and a zone, which is always UTC.
        let time = time.and_then(|time| time.get(..19));
        let time = time.context("an item without a time")?;
        let time = NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S")?;
        let time = time.and_utc().timestamp();
        let values = item.get("synthetic_metrics").and_then(Value::as_array);
        for (name, value) in names.iter().zip(values.context("an item without values")?) {
            if let Some(value) = value.as_f64() {
                writeln!(
                    lines,
                    "{PREFIX}.{name};testId={test};nodeId={node} {value} {time}"
                )?;
                samples += 1;
            }
        }
    }
    std::hint::black_box(lines);
    Ok(samples)
}

/// None where there is no Python.
fn in_python(script: &Path, file: &Path) -> Result<Option<(u64, Duration)>> {
    let Ok(output) = Command::new("python3").arg(script).arg(file).output() else {
        return Ok(None);
    };
    if !output.status.success() {
        bail!(
            "the script fails: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let (count, seconds) = text
        .trim()
        .split_once(' ')
        .context("the script prints no figures")?;
    Ok(Some((
        count.parse()?,
        Duration::try_from_secs_f64(seconds.parse()?)?,
    )))
}
