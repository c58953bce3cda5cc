//! The Python environment with carbon, whisper, graphite-web and gunicorn, made once per target
//! directory from pinned versions.
//!
//! Its `graphite.db` is graphite-web's empty database, which each [`Graphite`](crate::Graphite)
//! copies instead of migrating its own for seconds.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Error,
    environment::{Environment, remove_folder, run},
    python::Python,
    target_dir,
};

const REQUIREMENTS: &str = include_str!("../graphite/requirements.txt");
/// Loaded at each start of Python by the line in [`SHIM_LOADER`].
const SHIM: &str = include_str!("../graphite/graphite_shim.py");
const SHIM_LOADER: &str = "import graphite_shim\n";
const BUILD_REQUIREMENTS: &str = include_str!("../graphite/build-requirements.txt");

/// A ready Python environment that can run Graphite.
#[derive(Debug, Clone)]
pub struct Venv(Environment);

impl Venv {
    /// Makes `target_dir/graphite-venv` unless it is there already, from the same requirements.
    /// The first time takes half a minute and needs the network. Safe when two processes call it
    /// at once. `progress` is told what happens.
    ///
    /// # Errors
    /// [`Error::Missing`] when Python or a system package is missing, [`Error::Command`] when pip
    /// fails.
    pub fn ensure(target_dir: &Path, progress: &dyn Fn(&str)) -> Result<Self, Error> {
        let recipe = format!("{BUILD_REQUIREMENTS}\n{REQUIREMENTS}\n{SHIM}");
        let venv = Self(Environment::new(target_dir.join("graphite-venv"), &recipe));
        if venv.0.is_complete() {
            return Ok(venv);
        }
        fs::create_dir_all(target_dir)
            .map_err(Error::io(|| format!("make {}", target_dir.display())))?;
        let lock_path = target_dir.join("graphite-venv.lock");
        let lock = File::create(&lock_path)
            .map_err(Error::io(|| format!("make {}", lock_path.display())))?;
        if lock.try_lock().is_err() {
            progress("waiting for another process that makes the Python environment");
            lock.lock()
                .map_err(Error::io(|| format!("lock {}", lock_path.display())))?;
        }
        // Another process may have made it while we waited. The lock ends with the file handle.
        if !venv.0.is_complete() {
            venv.make(progress)?;
        }
        Ok(venv)
    }

    /// [`ensure`](Self::ensure) in Cargo's target directory, telling standard error.
    ///
    /// # Errors
    /// As `ensure`.
    pub fn ensure_default() -> Result<Self, Error> {
        Self::ensure(&target_dir(), &|step| eprintln!("{step}"))
    }

    /// A program of the environment, as in `program("carbon-cache.py")`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.program(name)
    }

    /// A command that runs a program of the environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.0.command(program)
    }

    /// graphite-web's empty database, to be copied.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.root().join("graphite.db")
    }

    fn make(&self, progress: &dyn Fn(&str)) -> Result<(), Error> {
        let python = Python::find()?;
        python.require_packages()?;
        progress("making the Python environment");
        self.0.create(&python)?;
        let packages = format!("lib/python3.{}/site-packages", python.minor);
        for (name, text) in [
            ("graphite_shim.py", SHIM),
            ("graphite_shim.pth", SHIM_LOADER),
        ] {
            self.write(&Path::new(&packages).join(name), text)?;
        }

        progress("installing what builds carbon, whisper and graphite-web");
        self.pip("build-requirements.txt", BUILD_REQUIREMENTS)?;
        progress("installing carbon, whisper and graphite-web from PyPI");
        self.pip("requirements.txt", REQUIREMENTS)?;

        progress("making the empty database of graphite-web");
        let state = self.0.root().join("migrate");
        let logs = state.join("log/webapp");
        fs::create_dir_all(&logs).map_err(Error::io(|| format!("make {}", logs.display())))?;
        run(self
            .command("django-admin")
            .args(["migrate", "--run-syncdb", "--verbosity=0"])
            .env("GRAPHITE_ROOT", &state)
            .env("GRAPHITE_CONF_DIR", &state)
            .env("GRAPHITE_STORAGE_DIR", &state)
            .env("DJANGO_SETTINGS_MODULE", "graphite.settings"))?;
        let made = state.join("graphite.db");
        fs::rename(&made, self.database())
            .map_err(Error::io(|| format!("move {}", made.display())))?;
        remove_folder(&state)?;

        self.0.finish()
    }

    /// Writes a file inside of the environment.
    fn write(&self, name: &Path, text: &str) -> Result<(), Error> {
        let file = self.0.root().join(name);
        fs::write(&file, text).map_err(Error::io(|| format!("write {}", file.display())))
    }

    /// Installs exactly the listed packages: the versions are complete, and the builders are pinned
    /// too.
    fn pip(&self, name: &str, requirements: &str) -> Result<(), Error> {
        self.write(Path::new(name), requirements)?;
        let file = self.0.root().join(name);
        self.0
            .install(&file, &["--no-deps", "--no-build-isolation"])
    }
}
