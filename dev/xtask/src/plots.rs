//! Pictures of the dashboards of `deploy/graphite`, drawn by graphite-web.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use catchpoint_testbed::{
    demo::Demo,
    graphite::{Graph, PIPELINE, name_of},
};

/// Types whose first test gets a dashboard: together they have something for each graph.
const TYPES: [&str; 3] = ["web", "transaction", "traceroute"];

fn tests(demo: &Demo) -> Vec<u64> {
    let first = |kind: &&str| demo.truth.kinds.get(*kind)?.keys().next().copied();
    TYPES.iter().filter_map(first).collect()
}

/// The names of the dashboards, that of the pipeline last.
pub fn dashboards(demo: &Demo) -> Vec<String> {
    let tests = tests(demo).into_iter().map(name_of);
    tests.chain([PIPELINE.to_owned()]).collect()
}

/// Loads the dashboards into graphite-web, and draws each graph of a test for the first that has data for
/// it.
pub fn draw(demo: &Demo, folder: &Path) -> Result<Vec<PathBuf>> {
    let tests = tests(demo);
    demo.graphite.save_dashboards(&tests)?;
    let mut files = BTreeMap::new();
    for test in tests {
        let graphs = demo.graphite.dashboard(&name_of(test))?;
        for (at, graph) in graphs.iter().enumerate() {
            if files.contains_key(&at) || !has_data(demo, graph)? {
                continue;
            }
            let targets: Vec<&str> = graph.targets.iter().map(String::as_str).collect();
            let look = graph.look.iter();
            let look = look.map(|(name, value)| (name.as_str(), value.as_str()));
            let size = [("width", "900"), ("height", "420"), ("tz", "UTC")];
            let look: Vec<_> = look.chain(size).collect();
            let png = demo.graphite.render_png(&targets, demo.range(), &look)?;
            let file = folder.join(format!("{}.png", file_name(&graph.title)));
            fs::write(&file, png).with_context(|| format!("cannot write {}", file.display()))?;
            files.insert(at, file);
        }
    }
    Ok(files.into_values().collect())
}

fn has_data(demo: &Demo, graph: &Graph) -> Result<bool> {
    for target in &graph.targets {
        if !demo.graphite.render(target, demo.range())?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A title as the name of a file: `Test 1: parts (ms)` is `test-1-parts-ms`.
fn file_name(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}
