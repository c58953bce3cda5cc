//! Answers to lines on one thread: the component's way, which reads a page from memory, against a tree
//! of values, the way of the original, in Rust and in Python.

use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use catchpoint_graphite::catchpoint::{Page, body};
use catchpoint_graphite::config::catchpoint::ApiVersion;
use chrono::NaiveDateTime;
use serde_json::Value;

use crate::{table::Row, world};

/// What the others are compared with.
pub const BASE: &str = "tree of values, Rust";

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
pub fn run() -> Result<Vec<Row>> {
    let mut body = Vec::new();
    world::last_raw(&world::sandbox(10, 10, 5))?.read_to_end(&mut body)?;
    let folder = tempfile::tempdir()?;
    let (file, script) = (
        folder.path().join("answer.json"),
        folder.path().join("map.py"),
    );
    fs::write(&file, &body)?;
    fs::write(&script, SCRIPT)?;

    let (mut ours, mut tree, mut python) = (Vec::new(), Vec::new(), Vec::new());
    let mut samples = 0;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        samples = by_page(&body)?;
        ours.push(begun.elapsed());
        let begun = Instant::now();
        let of_tree = by_tree(&body)?;
        tree.push(begun.elapsed());
        ensure!(
            of_tree == samples,
            "the tree gives {of_tree} samples, the page {samples}"
        );
        // One round of Python takes longer than all others together.
        if round < 3
            && let Some((of_python, time)) = in_python(&script, &file)?
        {
            ensure!(
                of_python == samples,
                "Python gives {of_python} samples, we {samples}"
            );
            python.push(time);
        }
    }
    let megabytes = body.len() as f64 / 1e6;
    let row = |name, times: &[Duration]| {
        let row = Row::new(name, samples as f64, "samples", times);
        let rate = megabytes / crate::table::median(times).as_secs_f64();
        row.note(format!("{rate:.0} MB/s of JSON"))
    };
    let base = row(BASE, &tree);
    let mut rows = vec![row("ours, page by page", &ours).against(base.rate)];
    if !python.is_empty() {
        rows.push(row("json.loads, Python", &python).against(base.rate));
    }
    let rate = base.rate;
    rows.push(base.against(rate));
    Ok(rows)
}

fn by_page(body: &[u8]) -> Result<u64> {
    let page = Page::read(ApiVersion::V1, body::read(body)?)?;
    ensure!(page.answer.complaint.is_none(), "the sandbox complains");
    let (mut batch, mut bytes) = (String::new(), 0);
    let mut lines = page.lines(PREFIX);
    loop {
        let more = lines.fill(&mut batch, BATCH);
        bytes += batch.len();
        batch.clear();
        if !more {
            break;
        }
    }
    std::hint::black_box(bytes);
    Ok(lines.counts().samples)
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
