//! A Python environment in a folder of its own, made once from a recipe.
//!
//! Its file `made-of.txt`, a copy of the recipe, is written last and says that it is complete.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, process::last_lines, python::Python};

/// Says what the environment was made of; written last.
const STAMP: &str = "made-of.txt";

/// A Python environment, made or still to be made.
#[derive(Debug, Clone)]
pub struct Environment {
    root: PathBuf,
    recipe: String,
}

impl Environment {
    /// The one in the folder `root` that is made of what `recipe` tells. The path is part of the
    /// recipe, because the programs in an environment name it: one that was moved is made again.
    #[must_use]
    pub fn new(root: PathBuf, recipe: &str) -> Self {
        let recipe = format!("{}\n{recipe}", root.display());
        Self { root, recipe }
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it is there, made of the same.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        fs::read_to_string(self.root.join(STAMP)).is_ok_and(|text| text == self.recipe)
            && self.program("python").exists()
    }

    /// Makes it, empty, in place of whatever is there.
    ///
    /// # Errors
    /// [`Error::Command`] when Python fails.
    pub fn create(&self, python: &Python) -> Result<(), Error> {
        remove_folder(&self.root)?;
        run(Command::new(&python.path)
            .args(["-I", "-m", "venv"])
            .arg(&self.root))
    }

    /// Installs what a file of requirements lists; `more` are further arguments of pip.
    ///
    /// # Errors
    /// [`Error::Command`] when pip fails.
    pub fn install(&self, requirements: &Path, more: &[&str]) -> Result<(), Error> {
        run(self
            .command("python")
            .args(["-m", "pip", "install", "--disable-pip-version-check"])
            .args(["--no-input", "--progress-bar=off"])
            .args(more)
            .arg("--requirement")
            .arg(requirements)
            // Without it, carbon, whisper and graphite-web install to /opt/graphite.
            .env("GRAPHITE_NO_PREFIX", "True"))
    }

    /// Notes that it is complete.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self) -> Result<(), Error> {
        let stamp = self.root.join(STAMP);
        fs::write(&stamp, &self.recipe).map_err(Error::io(|| format!("write {}", stamp.display())))
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
}

/// Removes a folder with all that is in it, if it is there.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(|| format!("remove {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Runs a command to its end; its output only shows when it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_complete_once_it_is_finished_and_only_as_it_was_made() {
        let folder = std::env::temp_dir().join(format!("environment-{}", std::process::id()));
        let environment = Environment::new(folder.clone(), "one");
        remove_folder(&folder).unwrap();
        assert!(!environment.is_complete());
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(environment.program("python"), "").unwrap();
        assert!(!environment.is_complete());
        environment.finish().unwrap();
        assert!(environment.is_complete());
        assert!(!Environment::new(folder.clone(), "two").is_complete());
        remove_folder(&folder).unwrap();
        assert!(!environment.is_complete());
    }
}
