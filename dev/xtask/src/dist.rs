//! The release artefacts: wasm, static programs, Debian package and checksums, from a clean tree.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{python::remove_folder, target_dir, workspace};

use crate::{
    build::{
        COMMAND, COMPONENT, PROGRAMS, component, copy, list, packages, pages, pages_dir,
        wasi_command, wasm_dir,
    },
    run::{Steps, cargo, quiet},
    setup,
};

/// Programs for this target need no library of the machine they run on.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// What is called besides cargo, and the Debian packages that they come with.
const PROGRAMS_USED: [(&str, &str); 2] = [
    // Compiles the C of ring.
    ("/usr/bin/musl-gcc", "musl-tools"),
    // Finds the libraries that a package depends on.
    ("/usr/bin/dpkg-shlibdeps", "dpkg-dev"),
];

/// Makes all artefacts in `target/dist`.
pub fn run() -> Result<()> {
    let changes = quiet(
        Command::new("git")
            .args(["status", "--porcelain"])
            .current_dir(workspace()),
    )?;
    if !changes.is_empty() {
        bail!(
            "a release is made of what is committed; these files are not:\n{changes}\n\
             commit them, or put them aside with `git stash --include-untracked` and back with `git stash pop`"
        );
    }
    let steps = Steps::new();
    setup::wasm_target(&steps)?;
    setup::rust_target(&steps, STATIC)?;
    setup::programs(&steps, &PROGRAMS_USED)?;
    setup::cargo_tool(&steps, "cargo-deb", setup::CARGO_DEB)?;
    let folder = target_dir().join("dist");
    remove_folder(&folder)?;
    steps.step("building the component", component)?;
    steps.step("building the command for WASI hosts", wasi_command)?;
    for name in [COMPONENT, COMMAND] {
        copy(&wasm_dir().join(name), &folder.join(name))?;
    }
    steps.step("building static programs", |step| {
        let mut build = cargo("build --release --locked --bins");
        step.compile(packages(&mut build).args(["--target", STATIC]))
    })?;
    for name in PROGRAMS {
        let built = target_dir().join(STATIC).join("release").join(name);
        copy(&built, &folder.join(format!("{name}-{STATIC}")))?;
        // Static programs run on every Debian, too.
        copy(&built, &target_dir().join("release").join(name))?;
    }
    pages(&target_dir().join("release"))?;
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--gzip").arg("--file");
    tar.arg(folder.join("man-pages-and-completions.tar.gz"));
    quiet(tar.arg("--directory").arg(pages_dir()).arg("."))?;
    steps.step("making the Debian package", |_| {
        // The command of `deploy/README.md`; what it needs is built already.
        let mut deb = cargo("deb --package catchpoint-graphite-relay --no-build --locked --output");
        quiet(deb.arg(&folder)).map(drop)
    })?;
    let names = names(&folder)?;
    let sums = quiet(Command::new("sha256sum").args(&names).current_dir(&folder))?;
    fs::write(folder.join("SHA256SUMS"), &sums)?;
    list(names.iter().map(|name| folder.join(name)))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}
