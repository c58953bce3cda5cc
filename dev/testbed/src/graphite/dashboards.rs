//! The dashboards of `deploy/graphite/dashboards`, as graphite-web's own API stores and loads them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::Graphite;

/// The name of the dashboard of the way from Catchpoint's API to carbon.
pub const PIPELINE: &str = "catchpoint-pipeline";
const PIPELINE_FILE: &str =
    include_str!("../../../../deploy/graphite/dashboards/catchpoint-pipeline.json");
const TEST_FILE: &str = include_str!("../../../../deploy/graphite/dashboards/catchpoint-test.json");
/// The test that [`TEST_FILE`] is about.
const TEST: &str = "142619";

/// The name of a test's dashboard.
#[must_use]
pub fn name_of(test: u64) -> String {
    format!("catchpoint-{test}")
}

/// One graph of a dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// What stands above it.
    pub title: String,
    /// Render targets.
    pub targets: Vec<String>,
    /// Further parameters of render, the title among them.
    pub look: Vec<(String, String)>,
}

/// A dashboard as graphite-web gives it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Loaded {
    default_graph_params: BTreeMap<String, Value>,
    /// Title, parameters, an address that graphite-web makes itself.
    graphs: Vec<(String, BTreeMap<String, Value>, String)>,
}

impl Graphite {
    /// Saves the dashboard of the pipeline and one for each of these tests in graphite-web.
    ///
    /// # Errors
    /// When graphite-web does not take one.
    pub fn save_dashboards(&self, tests: &[u64]) -> Result<()> {
        self.save(PIPELINE, PIPELINE_FILE)?;
        tests.iter().try_for_each(|test| {
            let text = TEST_FILE.replace(TEST, &test.to_string());
            self.save(&name_of(*test), &text)
        })
    }

    fn save(&self, name: &str, state: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Saved {
            success: bool,
        }
        let url = format!("{}/dashboard/save/{name}", self.web_url());
        let answer = self.http.post(&url).send_form([("state", state)]);
        let body = answer.and_then(|mut answer| answer.body_mut().read_to_string());
        let body = body.with_context(|| url.clone())?;
        match serde_json::from_str(&body) {
            Ok(Saved { success: true }) => Ok(()),
            _ => bail!("{url}: {body}"),
        }
    }

    /// The graphs of a saved dashboard: [`PIPELINE`], or that of a test.
    ///
    /// # Errors
    /// When graphite-web has none of this name.
    pub fn dashboard(&self, name: &str) -> Result<Vec<Graph>> {
        #[derive(Deserialize)]
        struct Answer {
            state: Loaded,
        }
        let Answer { state } = self.json(&format!("/dashboard/load/{name}"), &[])?;
        let graphs = state.graphs.into_iter().map(|(title, mut own, _)| {
            let targets = own.remove("target").unwrap_or_default();
            let mut look = state.default_graph_params.clone();
            look.append(&mut own);
            // The range is its reader's choice.
            look.retain(|name, _| !matches!(name.as_str(), "from" | "until"));
            Graph {
                title,
                targets: serde_json::from_value(targets).unwrap_or_default(),
                look: look
                    .into_iter()
                    .map(|(name, value)| (name, text(&value)))
                    .collect(),
            }
        });
        Ok(graphs.collect())
    }
}

/// A value of JSON as render takes it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
