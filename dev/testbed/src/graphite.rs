//! A real Graphite under one folder: carbon-cache writing whisper files, graphite-web reading them.
//!
//! # Layout
//! - this file: starting, stopping and killing the two programs
//! - `options`: what a test may choose, and the configuration files made of it
//! - `query`: reading series back through graphite-web
//! - `dashboards`: the dashboards of `deploy/graphite`, as graphite-web stores and loads them

mod dashboards;
mod options;
mod query;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

pub use dashboards::{Graph, PIPELINE, name_of};
pub use options::Options;
pub use query::{Range, Series};

use options::Ports;

use anyhow::{Context as _, Result};

use crate::{Process, Signal, Venv, local, port};

/// How long a program may take to start. Measured: 0.7 to 2.6 s; a loaded machine needs more.
const START: Duration = Duration::from_secs(60);

/// A running carbon-cache and graphite-web. Dropping it stops both.
#[derive(Debug)]
pub struct Graphite {
    venv: Venv,
    folder: PathBuf,
    ports: Ports,
    http: ureq::Agent,
    web: Process,
    carbon: Option<Process>,
}

impl Graphite {
    /// Starts both on free loopback ports with all their state in `folder`, and waits until they
    /// answer. A folder that was used before keeps its data.
    ///
    /// # Errors
    /// With the end of the log when one does not start.
    pub fn start(venv: &Venv, folder: &Path, options: &Options) -> Result<Self> {
        let ports = Ports {
            line: port::free()?,
            pickle: port::free()?,
            query: port::free()?,
            web: port::free()?,
        };
        // The programs run in this folder, so that they must get a full path.
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder
            .canonicalize()
            .with_context(|| format!("cannot find {}", folder.display()))?;
        options::write(&folder, options, &ports)?;
        let database = folder.join("storage/graphite.db");
        if !database.exists() {
            fs::copy(venv.database(), &database)
                .with_context(|| format!("cannot write {}", database.display()))?;
        }
        let web = spawn_web(venv, &folder, ports.web)?;
        let mut graphite = Self {
            venv: venv.clone(),
            folder,
            ports,
            http: local::client(query::TIMEOUT),
            web,
            carbon: None,
        };
        // Both start at the same time; carbon posts to graphite-web only when a series is new.
        graphite.start_carbon()?;
        let agent = graphite.http.clone();
        let url = graphite.web_url();
        graphite
            .web
            .wait("the first answer of graphite-web", START, |_| {
                Ok(query::answers(&agent, &url).then_some(()))
            })?;
        Ok(graphite)
    }

    /// Where carbon takes plaintext lines.
    #[must_use]
    pub fn carbon_addr(&self) -> SocketAddr {
        self.ports.line
    }

    /// The address of graphite-web, as in `http://127.0.0.1:20123`.
    #[must_use]
    pub fn web_url(&self) -> String {
        format!("http://{}", self.ports.web)
    }

    /// The folder with all files: `conf`, `storage` and `log`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fails when carbon or graphite-web has ended by itself.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn require_running(&mut self) -> Result<()> {
        let carbon = self.carbon.iter_mut();
        carbon
            .chain([&mut self.web])
            .try_for_each(Process::require_running)
    }

    /// Starts carbon-cache on the same ports as before, unless it runs.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_carbon(&mut self) -> Result<()> {
        if self.carbon.is_some() {
            return Ok(());
        }
        let mut command = options::environment(self.venv.command("carbon-cache.py"), &self.folder);
        command
            .arg("--nodaemon")
            .arg("--config=conf/carbon.conf")
            .arg("--pidfile=carbon-cache.pid")
            .arg("--logdir=log")
            .arg("start");
        // A carbon that was killed leaves its pid file, and the next one would refuse to start.
        // Fails when there is none.
        let _ = fs::remove_file(self.folder.join("carbon-cache.pid"));
        let mut carbon =
            Process::spawn("carbon-cache", command, &self.folder.join("log/carbon.log"))?;
        for addr in [self.ports.line, self.ports.query] {
            carbon.wait("carbon listening", START, |_| {
                Ok(TcpStream::connect(addr).ok().map(drop))
            })?;
        }
        self.carbon = Some(carbon);
        Ok(())
    }

    /// Sends carbon a signal that does not end it, such as STOP and CONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal_carbon(&self, signal: Signal) -> Result<()> {
        let carbon = self.carbon.as_ref().context("carbon does not run")?;
        carbon.signal(signal)
    }

    /// Ends carbon with this signal (TERM, INT or KILL) and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run, When it does not end.
    pub fn stop_carbon(&mut self, signal: Signal) -> Result<ExitStatus> {
        let mut carbon = self.carbon.take().context("carbon does not run")?;
        carbon.signal(signal)?;
        carbon.wait_end(START)
    }
}

fn spawn_web(venv: &Venv, folder: &Path, addr: SocketAddr) -> Result<Process> {
    let mut command = options::environment(venv.command("gunicorn"), folder);
    command
        .arg(format!("--bind={addr}"))
        // One at a time: the tag index is SQLite, which answers "database is locked" to somebody
        // who reads while carbon posts new series.
        .arg("--workers=1")
        .arg("--timeout=300")
        .arg("graphite.wsgi:application");
    Process::spawn("graphite-web", command, &folder.join("log/web.log"))
}
