//! The dashboards of `deploy/graphite/dashboards`, as graphite-web's own API stores and loads them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Graphite};

/// The name of the dashboard of the way from Catchpoint's API to carbon.
pub const PIPELINE: &str = "catchpoint-pipeline";
/// The name of the template of one test; `catchpoint-test/142619` is that of test 142619.
pub const TEST: &str = "catchpoint-test";

/// The address that saves each, and its file.
const FILES: [(&str, &str); 2] = [
    (
        "/dashboard/save/catchpoint-pipeline",
        include_str!("../../../../deploy/graphite/dashboards/catchpoint-pipeline.json"),
    ),
    (
        "/dashboard/save_template/catchpoint-test/__VALUE__",
        include_str!("../../../../deploy/graphite/dashboards/catchpoint-test.json"),
    ),
];

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
    /// Saves the dashboards of `deploy/graphite/dashboards` in graphite-web.
    ///
    /// # Errors
    /// [`Error::Http`] when graphite-web does not take one.
    pub fn save_dashboards(&self) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Saved {
            success: bool,
        }
        for (path, text) in FILES {
            let url = format!("{}{path}", self.web_url());
            let fail = |reason| Error::Http {
                url: url.clone(),
                reason,
            };
            let answer = self.http.post(&url).send_form([("state", text)]);
            let body = answer.and_then(|mut answer| answer.body_mut().read_to_string());
            let body = body.map_err(|error| fail(error.to_string()))?;
            match serde_json::from_str(&body) {
                Ok(Saved { success: true }) => {}
                _ => return Err(fail(body)),
            }
        }
        Ok(())
    }

    /// The graphs of a saved dashboard, [`PIPELINE`], or of the template for a test, such as
    /// `catchpoint-test/142619`.
    ///
    /// # Errors
    /// [`Error::Http`] when graphite-web has none of this name.
    pub fn dashboard(&self, name: &str) -> Result<Vec<Graph>, Error> {
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
