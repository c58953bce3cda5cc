//! The programs that the tests call, and a pipeline into a carbon stand-in.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use catchpoint_testbed::graphite::Range;
use catchpoint_testbed::pipeline::Size;
use catchpoint_testbed::{Conduct, Graphite, Pipeline, StandIn, target_dir, workspace};
use tempfile::TempDir;

/// A folder or file of `deploy/`.
pub fn deploy(path: &str) -> PathBuf {
    workspace().join("deploy").join(path)
}

/// The text of a file of the repository.
pub fn read(path: &str) -> String {
    let file = workspace().join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A program that `cargo xtask setup` gets from PyPI.
pub fn python_tool(name: &str) -> PathBuf {
    existing(target_dir().join("tools-venv/bin").join(name))
}

/// A program that `cargo xtask setup` compiles, or unpacks from a Debian package: the same one on
/// every machine.
pub fn own_tool(path: &str) -> PathBuf {
    existing(target_dir().join("tools").join(path))
}

/// A program that `cargo xtask setup` installs with the system's packages.
pub fn system_tool(name: &str) -> PathBuf {
    existing(Path::new("/usr/bin").join(name))
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "no {}; run `cargo xtask setup`",
        path.display()
    );
    path
}

/// Runs a command to its end; its exit code and all that it printed.
pub fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    (status.code(), text.into_owned())
}

/// Series and datapoints.
pub type Data = BTreeMap<String, Vec<(i64, f64)>>;

/// Series as lines for carbon.
pub fn lines<'a>(series: impl IntoIterator<Item = (&'a String, &'a Vec<(i64, f64)>)>) -> String {
    let line = |name: &str, (time, value): &(i64, f64)| format!("{name} {value} {time}\n");
    let lines = |(name, points): (&String, &Vec<_>)| -> String {
        points.iter().map(|point| line(name, point)).collect()
    };
    series.into_iter().map(lines).collect()
}

/// What Graphite shows of all results of tests.
pub fn results(graphite: &Graphite, range: Range) -> Data {
    let all = r"seriesByTag('name=~^system\.cp\.testdata\.')";
    let series = graphite.render(all, range).unwrap().into_iter();
    series.map(|one| (one.target, one.datapoints)).collect()
}

/// A sandbox with one test of each type, a relay, and a carbon stand-in, in a folder of their own.
pub struct Rig {
    pub folder: TempDir,
    pub carbon: StandIn,
    pipeline: Pipeline,
}

impl Rig {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let carbon = StandIn::start(Conduct::Read).unwrap();
        let pipeline = Pipeline::start(folder.path(), carbon.addr(), Size::SMALL).unwrap();
        Self {
            folder,
            carbon,
            pipeline,
        }
    }
}

impl Deref for Rig {
    type Target = Pipeline;

    fn deref(&self) -> &Pipeline {
        &self.pipeline
    }
}
