//! Pictures of some curves, rendered by graphite-web.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use catchpoint_testbed::demo::Demo;

/// Which curves of a type's first test a picture has.
enum Curves {
    /// One metric, a curve for each node.
    Nodes(&'static str),
    /// One metric on the first node, a curve for each value of a tag, and what to call them.
    Parts(&'static str, &'static str, &'static str),
    /// Several metrics on the first node, one on the other.
    Stacked(&'static [&'static str]),
}

use Curves::{Nodes, Parts, Stacked};

/// Phases of a request, in their order.
const PHASES: &[&str] = &[
    "DNS(ms)",
    "Connect(ms)",
    "SSL(ms)",
    "Send(ms)",
    "Wait(ms)",
    "Load(ms)",
];

/// File, test type, title, curves.
const PLOTS: [(&str, &str, &str, Curves); 7] = [
    (
        "web-response",
        "web",
        "Web: how long the page takes (ms)",
        Nodes("WebpageResponse(ms)"),
    ),
    (
        "web-phases",
        "web",
        "Web: where the time of the first request goes (ms)",
        Stacked(PHASES),
    ),
    (
        "transaction-steps",
        "transaction",
        "Transaction: each step, on one node (ms)",
        Parts("Response(ms)", "stepNumber", "step"),
    ),
    (
        "api-response",
        "api",
        "API: response time (ms)",
        Nodes("Response(ms)"),
    ),
    (
        "traceroute-hops",
        "traceroute",
        "Traceroute: round trip to each hop, from one node (ms)",
        Parts("PingRoundTrip(ms)", "hopNumber", "hop"),
    ),
    (
        "ping-round-trip",
        "ping",
        "Ping: round trip (ms)",
        Nodes("PingRoundTrip(ms)"),
    ),
    (
        "dns-time",
        "dns",
        "DNS: time to resolve (ms)",
        Nodes("DNS(ms)"),
    ),
];

/// What all pictures have in common.
const LOOK: [(&str, &str); 12] = [
    ("width", "1100"),
    ("height", "520"),
    ("margin", "16"),
    ("bgcolor", "ffffff"),
    ("fgcolor", "333333"),
    ("majorGridLineColor", "d5d5d5"),
    ("minorGridLineColor", "f0f0f0"),
    ("lineWidth", "2"),
    ("lineMode", "connected"),
    ("hideLegend", "false"),
    ("tz", "UTC"),
    ("yMin", "0"),
];

/// Draws all pictures into the folder.
pub fn draw(demo: &Demo, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (name, kind, title, curves) in &PLOTS {
        let first = demo
            .truth
            .kinds
            .get(*kind)
            .and_then(|tests| tests.first_key_value());
        let Some((test, nodes)) = first else { continue };
        let nodes: Vec<u64> = nodes.iter().copied().collect();
        let targets = targets(curves, *test, &nodes);
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        let mut look = vec![("title", *title)];
        look.extend(LOOK);
        if matches!(curves, Stacked(_)) {
            look.extend([("areaMode", "stacked"), ("areaAlpha", "0.8")]);
        }
        let png = demo.graphite.render_png(&targets, demo.range(), &look)?;
        let file = folder.join(format!("{name}.png"));
        fs::write(&file, png).with_context(|| format!("cannot write {}", file.display()))?;
        files.push(file);
    }
    Ok(files)
}

/// Render targets for the curves, each with its name in the legend.
fn targets(curves: &Curves, test: u64, nodes: &[u64]) -> Vec<String> {
    let series = |metric: &str, node: &u64, more: &str| {
        format!(
            "seriesByTag('name=system.cp.testdata.{metric}','testId={test}','nodeId={node}'{more})"
        )
    };
    let first = nodes.first().unwrap_or(&0);
    match curves {
        Nodes(metric) => nodes
            .iter()
            .map(|node| format!("alias({},'node {node}')", series(metric, node, "")))
            .collect(),
        Parts(metric, tag, word) => {
            let all = series(metric, first, &format!(",'{tag}=~.'"));
            vec![format!(
                "sortByName(aliasSub(aliasByTags({all},'{tag}'),'^','{word} '),True)"
            )]
        }
        Stacked(metrics) => metrics
            .iter()
            .map(|metric| format!("alias({},'{metric}')", series(metric, first, "")))
            .collect(),
    }
}
