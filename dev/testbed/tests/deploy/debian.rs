//! The Debian package: made by cargo-deb as `deploy/README.md` says, and put on a machine by dpkg.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use catchpoint_testbed::workspace;

use crate::systemd::Machine;
use crate::tools::{deploy, own_tool, program, run, system_tool, wasm};

/// The command of the page, as words.
fn documented() -> Vec<String> {
    let page = fs::read_to_string(deploy("README.md")).unwrap();
    let line = page.lines().find(|line| line.starts_with("cargo deb "));
    let words = line.unwrap().split_whitespace().skip(1);
    words.map(str::to_owned).collect()
}

/// Makes the package of the programs that are built already.
fn build(folder: &Path) -> PathBuf {
    // cargo-deb knows no other place for them than that of the release build.
    let target = folder.join("target");
    fs::create_dir_all(target.join("release")).unwrap();
    for name in ["catchpoint-graphite", "catchpoint-graphite-relay"] {
        symlink(program(name), target.join("release").join(name)).unwrap();
    }
    let component = wasm("catchpoint_graphite.wasm");
    let triple = component.parent().and_then(Path::parent).unwrap();
    symlink(triple, target.join(triple.file_name().unwrap())).unwrap();

    let tools = own_tool("bin/cargo-deb");
    let path = env::var("PATH").unwrap();
    let package = folder.join("package.deb");
    let (code, said) = run(Command::new(env::var_os("CARGO").unwrap())
        .args(documented())
        // Programs for development are large, and xz would take its time with them.
        .args(["--strip", "--fast", "--compress-type=gz"])
        .args(["--compress-system", "--output"])
        .arg(&package)
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", &target)
        .env(
            "PATH",
            format!("{}:{path}", tools.parent().unwrap().display()),
        ));
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("warning"), "{said}");
    package
}

/// What dpkg-deb says about a package.
fn about(package: &Path, what: &str, names: &[&str]) -> String {
    let mut command = Command::new(system_tool("dpkg-deb"));
    let (code, said) = run(command.arg(what).arg(package).args(names));
    assert_eq!(code, Some(0), "{said}");
    said
}

#[test]
fn the_page_installs_the_tool_that_is_tested() {
    let (code, version) = run(Command::new(own_tool("bin/cargo-deb")).arg("--version"));
    assert_eq!(code, Some(0), "{version}");
    let version = version.split_whitespace().last().unwrap();
    let line = format!("\ncargo install cargo-deb --version {version} --locked\n");
    let page = fs::read_to_string(deploy("README.md")).unwrap();
    assert!(page.contains(&line), "{line}");
}

#[test]
fn the_package_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path());
    let field = |name| about(&package, "--field", &[name]).trim().to_owned();
    assert_eq!(field("Package"), "catchpoint-graphite");
    let version = concat!(env!("CARGO_PKG_VERSION"), "-1");
    assert_eq!(field("Version"), version);
    assert!(field("Depends").starts_with("libc6 (>= "));
    let maintainer = field("Maintainer");
    assert!(
        maintainer.contains(" <") && maintainer.contains('@'),
        "{maintainer}"
    );
    // What dpkg asks about before it overwrites it.
    let expected: String = CONFIGURATION.map(|file| format!("/{file}\n")).concat();
    assert_eq!(
        about(&package, "--info", &["conffiles"]).trim(),
        expected.trim()
    );

    // Nobody but root may change anything, nor is anything run with more rights than its user has.
    for line in about(&package, "--contents", &[]).lines() {
        let mode = match line.chars().next() {
            Some('d') => "drwxr-xr-x",
            _ if line.contains(" ./usr/bin/") => "-rwxr-xr-x",
            _ => "-rw-r--r--",
        };
        let owner = line.split_whitespace().nth(1);
        assert!(line.starts_with(mode), "{line}");
        assert!(matches!(owner, Some("0/0" | "root/root")), "{line}");
    }
}

/// A root folder with a dpkg of its own, so that nothing gets onto this machine.
struct Root {
    machine: Machine,
}

impl Root {
    fn new() -> Self {
        let machine = Machine::at(tempfile::tempdir().unwrap());
        let root = Self { machine };
        for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "harmless"] {
            fs::create_dir_all(root.at(folder)).unwrap();
        }
        fs::write(root.at("var/lib/dpkg/status"), "").unwrap();
        // The package's scripts must never reach a service of this machine.
        for program in ["systemctl", "deb-systemd-invoke"] {
            symlink("/bin/true", root.at("harmless").join(program)).unwrap();
        }
        root
    }

    fn at(&self, path: &str) -> PathBuf {
        self.machine.root().join(path)
    }

    /// Runs dpkg on this root; what it printed.
    fn dpkg(&self, what: &str, package: &Path) -> String {
        let harmless = self.at("harmless").display().to_string();
        let path = env::var("PATH").unwrap();
        let (code, said) = run(Command::new(system_tool("dpkg"))
            .arg(format!("--root={}", self.machine.root().display()))
            .arg("--log=/dev/null")
            // The root has neither a shell nor a package libc6, and we need not be root.
            .args(["--force-script-chrootless", "--force-depends"])
            .args(["--force-not-root", what])
            .arg(package)
            .env("PATH", format!("{harmless}:{path}:/usr/sbin:/sbin"))
            .env("LC_ALL", "C.UTF-8"));
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// All files but the documentation and those that were there before.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.machine.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let inside = path.strip_prefix(self.machine.root()).unwrap();
                    files.push(inside.to_str().unwrap().to_owned());
                }
            }
        }
        let others = [
            "harmless/",
            "var/lib/dpkg/",
            "bin/",
            "lib/",
            "usr/share/doc/",
            // Which units were enabled, and when removed, masked.
            "var/lib/systemd/",
            "etc/systemd/",
        ];
        files.retain(|file| !others.iter().any(|other| file.starts_with(other)));
        files.sort();
        files
    }

    /// Runs an installed program.
    fn run(&self, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let secrets = ["CLIENT_ID", "CLIENT_SECRET"];
        let variables = secrets.map(|name| (format!("SPIN_VARIABLE_CATCHPOINT_{name}"), "x"));
        let mut program = Command::new(self.at("usr/bin").join(name));
        run(program.args(arguments).envs(variables))
    }
}

const CONFIGURATION: [&str; 2] = [
    "etc/catchpoint-graphite/config_catchpoint.yaml",
    "etc/catchpoint-graphite/config_graphite.yaml",
];

const INSTALLED: [&str; 6] = [
    "usr/bin/catchpoint-graphite",
    "usr/bin/catchpoint-graphite-relay",
    "usr/lib/systemd/system/catchpoint-graphite-relay.service",
    "usr/lib/systemd/system/catchpoint-graphite.service",
    "usr/share/catchpoint-graphite/spin.toml",
    "usr/share/catchpoint-graphite/target/wasm32-wasip2/release/catchpoint_graphite.wasm",
];

#[test]
fn the_installed_package_works_and_goes_without_a_trace_but_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path());
    let root = Root::new();
    root.dpkg("--install", &package);
    assert_eq!(root.files(), [&CONFIGURATION[..], &INSTALLED].concat());
    for program in ["catchpoint-graphite", "catchpoint-graphite-relay"] {
        let version = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(root.run(program, &["--version"]), (Some(0), version));
        let unit = format!("{program}.service");
        assert_eq!(root.machine.complaints(&unit), "", "{unit}");
    }

    // With a test to fetch, the component runs from where the unit looks for it.
    let file = root.at(CONFIGURATION[0]);
    let ours = fs::read_to_string(&file)
        .unwrap()
        .replace("web: []", "web: [1]");
    fs::write(&file, &ours).unwrap();
    let manifest = root.at("usr/share/catchpoint-graphite/spin.toml");
    let (code, said) = root.run(
        "catchpoint-graphite",
        &[
            "check",
            "--manifest",
            manifest.to_str().unwrap(),
            "--config",
            file.parent().and_then(Path::to_str).unwrap(),
            "--state",
            folder.path().join("state").to_str().unwrap(),
        ],
    );
    assert_eq!(code, Some(0), "{said}");

    // An upgrade keeps what the administrator has written, and what the programs have stored.
    let spool = "var/lib/private/catchpoint-graphite-relay/lines";
    let state = "var/lib/private/catchpoint-graphite/token";
    for stored in [spool, state] {
        let stored = root.at(stored);
        fs::create_dir_all(stored.parent().unwrap()).unwrap();
        fs::write(stored, "").unwrap();
    }
    root.dpkg("--install", &package);
    assert_eq!(fs::read_to_string(&file).unwrap(), ours);
    root.dpkg("--remove", Path::new("catchpoint-graphite"));
    assert_eq!(root.files(), [&CONFIGURATION[..], &[spool, state]].concat());

    let said = root.dpkg("--purge", Path::new("catchpoint-graphite"));
    assert_eq!(root.files(), [spool]);
    assert!(said.contains("spool stays in"), "{said}");
    let mask = root.at("etc/systemd/system/catchpoint-graphite-relay.service");
    assert!(!mask.is_symlink(), "the unit is still masked");
}
