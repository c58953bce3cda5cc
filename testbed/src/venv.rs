//! The Python environment with carbon, whisper, graphite-web and gunicorn, made once per target
//! directory from pinned versions.
//!
//! It holds two files of ours: `made-of.txt`, a copy of the requirements, is written last and
//! says that the environment is complete; `graphite.db` is graphite-web's empty database, which
//! each [`Graphite`](crate::Graphite) copies instead of migrating its own for seconds.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, process::last_lines, python::Python, target_dir};

const REQUIREMENTS: &str = include_str!("../graphite/requirements.txt");
/// Loaded at each start of Python by the line in [`SHIM_LOADER`].
const SHIM: &str = include_str!("../graphite/graphite_shim.py");
const SHIM_LOADER: &str = "import graphite_shim\n";
const BUILD_REQUIREMENTS: &str = include_str!("../graphite/build-requirements.txt");

/// Says what the environment was made of; written last.
const STAMP: &str = "made-of.txt";

/// A ready Python environment that can run Graphite.
#[derive(Debug, Clone)]
pub struct Venv {
    root: PathBuf,
}

impl Venv {
    /// Makes `target_dir/graphite-venv` unless it is there already, from the same requirements.
    /// The first time takes half a minute and needs the network. Safe when two processes call it
    /// at once. `progress` is told what happens.
    ///
    /// # Errors
    /// [`Error::Missing`] when Python or a system package is missing, [`Error::Command`] when pip
    /// fails.
    pub fn ensure(target_dir: &Path, progress: &dyn Fn(&str)) -> Result<Self, Error> {
        let venv = Self {
            root: target_dir.join("graphite-venv"),
        };
        if venv.is_complete() {
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
        if !venv.is_complete() {
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
        self.root.join("bin").join(name)
    }

    /// A command that runs a program of the environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.program(program));
        // What is set for the user's own Python must not leak into this one.
        command
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// graphite-web's empty database, to be copied.
    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("graphite.db")
    }

    /// The stamp holds the path too, because the programs in a venv name it: a target directory
    /// that was moved needs a new environment.
    fn recipe(&self) -> String {
        format!(
            "{}\n{BUILD_REQUIREMENTS}\n{REQUIREMENTS}\n{SHIM}",
            self.root.display()
        )
    }

    fn is_complete(&self) -> bool {
        fs::read_to_string(self.root.join(STAMP)).is_ok_and(|text| text == self.recipe())
            && self.program("python").exists()
    }

    fn make(&self, progress: &dyn Fn(&str)) -> Result<(), Error> {
        let python = Python::find()?;
        python.require_packages()?;
        progress("making the Python environment");
        remove_folder(&self.root)?;
        run(Command::new(&python.path)
            .args(["-I", "-m", "venv"])
            .arg(&self.root))?;
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
        let state = self.root.join("migrate");
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

        self.write(Path::new(STAMP), &self.recipe())
    }

    /// Writes a file inside of the environment.
    fn write(&self, name: &Path, text: &str) -> Result<(), Error> {
        let file = self.root.join(name);
        fs::write(&file, text).map_err(Error::io(|| format!("write {}", file.display())))
    }

    /// Installs exactly the listed packages.
    fn pip(&self, name: &str, requirements: &str) -> Result<(), Error> {
        self.write(Path::new(name), requirements)?;
        run(self
            .command("python")
            .args(["-m", "pip", "install", "--disable-pip-version-check"])
            .args(["--no-input", "--progress-bar=off"])
            // The versions are complete, and the builders are pinned too.
            .args(["--no-deps", "--no-build-isolation", "--requirement"])
            .arg(self.root.join(name))
            // Without it, carbon, whisper and graphite-web install to /opt/graphite.
            .env("GRAPHITE_NO_PREFIX", "True"))
    }
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(|| format!("remove {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Runs a command to its end; its output only shows when it fails.
fn run(command: &mut Command) -> Result<(), Error> {
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    let output = command
        .output()
        .map_err(Error::io(|| format!("start `{line}`")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Err(Error::Command {
        command: line,
        status: output.status,
        output: last_lines(&text),
    })
}
