//! What this machine must have before anything else works. All of it is done once; when all is
//! there, it takes a fraction of a second.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{
    Venv,
    python::{Python, remove_folder},
    target_dir, workspace,
};

use crate::run::{Step, Steps, cargo, quiet};

/// The target that the component is built for.
pub const WASM: &str = "wasm32-wasip2";

/// A program that tests call, and the Debian package that it comes with.
const PROGRAMS: [(&str, &str); 6] = [
    ("/usr/bin/systemd-analyze", "systemd"),
    ("/usr/bin/dpkg-deb", "dpkg"),
    ("/usr/bin/dpkg-shlibdeps", "dpkg-dev"),
    ("/usr/bin/socat", "socat"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/npm", "npm"),
];

/// From crates.io: the one on PyPI does not know our version of Cargo's manifest.
pub const CARGO_DEB: &str = "3.8.0";
/// Licences, advisories, duplicates.
pub const CARGO_DENY: &str = "0.20.2";
const CARGO_FUZZ: &str = "0.13.2";
/// From npm: the rules by which the status page is checked for people who do not see it.
const AXE_CORE: &str = "axe-core@4.11.1";

/// Gets all that is missing.
pub fn all() -> Result<()> {
    let steps = Steps::new();
    wasm_target(&steps)?;
    python(&steps)?;
    programs(&steps, &PROGRAMS)?;
    for (program, package) in UNPACKED {
        unpack(&steps, program, package)?;
    }
    axe_core(&steps)?;
    cargo_tool(&steps, "cargo-deb", CARGO_DEB)?;
    steps.step("the Python environments", |step| {
        Venv::graphite(&|what| step.say(what))?;
        Venv::tools(&|what| step.say(what))?;
        Ok(())
    })
}

/// Installs the packages of programs that are not there.
pub fn programs(steps: &Steps, programs: &[(&str, &str)]) -> Result<()> {
    let missing = programs
        .iter()
        .filter(|(program, _)| !Path::new(program).exists());
    let missing: Vec<String> = missing.map(|(_, package)| (*package).to_owned()).collect();
    install(steps, &missing)
}

/// Adds the wasm target to the pinned toolchain.
pub fn wasm_target(steps: &Steps) -> Result<()> {
    rust_target(steps, WASM)
}

/// Adds a target to the pinned toolchain.
pub fn rust_target(steps: &Steps, target: &str) -> Result<()> {
    let mut rustc = Command::new("rustc");
    let sysroot = quiet(rustc.args(["--print", "sysroot"]).current_dir(workspace()))?;
    let library = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(target)
        .join("lib");
    if library.exists() {
        return Ok(());
    }
    steps.step(&format!("adding the Rust target {target}"), |_| {
        let mut rustup = Command::new("rustup");
        quiet(
            rustup
                .args(["target", "add", target])
                .current_dir(workspace()),
        )
        .map(drop)
        .with_context(|| format!("the Rust target {target} is missing and cannot be added"))
    })
}

/// Gets a Python, and the system packages that Graphite needs beside it.
pub fn python(steps: &Steps) -> Result<()> {
    let python = match Python::find() {
        Ok(python) => python,
        Err(_) if can_install() => {
            install(steps, &["python3".to_owned(), "python3-venv".to_owned()])?;
            Python::find()?
        }
        Err(error) => return Err(error),
    };
    install(steps, &python.missing)
}

/// A C++ compiler, which libFuzzer is built with, and cargo-fuzz.
pub fn fuzz(steps: &Steps) -> Result<()> {
    programs(steps, &[("/usr/bin/c++", "g++")])?;
    cargo_tool(steps, "cargo-fuzz", CARGO_FUZZ)
}

/// Programs that tests and benchmarks run out of Debian's packages: installing these would start their
/// services, carbon-c-relay's on carbon's own port.
const UNPACKED: [(&str, &str); 2] = [
    ("carbon-c-relay", "carbon-c-relay"),
    ("promtool", "prometheus"),
];

/// Unpacks one of [`UNPACKED`] into `target/tools`.
pub fn unpack(steps: &Steps, program: &str, package: &str) -> Result<()> {
    let root = target_dir().join("tools");
    let relative = Path::new("usr/bin").join(program);
    if root.join(&relative).exists() {
        return Ok(());
    }
    steps.step(&format!("{program}, for tests"), |step| {
        let folder = root.join("download");
        remove_folder(&folder)?;
        fs::create_dir_all(&folder)?;
        apt(step, &["download", package], &folder).with_context(|| {
            format!("the tests run Debian's package of {package}, so they need Debian or Ubuntu")
        })?;
        let mut packages = fs::read_dir(&folder)?.flatten();
        let file = packages
            .next()
            .context("apt-get download has left no file")?;
        // Nothing else of the package.
        let extract = r#"dpkg-deb --fsys-tarfile "$0" | tar --extract --directory "$1" "./$2""#;
        let mut shell = Command::new("sh");
        shell.args(["-c", extract]).arg(file.path()).arg(&root);
        quiet(shell.arg(&relative))?;
        remove_folder(&folder)
    })
}

/// A script that a test gives to a browser.
fn axe_core(steps: &Steps) -> Result<()> {
    let tools = target_dir().join("tools");
    let package = tools.join("node_modules/axe-core/package.json");
    let version = AXE_CORE.replace("axe-core@", "\"version\": \"");
    if fs::read_to_string(package).is_ok_and(|text| text.contains(&version)) {
        return Ok(());
    }
    steps.step(AXE_CORE, |_| {
        fs::create_dir_all(&tools)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        quiet(npm.arg("--prefix").arg(&tools).arg(AXE_CORE)).map(drop)
    })
}

/// Compiles one of cargo's subcommands into `target/tools`, as fast to build as can be; cargo itself
/// sees whether it is there already.
pub fn cargo_tool(steps: &Steps, name: &str, version: &str) -> Result<()> {
    steps.step(&format!("{name} {version}"), |step| {
        let mut install = cargo("install --locked --debug --root");
        install.arg(target_dir().join("tools"));
        install.args([name, "--version", version]);
        if name == "cargo-deb" {
            install.arg("--no-default-features");
        }
        step.compile(install.env("CARGO_PROFILE_DEV_DEBUG", "0"))
    })
}

/// Whether system packages can be installed without asking anybody: Debian's way, and as root or on
/// a machine of a CI service.
fn can_install() -> bool {
    (is_root() || is_ci()) && Path::new("/usr/bin/apt-get").exists()
}

fn is_root() -> bool {
    quiet(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Such a machine is thrown away, and its user may do everything.
fn is_ci() -> bool {
    env::var_os("CI").is_some() && quiet(Command::new("sudo").args(["-n", "true"])).is_ok()
}

/// Installs system packages, and says so before.
fn install(steps: &Steps, packages: &[String]) -> Result<()> {
    let names = packages.join(" ");
    if packages.is_empty() {
        return Ok(());
    }
    if !can_install() {
        bail!("system packages are missing: run `apt-get install {names}` as root, and try again");
    }
    steps.step(&format!("installing system packages: {names}"), |step| {
        let mut arguments = vec!["install", "--no-install-recommends"];
        arguments.extend(packages.iter().map(String::as_str));
        apt(step, &arguments, workspace())
    })
}

/// apt-get; once more with fresh lists of packages if they are old, or not there at all.
fn apt(step: &Step, arguments: &[&str], folder: &Path) -> Result<()> {
    let apt = |arguments: &[&str]| {
        step.say(&format!("apt-get {}", arguments.join(" ")));
        let needs_sudo = arguments.first() != Some(&"download") && !is_root();
        let mut command = Command::new(if needs_sudo { "sudo" } else { "env" });
        command
            .args([
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "--yes",
                "--quiet",
            ])
            .args(arguments)
            .current_dir(folder);
        quiet(&mut command)
    };
    if apt(arguments).is_err() {
        apt(&["update"])?;
        apt(arguments)?;
    }
    Ok(())
}
