//! How time grows with the amount, and a picture of it.

use std::fs;

use anyhow::Result;
use catchpoint_testbed::{target_dir, workspace};

use crate::{Edition, component, python::Python, relay, report::Report};

/// Measures both curves and draws them.
pub fn run(report: &Report, edition: &Edition, python: Option<&Python>) -> Result<()> {
    let curves = [component::growth(edition)?, relay::growth(edition)?];
    for curve in &curves {
        report.say(&curve.told())?;
    }
    let data = target_dir().join("bench/growth.json");
    fs::write(&data, serde_json::to_vec_pretty(&curves)?)?;
    match python {
        Some(python) => python.plot(&data, &workspace().join("docs/img/growth.png")),
        None => report.say("Growth is not drawn: there is no Python."),
    }
}
