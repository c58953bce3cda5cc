//! Pictures of the dashboards of `deploy/graphite`, drawn by graphite-web.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use catchpoint_testbed::{
    demo::Demo,
    graphite::{PIPELINE, TEST},
};

/// Types whose first test gets pictures: together they have something for each graph.
const TYPES: [&str; 3] = ["web", "transaction", "traceroute"];

/// The names of the dashboards, that of the pipeline last.
pub fn dashboards(demo: &Demo) -> Vec<String> {
    let tests = TYPES.iter().filter_map(|kind| {
        let (test, _) = demo.truth.kinds.get(*kind)?.first_key_value()?;
        Some(format!("{TEST}/{test}"))
    });
    tests.chain([PIPELINE.to_owned()]).collect()
}

/// Loads the dashboards into graphite-web and draws each of their graphs that has data into the folder.
pub fn draw(demo: &Demo, folder: &Path) -> Result<Vec<PathBuf>> {
    demo.graphite.save_dashboards()?;
    let mut files = Vec::new();
    for dashboard in dashboards(demo) {
        for graph in demo.graphite.dashboard(&dashboard)? {
            let targets: Vec<&str> = graph.targets.iter().map(String::as_str).collect();
            let mut has_data = false;
            for target in &targets {
                has_data |= !demo.graphite.render(target, demo.range())?.is_empty();
            }
            if !has_data {
                continue;
            }
            let look = graph.look.iter();
            let mut look: Vec<_> = look
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            look.extend([("width", "900"), ("height", "420"), ("tz", "UTC")]);
            let png = demo.graphite.render_png(&targets, demo.range(), &look)?;
            let file = folder.join(format!("{}.png", file_name(&graph.title)));
            fs::write(&file, png).with_context(|| format!("cannot write {}", file.display()))?;
            files.push(file);
        }
    }
    Ok(files)
}

/// A title as the name of a file: `Test 1: parts (ms)` is `test-1-parts-ms`.
fn file_name(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}
