//! Reading series back through graphite-web.

use std::{collections::BTreeMap, io::Read as _, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};

use anyhow::{Context as _, Result, bail};

use crate::Graphite;

/// A big read, of all datapoints of tens of thousands of series, takes a minute.
pub(super) const TIMEOUT: Duration = Duration::from_secs(300);

/// A span of time in epoch seconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First second.
    pub from: i64,
    /// Last second.
    pub until: i64,
}

/// One series with the datapoints that are there; gaps are left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Series {
    /// The name with tags, as in `system.cp.testdata.DNS(ms);nodeId=1;testId=2`; Graphite sorts
    /// the tags. For a target with a function, what the function calls it.
    pub target: String,
    /// The tags, with `name` among them.
    pub tags: BTreeMap<String, String>,
    /// Epoch seconds, rounded down to the step of the retention, and value.
    #[serde(deserialize_with = "datapoints")]
    pub datapoints: Vec<(i64, f64)>,
}

impl Graphite {
    /// The series of a render target, such as `seriesByTag('name=~^system\.cp\.')`, which have
    /// datapoints in this range.
    ///
    /// # Errors
    /// When graphite-web does not answer, or answers something else.
    pub fn render(&self, target: &str, range: Range) -> Result<Vec<Series>> {
        self.json(
            "/render",
            &[
                ("target", target),
                ("format", "json"),
                ("noNullPoints", "true"),
                ("noCache", "true"),
                // graphite-web takes the points after `from`.
                ("from", &(range.from - 1).to_string()),
                ("until", &range.until.to_string()),
            ],
        )
    }

    /// A picture of some targets in this range; `look` holds more of render's parameters, such as
    /// `("title", "DNS")`.
    ///
    /// # Errors
    /// When graphite-web does not answer with a PNG.
    pub fn render_png(
        &self,
        targets: &[&str],
        range: Range,
        look: &[(&str, &str)],
    ) -> Result<Vec<u8>> {
        let (from, until) = (range.from.to_string(), range.until.to_string());
        let mut query = vec![("format", "png"), ("from", &from), ("until", &until)];
        query.extend(targets.iter().map(|target| ("target", *target)));
        query.extend(look);
        let body = self.get("/render", &query)?;
        if !body.starts_with(b"\x89PNG") {
            bail!("/render: no PNG but {}", start(&body));
        }
        Ok(body)
    }

    /// Names of the series in the tag index that match all expressions, such as
    /// `name=system.cp.testdata.DNS(ms)` or `testId=~.`.
    ///
    /// # Errors
    /// When it does not answer so.
    pub fn find_series(&self, expressions: &[&str]) -> Result<Vec<String>> {
        let query: Vec<_> = expressions.iter().map(|expr| ("expr", *expr)).collect();
        self.json("/tags/findSeries", &query)
    }

    /// What graphite-web answers in JSON to a GET of this path.
    ///
    /// # Errors
    /// When it does not answer, or in another shape.
    pub fn json<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        let body = self.get(path, query)?;
        serde_json::from_slice(&body).with_context(|| format!("{path}: not the answer expected"))
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>> {
        let url = format!("{}{path}", self.web_url());
        let request = self.http.get(&url).query_pairs(query.iter().copied());
        let mut answer = request.call().with_context(|| url.clone())?;
        let mut body = Vec::new();
        let mut reader = answer.body_mut().as_reader();
        reader.read_to_end(&mut body).with_context(|| url.clone())?;
        if !answer.status().is_success() {
            bail!("{url}: {}: {}", answer.status(), start(&body));
        }
        Ok(body)
    }
}

/// Whether graphite-web answers a harmless call.
pub(super) fn answers(agent: &ureq::Agent, web: &str) -> bool {
    agent
        .get(format!("{web}/tags/findSeries"))
        .query("expr", "name=none")
        .call()
        .is_ok_and(|answer| answer.status().is_success())
}

/// The beginning of a body that was not expected.
fn start(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(2000).collect()
}

/// Graphite gives `[value, time]`; a time series reads better the other way round.
fn datapoints<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<(i64, f64)>, D::Error> {
    let points = Vec::<(f64, i64)>::deserialize(input)?;
    Ok(points
        .into_iter()
        .map(|(value, time)| (time, value))
        .collect())
}
