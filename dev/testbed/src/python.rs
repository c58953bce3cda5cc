//! Finding a Python that can run Graphite, and the system packages that are missing.

use std::{
    env,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Error;

/// Tried in this order, the one that Graphite 1.1.10 was made for first. Next to PATH, the
/// system's own, because PATH may begin with the shims of a version manager.
const CANDIDATES: [&str; 9] = [
    "python3.11",
    "/usr/bin/python3.11",
    "python3.10",
    "python3.9",
    "python3.8",
    "python3",
    "/usr/bin/python3",
    "python3.12",
    "python3.13",
];

/// Names another interpreter to try first.
pub const OVERRIDE: &str = "GRAPHITE_PYTHON";

/// Prints the minor version of a Python 3, then a word for each thing that is missing.
const PROBE: &str = r"
import sys
print(sys.version_info[1] if sys.version_info[0] == 3 else 0)
try:
    import venv, ensurepip
except ImportError:
    print('venv')
import ctypes
try:
    ctypes.CDLL('libcairo.so.2')
except OSError:
    from ctypes.util import find_library
    if not find_library('cairo'):
        print('cairo')
";

/// A Python that can run Graphite, and what is missing around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The interpreter.
    pub path: PathBuf,
    /// 11 for Python 3.11.
    pub minor: u8,
    /// Debian packages to install before it can be used; empty when all is there.
    pub missing: Vec<String>,
}

impl Python {
    /// Finds Python 3.8 to 3.13.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none, listing what was tried.
    pub fn find() -> Result<Self, Error> {
        let mut tried = String::new();
        let chosen = env::var(OVERRIDE).ok().filter(|path| !path.is_empty());
        let candidates = chosen
            .iter()
            .map(String::as_str)
            .chain(CANDIDATES.iter().copied().filter(|_| chosen.is_none()));
        for candidate in candidates {
            match probe(candidate) {
                Some((minor @ 8..=13, missing)) => {
                    return Ok(Self {
                        path: PathBuf::from(candidate),
                        minor,
                        missing,
                    });
                }
                Some((minor, _)) => {
                    // Writing to a string does not fail.
                    let _ = write!(tried, ", {candidate} is 3.{minor}");
                }
                None => {}
            }
        }
        Err(Error::Missing {
            what: format!("Python 3.8 to 3.13{tried}"),
            mend: format!(
                "install one (Debian and Ubuntu: `apt-get install python3 python3-venv`; \
                 elsewhere for instance `pyenv install 3.11` or `uv python install 3.11`) and put \
                 it in PATH, or name it in {OVERRIDE}"
            ),
        })
    }

    /// Fails when system packages are missing, and says how to get them.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn require_packages(&self) -> Result<(), Error> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let packages = self.missing.join(" ");
        Err(Error::Missing {
            what: format!("system package {packages}"),
            mend: format!("run `apt-get install {packages}` as root, or its like, and try again"),
        })
    }
}

/// Runs the interpreter: its minor version and the missing packages; `None` when it does not run.
/// A shim of a version manager may be in PATH and yet not run.
fn probe(candidate: &str) -> Option<(u8, Vec<String>)> {
    let output = Command::new(candidate)
        .args(["-I", "-c", PROBE])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text.lines();
    let minor = lines.next()?.trim().parse().ok()?;
    let mut missing: Vec<String> = lines
        .filter_map(|word| match word.trim() {
            "venv" => Some(format!("python3.{minor}-venv")),
            "cairo" => Some("libcairo2".to_owned()),
            _ => None,
        })
        .collect();
    if !any_font() {
        missing.push("fonts-dejavu-core".to_owned());
    }
    Some((minor, missing))
}

/// Whether a font is installed where fontconfig looks: without one, graphs have no text.
fn any_font() -> bool {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    [
        PathBuf::from("/usr/share/fonts"),
        PathBuf::from("/usr/local/share/fonts"),
        PathBuf::from("/System/Library/Fonts"),
        home.join(".local/share/fonts"),
        home.join(".fonts"),
    ]
    .iter()
    .any(|folder| has_font(folder, 5))
}

fn has_font(folder: &Path, depth: usize) -> bool {
    let Ok(entries) = folder.read_dir() else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("ttf" | "otf" | "ttc" | "pfb"))
            || (depth > 0 && path.is_dir() && has_font(&path, depth - 1))
    })
}
