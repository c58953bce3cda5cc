//! The same work in Python, as a straightforward script does it.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, Result};
use catchpoint_testbed::Venv;

use crate::measure::{self, Cost};

/// An interpreter with requests, PyYAML and matplotlib.
pub struct Python {
    venv: Venv,
    folder: tempfile::TempDir,
}

impl Python {
    /// Makes the environment when it is not there.
    pub fn new() -> Result<Self> {
        let venv = Venv::bench(&|what| println!("Python's environment: {what}"))?;
        let folder = tempfile::tempdir()?;
        for (name, text) in [
            ("peer.py", include_str!("../peer.py")),
            ("plot.py", include_str!("../plot.py")),
        ] {
            std::fs::write(folder.path().join(name), text)?;
        }
        Ok(Self { venv, folder })
    }

    fn script(&self, name: &str) -> Command {
        let mut python = self.venv.command("python");
        // Of requests: it would send calls to this machine through a proxy.
        python
            .env("NO_PROXY", "*")
            .arg(self.folder.path().join(name));
        python
    }

    /// Makes lines of the answer in a file; the samples, and the seconds from text to lines.
    pub fn map(&self, file: &Path) -> Result<(u64, f64)> {
        let (said, _) = measure::run(self.script("peer.py").arg("map").arg(file))?;
        let (samples, seconds) = said.trim().split_once(' ').context("no figures")?;
        Ok((samples.parse()?, seconds.parse()?))
    }

    /// Fetches everything and sends it to a carbon; the samples, and what it costs.
    pub fn collect(&self, config: &Path, carbon: SocketAddr) -> Result<(u64, Cost)> {
        let mut script = self.script("peer.py");
        script
            .arg("collect")
            .arg(config)
            .arg(carbon.ip().to_string())
            .arg(carbon.port().to_string());
        let (said, cost) = measure::run(&mut script)?;
        Ok((said.trim().parse()?, cost))
    }

    /// Draws a picture of what the file says.
    pub fn plot(&self, data: &Path, picture: &Path) -> Result<()> {
        measure::run(self.script("plot.py").arg(data).arg(picture)).map(drop)
    }
}
