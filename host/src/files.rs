//! The files that a component can read: what its manifest lists under `files`, read-only.
//!
//! Directories are mounted as they are, so that a changed config is in force at the next firing
//! (Spin does so with `--direct-mounts`). As soon as a component lists a glob, a single file or
//! `exclude_files`, all its files are copied to a temporary folder at start, as Spin does.

use crate::manifest::{ComponentDeclaration, Mount};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use thiserror::Error;
use wasmtime::error::Context;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// Where the guest of `--config` sees its folder.
pub const CONFIG_DESTINATION: &str = "/config";

/// What to mount into each instance of a component.
#[derive(Debug)]
pub struct Mounts {
    /// Host folder and guest path.
    folders: Vec<(PathBuf, String)>,
    /// Kept alive for as long as it is mounted.
    _copy: Option<TempDir>,
}

/// Why files cannot be mounted.
#[derive(Debug, Error)]
pub enum MountError {
    /// A file or folder cannot be read or copied.
    #[error("`files`: cannot read {}: {reason}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// `--config` has nowhere to go.
    #[error(
        "`--config` replaces the mount whose destination is \"{CONFIG_DESTINATION}\", and no \
         component has one; add it to `files`"
    )]
    NoConfigMount,
    /// The copy of the files cannot be made.
    #[error("`files`: cannot make a temporary folder: {0}")]
    Copy(io::Error),
}

impl Mounts {
    /// Finds the files of `component`; globs are relative to `root`, the folder of the manifest.
    /// `config` replaces the source of the mount at `/config`.
    pub fn new(
        component: &ComponentDeclaration,
        root: &Path,
        config: Option<&Path>,
    ) -> Result<Self, MountError> {
        let mut placements = Vec::new();
        let mut patterns = Vec::new();
        for mount in &component.files {
            match mount {
                Mount::Pattern(pattern) => patterns.push(pattern),
                Mount::Placement {
                    source,
                    destination,
                } => {
                    let replaced = config.filter(|_| is_config(destination));
                    placements.push((replaced.unwrap_or(source).to_owned(), destination.clone()));
                }
            }
        }
        let mut direct = patterns.is_empty() && component.exclude_files.is_empty();
        for (source, _) in &placements {
            direct &= fs::metadata(source).map_err(at(source))?.is_dir();
        }
        if direct {
            return Ok(Self {
                folders: placements,
                _copy: None,
            });
        }
        let copy = TempDir::new().map_err(MountError::Copy)?;
        let copier = Copier {
            root,
            target: copy.path(),
            exclude: &component.exclude_files,
        };
        for (source, destination) in &placements {
            copier.copy(source, &below(Path::new(destination)))?;
        }
        for pattern in patterns {
            copier.copy_matches(pattern)?;
        }
        Ok(Self {
            folders: vec![(copy.path().to_owned(), "/".to_owned())],
            _copy: Some(copy),
        })
    }

    /// Mounts them into an instance.
    pub(crate) fn add_to(&self, wasi: &mut WasiCtxBuilder) -> wasmtime::Result<()> {
        for (source, destination) in &self.folders {
            wasi.preopened_dir(source, destination, FsPerms::ReadOnly)
                .with_context(|| format!("`files`: cannot open {}", source.display()))?;
        }
        Ok(())
    }

    /// Host folder and guest path of each mount.
    pub fn folders(&self) -> impl Iterator<Item = (&Path, &str)> {
        let folders = self.folders.iter();
        folders.map(|(source, destination)| (source.as_path(), destination.as_str()))
    }
}

/// Whether a destination is the one that `--config` replaces.
pub(crate) fn is_config(destination: &str) -> bool {
    destination.trim_end_matches('/') == CONFIG_DESTINATION
}

struct Copier<'a> {
    root: &'a Path,
    target: &'a Path,
    exclude: &'a [glob::Pattern],
}

impl Copier<'_> {
    /// Copies what a glob matches to the same relative path.
    fn copy_matches(&self, pattern: &str) -> Result<(), MountError> {
        let root = glob::Pattern::escape(&self.root.to_string_lossy());
        let absolute = Path::new(&root).join(pattern);
        let matches = glob::glob(&absolute.to_string_lossy()).map_err(|error| {
            at(Path::new(pattern))(io::Error::new(io::ErrorKind::InvalidInput, error))
        })?;
        for path in matches {
            let path = path.map_err(|error| MountError::Read {
                path: error.path().to_owned(),
                reason: error.into(),
            })?;
            if path.is_file() {
                self.copy(&path, &below(path.strip_prefix(self.root).unwrap_or(&path)))?;
            }
        }
        Ok(())
    }

    /// Copies a file, or a folder and all below it, to `place` in the target.
    fn copy(&self, source: &Path, place: &Path) -> Result<(), MountError> {
        let known = source.strip_prefix(self.root).unwrap_or(source);
        if self
            .exclude
            .iter()
            .any(|pattern| pattern.matches_path(known))
        {
            return Ok(());
        }
        let target = self.target.join(place);
        if fs::metadata(source).map_err(at(source))?.is_dir() {
            fs::create_dir_all(&target).map_err(at(&target))?;
            for entry in fs::read_dir(source).map_err(at(source))? {
                let entry = entry.map_err(at(source))?;
                self.copy(&entry.path(), &place.join(entry.file_name()))?;
            }
            return Ok(());
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        fs::copy(source, &target).map_err(at(source))?;
        Ok(())
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> MountError {
    move |reason| MountError::Read {
        path: path.to_owned(),
        reason,
    }
}

/// A path with nothing in it that would lead out of the folder that it is joined to.
fn below(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{MountError, Mounts};
    use crate::manifest::Manifest;
    use std::fs;
    use std::path::Path;

    /// The mounts of a component with `keys` over a folder with some files.
    fn mounts(root: &Path, keys: &str, config: Option<&Path>) -> Result<Mounts, MountError> {
        for file in [
            "config/a.yaml",
            "config/secret.key",
            "assets/deep/b.txt",
            "one.txt",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let text = format!(
            "spin_manifest_version = 2\napplication.name = \"t\"\ntrigger = {{}}\n\
             [component.c]\nsource = \"c.wasm\"\n{keys}"
        );
        let manifest = Manifest::parse(&root.join("spin.toml"), &text).unwrap();
        Mounts::new(manifest.component("c").unwrap(), root, config)
    }

    /// What the guest sees: paths of files.
    fn seen(mounts: &Mounts) -> Vec<String> {
        fn walk(folder: &Path, place: &Path, files: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let place = place.join(entry.file_name());
                if entry.path().is_dir() {
                    walk(&entry.path(), &place, files);
                } else {
                    files.push(place.display().to_string());
                }
            }
        }
        let mut files = Vec::new();
        for (source, destination) in mounts.folders() {
            walk(source, Path::new(destination), &mut files);
        }
        files.sort();
        files
    }

    fn check(keys: &str, expect: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(
            seen(&mounts(root.path(), keys, None).unwrap()),
            expect,
            "{keys}"
        );
    }

    #[test]
    fn shows_what_is_listed() {
        let config = r#"{ source = "config", destination = "/config" }"#;
        check(
            &format!("files = [{config}]"),
            &["/config/a.yaml", "/config/secret.key"],
        );
        check(
            &format!("files = [{config}]\nexclude_files = [\"config/*.key\"]"),
            &["/config/a.yaml"],
        );
        check(
            &format!("files = [{config}, \"assets/**/*.txt\", \"one.*\"]"),
            &[
                "/assets/deep/b.txt",
                "/config/a.yaml",
                "/config/secret.key",
                "/one.txt",
            ],
        );
        check(
            r#"files = [{ source = "one.txt", destination = "/x/../y" }]"#,
            &["/x/y"],
        );
        check("", &[]);
    }

    #[test]
    fn config_is_replaced() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("mine.yaml"), "x").unwrap();
        let keys = r#"files = [{ source = "gone", destination = "/config/" }]"#;
        let mounted = mounts(root.path(), keys, Some(other.path())).unwrap();
        assert_eq!(seen(&mounted), ["/config/mine.yaml"]);
        let error = mounts(root.path(), keys, None).unwrap_err().to_string();
        assert!(error.contains("gone"), "{error}");
    }
}
