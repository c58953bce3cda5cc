//! Python environments in folders of their own, made once per target directory from pinned versions:
//! Graphite's, and that of the programs that check `deploy/`.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{process::last_lines, target_dir};

const GRAPHITE: &str = include_str!("../graphite/requirements.txt");
/// What builds the packages of [`GRAPHITE`] that are published as source only.
const BUILDERS: &str = "setuptools==75.3.2\nwheel==0.45.1\n";
/// Loaded at each start of Python by the line in [`SHIM_LOADER`].
const SHIM: &str = include_str!("../graphite/graphite_shim.py");
const SHIM_LOADER: &str = "import graphite_shim\n";
const BENCH: &str = include_str!("../../bench/requirements.txt");
const TOOLS: &str = include_str!("../../../deploy/checks/requirements.txt");
/// Says what an environment was made of; written last.
const STAMP: &str = "made-of.txt";

/// Tried in this order, the one that Graphite 1.1.10 was made for first. Next to PATH, the
/// system's own, because PATH may begin with the shims of a version manager.
const CANDIDATES: [&str; 8] = [
    "python3.11",
    "/usr/bin/python3.11",
    "python3.10",
    "python3.9",
    "python3",
    "/usr/bin/python3",
    "python3.12",
    "python3.13",
];

/// Prints the minor version of a Python 3, then each Debian package that is missing.
const PROBE: &str = r"
import ctypes, glob, os, sys
minor = sys.version_info[1] if sys.version_info[0] == 3 else 0
print(minor)
try:
    import venv, ensurepip
except ImportError:
    print(f'python3.{minor}-venv')
try:
    ctypes.CDLL('libcairo.so.2')
except OSError:
    from ctypes.util import find_library
    if not find_library('cairo'):
        print('libcairo2')
fonts = ['/usr/share/fonts', '/usr/local/share/fonts', '~/.fonts', '~/.local/share/fonts']
fonts = [os.path.expanduser(folder) + '/**/*.[to]tf' for folder in fonts]
if not any(glob.glob(pattern, recursive=True) for pattern in fonts):
    print('fonts-dejavu-core')
";

/// A Python that can run Graphite, and what is missing around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    path: PathBuf,
    /// 11 for Python 3.11.
    minor: u8,
    /// Debian packages to install before it can be used; empty when all is there.
    pub missing: Vec<String>,
}

impl Python {
    /// Finds Python 3.8 to 3.13.
    ///
    /// # Errors
    /// When there is none, listing what was tried.
    pub fn find() -> Result<Self> {
        let mut pythons = CANDIDATES.iter().filter_map(|candidate| probe(candidate));
        pythons
            .find(|python| (8..=13).contains(&python.minor))
            .context(
                "Python 3.8 to 3.13 is missing: install one (Debian and Ubuntu: `apt-get install \
                 python3 python3-venv`) and put it in PATH",
            )
    }
}

/// Runs the interpreter; `None` when it does not run. A shim of a version manager may be in PATH and
/// yet not run.
fn probe(candidate: &str) -> Option<Python> {
    let mut command = Command::new(candidate);
    let output = command.args(["-I", "-c", PROBE]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text.lines();
    Some(Python {
        path: PathBuf::from(candidate),
        minor: lines.next()?.trim().parse().ok()?,
        missing: lines.map(str::to_owned).collect(),
    })
}

/// A ready Python environment.
#[derive(Debug, Clone)]
pub struct Venv {
    root: PathBuf,
}

impl Venv {
    /// Graphite's environment in Cargo's target directory; tells standard error what it does.
    ///
    /// # Errors
    /// As [`Venv::graphite`].
    pub fn ensure_default() -> Result<Self> {
        Self::graphite(&|step| eprintln!("{step}"))
    }

    /// The environment with carbon, whisper, graphite-web and gunicorn. Its `graphite.db` is
    /// graphite-web's empty database, which each [`Graphite`](crate::Graphite) copies instead of
    /// migrating its own for seconds. The first time takes a quarter of a minute and needs the
    /// network. Safe when two processes call it at once. `progress` is told what happens.
    ///
    /// # Errors
    /// When Python or a system package is missing, When pip
    /// fails.
    pub fn graphite(progress: &dyn Fn(&str)) -> Result<Self> {
        let recipe = format!("{BUILDERS}{GRAPHITE}{SHIM}");
        Self::ensure("graphite-venv", &recipe, progress, |venv, python| {
            let packages = format!("lib/python3.{}/site-packages", python.minor);
            venv.write(&format!("{packages}/graphite_shim.py"), SHIM)?;
            venv.write(&format!("{packages}/graphite_shim.pth"), SHIM_LOADER)?;
            progress("installing carbon, whisper and graphite-web");
            // Exactly the listed packages: the versions are complete.
            venv.install(BUILDERS, &["--no-deps"])?;
            venv.install(GRAPHITE, &["--no-deps", "--no-build-isolation"])?;
            progress("making the empty database of graphite-web");
            venv.migrate()
        })
    }

    /// The environment that benchmarks are compared with.
    ///
    /// # Errors
    /// As [`Venv::graphite`].
    pub fn bench(progress: &dyn Fn(&str)) -> Result<Self> {
        Self::ensure("bench-venv", BENCH, progress, |venv, _| {
            venv.install(BENCH, &[])
        })
    }

    /// The environment with the programs that check `deploy/`.
    ///
    /// # Errors
    /// As [`Venv::graphite`].
    pub fn tools(progress: &dyn Fn(&str)) -> Result<Self> {
        Self::ensure("tools-venv", TOOLS, progress, |venv, python| {
            progress("installing linters and wasmtime");
            venv.install(TOOLS, &[])?;
            // Its package does not mark the program as one.
            let wasmtime = format!(
                "lib/python3.{}/site-packages/wasmtime_cli/wasmtime",
                python.minor
            );
            fs::set_permissions(venv.root.join(wasmtime), Permissions::from_mode(0o755))
                .context("cannot make wasmtime a program")
        })
    }

    /// A program of the environment, as in `program("carbon-cache.py")`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    /// A command that runs a program of the environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.program(program));
        // What is set for the user's own Python must not leak into this one.
        command
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// graphite-web's empty database.
    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("graphite.db")
    }

    /// Makes the environment `name` unless it is there, of the same recipe and in the same place.
    fn ensure(
        name: &str,
        recipe: &str,
        progress: &dyn Fn(&str),
        fill: impl FnOnce(&Self, &Python) -> Result<()>,
    ) -> Result<Self> {
        let venv = Self {
            root: target_dir().join(name),
        };
        let recipe = format!("{}\n{recipe}", venv.root.display());
        let is_complete =
            || fs::read_to_string(venv.root.join(STAMP)).is_ok_and(|text| text == recipe);
        if is_complete() {
            return Ok(venv);
        }
        let lock = target_dir().join(format!("{name}.lock"));
        let locked = fs::create_dir_all(target_dir())
            .and_then(|()| File::create(&lock))
            .and_then(|file| file.lock().map(|()| file));
        let _locked = locked.with_context(|| format!("cannot lock {}", lock.display()))?;
        // Another process may have made it while we waited.
        if !is_complete() {
            let python = Python::find()?;
            if !python.missing.is_empty() {
                let packages = python.missing.join(" ");
                bail!("system packages are missing: run `apt-get install {packages}` as root");
            }
            progress("making a Python environment");
            remove_folder(&venv.root)?;
            run(Command::new(&python.path)
                .args(["-I", "-m", "venv"])
                .arg(&venv.root))?;
            fill(&venv, &python)?;
            venv.write(STAMP, &recipe)?;
        }
        Ok(venv)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.root.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    fn install(&self, requirements: &str, arguments: &[&str]) -> Result<()> {
        self.write("requirements.txt", requirements)?;
        run(self
            .command("python")
            .args(["-m", "pip", "install", "--disable-pip-version-check"])
            .args(["--no-input", "--progress-bar=off"])
            .args(arguments)
            .arg("--requirement")
            .arg(self.root.join("requirements.txt"))
            // Without it, carbon, whisper and graphite-web install to /opt/graphite.
            .env("GRAPHITE_NO_PREFIX", "True"))
    }

    fn migrate(&self) -> Result<()> {
        let state = self.root.join("migrate");
        let logs = state.join("log/webapp");
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        run(self
            .command("django-admin")
            .args(["migrate", "--run-syncdb", "--verbosity=0"])
            .env("GRAPHITE_ROOT", &state)
            .env("GRAPHITE_CONF_DIR", &state)
            .env("GRAPHITE_STORAGE_DIR", &state)
            .env("DJANGO_SETTINGS_MODULE", "graphite.settings"))?;
        let made = state.join("graphite.db");
        fs::rename(&made, self.database())
            .with_context(|| format!("cannot move {}", made.display()))?;
        remove_folder(&state)
    }
}

/// Removes a folder with all that is in it, if it is there.
///
/// # Errors
/// When the file system does not let it.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {}", folder.display())),
    }
}

/// Runs a command to its end; its output only shows when it fails.
fn run(command: &mut Command) -> Result<()> {
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    let output = command
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = last_lines(&String::from_utf8_lossy(&said));
        bail!("`{line}` failed ({}):\n{said}", output.status);
    }
    Ok(())
}
