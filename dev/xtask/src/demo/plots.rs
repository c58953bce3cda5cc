//! Pictures of some curves, rendered by graphite-web.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use catchpoint_testbed::graphite::Range;

use super::{
    services::Services,
    truth::{Truth, bucket},
};

/// One picture: a file, what it shows, and how.
struct Plot {
    file: &'static str,
    kind: &'static str,
    title: &'static str,
    curves: Curves,
    /// More of render's parameters.
    look: &'static [(&'static str, &'static str)],
}

/// Which curves of a type's first test a picture has.
enum Curves {
    /// One metric, a curve for each node.
    Nodes(&'static str),
    /// One metric on the first node, a curve for each step.
    Steps(&'static str),
    /// One metric on the first node, a curve for each hop.
    Hops(&'static str),
    /// Several metrics on the first node.
    Metrics(&'static [&'static str]),
}

const FROM_ZERO: &[(&str, &str)] = &[("yMin", "0")];
const STACKED: &[(&str, &str)] = &[("yMin", "0"), ("areaMode", "stacked"), ("areaAlpha", "0.8")];

const PLOTS: [Plot; 7] = [
    Plot {
        file: "web-response.png",
        kind: "web",
        title: "Web: how long the page takes (ms)",
        curves: Curves::Nodes("WebpageResponse(ms)"),
        look: FROM_ZERO,
    },
    Plot {
        file: "web-phases.png",
        kind: "web",
        title: "Web: where the time of the first request goes, on one node (ms)",
        curves: Curves::Metrics(&[
            "DNS(ms)",
            "Connect(ms)",
            "SSL(ms)",
            "Send(ms)",
            "Wait(ms)",
            "Load(ms)",
        ]),
        look: STACKED,
    },
    Plot {
        file: "transaction-steps.png",
        kind: "transaction",
        title: "Transaction: each step, on one node (ms)",
        curves: Curves::Steps("Response(ms)"),
        look: FROM_ZERO,
    },
    Plot {
        file: "api-response.png",
        kind: "api",
        title: "API: response time (ms)",
        curves: Curves::Nodes("Response(ms)"),
        look: FROM_ZERO,
    },
    Plot {
        file: "traceroute-hops.png",
        kind: "traceroute",
        title: "Traceroute: round trip to each hop, from one node (ms)",
        curves: Curves::Hops("PingRoundTrip(ms)"),
        look: FROM_ZERO,
    },
    Plot {
        file: "ping-round-trip.png",
        kind: "ping",
        title: "Ping: round trip (ms)",
        curves: Curves::Nodes("PingRoundTrip(ms)"),
        look: FROM_ZERO,
    },
    Plot {
        file: "dns-time.png",
        kind: "dns",
        title: "DNS: time to resolve (ms)",
        curves: Curves::Nodes("DNS(ms)"),
        look: FROM_ZERO,
    },
];

/// What all pictures have in common.
const LOOK: [(&str, &str); 15] = [
    ("width", "1100"),
    ("height", "520"),
    ("margin", "16"),
    ("bgcolor", "ffffff"),
    ("fgcolor", "333333"),
    ("majorGridLineColor", "d5d5d5"),
    ("minorGridLineColor", "f0f0f0"),
    ("fontName", "DejaVu Sans"),
    ("fontSize", "12"),
    ("lineWidth", "2"),
    ("lineMode", "connected"),
    ("hideLegend", "false"),
    ("uniqueLegend", "true"),
    ("tz", "UTC"),
    (
        "colorList",
        "1f77b4,ff7f0e,2ca02c,d62728,9467bd,8c564b,e377c2,7f7f7f,bcbd22,17becf,aec7e8,ffbb78,98df8a,ff9896,c5b0d5,c49c94",
    ),
];

/// Draws all pictures into the folder.
pub fn draw(services: &Services, truth: &Truth, folder: &Path) -> Result<Vec<PathBuf>> {
    let range = Range {
        from: bucket(truth.from),
        until: truth.until,
    };
    let mut files = Vec::new();
    for plot in &PLOTS {
        let targets = plot.targets(truth);
        // A type may have no tests.
        if targets.is_empty() {
            continue;
        }
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        let mut look = vec![("title", plot.title)];
        look.extend(LOOK);
        look.extend(plot.look);
        let png = services.graphite().render_png(&targets, range, &look)?;
        let file = folder.join(plot.file);
        fs::write(&file, png).with_context(|| format!("cannot write {}", file.display()))?;
        files.push(file);
    }
    Ok(files)
}

impl Plot {
    /// One render target for each curve, each with its name in the legend.
    fn targets(&self, truth: &Truth) -> Vec<String> {
        let kind = truth.kinds.get(self.kind);
        let first = kind.and_then(|kind| kind.tests.first_key_value());
        let Some((test, nodes)) = first else {
            return Vec::new();
        };
        let Some(node) = nodes.first() else {
            return Vec::new();
        };
        let series = |metric: &str, node: u64, more: &str| {
            format!(
                "seriesByTag('name=system.cp.testdata.{metric}','testId={test}','nodeId={node}'{more})"
            )
        };
        // All series of a metric that differ in one tag, each called `word` and the tag's value.
        let parts = |metric: &str, tag: &str, word: &str| {
            let all = series(metric, *node, &format!(",'{tag}=~.'"));
            format!("sortByName(aliasSub(aliasByTags({all},'{tag}'),'^','{word} '),True)")
        };
        match self.curves {
            Curves::Nodes(metric) => nodes
                .iter()
                .map(|node| format!("alias({},'node {node}')", series(metric, *node, "")))
                .collect(),
            Curves::Steps(metric) => vec![parts(metric, "stepNumber", "step")],
            Curves::Hops(metric) => vec![parts(metric, "hopNumber", "hop")],
            Curves::Metrics(metrics) => metrics
                .iter()
                .map(|metric| format!("alias({},'{metric}')", series(metric, *node, "")))
                .collect(),
        }
    }
}
