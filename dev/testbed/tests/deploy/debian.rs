//! The Debian package: made by cargo-deb as `deploy/README.md` says, installed by dpkg in a root of
//! its own, and the programs run from there.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use catchpoint_testbed::pipeline::{program, share_compiled, wasm};
use catchpoint_testbed::workspace;

use crate::files::Machine;
use crate::pages::links;
use crate::tools::{own_tool, read, run, system_tool};

/// The programs, and what has them write their manual pages and completions.
const PROGRAMS: [(&str, &str); 2] = [
    ("catchpoint-graphite", "generate"),
    ("catchpoint-graphite-relay", "--generate"),
];

/// Makes the package of the programs that are built already.
fn build(folder: &Path) -> PathBuf {
    // cargo-deb knows no other place for them than that of the release build.
    let target = folder.join("target");
    fs::create_dir_all(target.join("release")).unwrap();
    let pages = target.join("pages");
    fs::create_dir_all(&pages).unwrap();
    for (name, generate) in PROGRAMS {
        let program = program(name).unwrap();
        let mut command = Command::new(&program);
        assert_eq!(run(command.arg(generate).arg(&pages)).0, Some(0));
        symlink(program, target.join("release").join(name)).unwrap();
    }
    let component = wasm("catchpoint_graphite.wasm").unwrap();
    let triple = component.parent().and_then(Path::parent).unwrap();
    symlink(triple, target.join(triple.file_name().unwrap())).unwrap();

    let page = read("deploy/README.md");
    let documented = page
        .lines()
        .find(|line| line.starts_with("cargo deb "))
        .unwrap();
    let tools = own_tool("bin/cargo-deb");
    let path = env::var("PATH").unwrap();
    let package = folder.join("package.deb");
    let (code, said) = run(Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(documented.split_whitespace().skip(1))
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

/// A root folder with a dpkg of its own, so that nothing gets onto this machine.
struct Root(Machine);

impl Root {
    fn new() -> Self {
        let root = Self(Machine::empty());
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
        self.0.root.path().join(path)
    }

    /// Runs dpkg on this root; what it printed.
    fn dpkg(&self, what: &str, package: &Path) -> String {
        let harmless = self.at("harmless").display().to_string();
        let path = env::var("PATH").unwrap();
        let (code, said) = run(Command::new(system_tool("dpkg"))
            .arg(format!("--root={}", self.0.root.path().display()))
            .arg("--log=/dev/null")
            // The root has neither a shell nor a package libc6, and we need not be root.
            .args(["--force-script-chrootless", "--force-depends"])
            .args([
                "--force-not-root",
                "--force-confdef",
                "--force-confold",
                what,
            ])
            .arg(package)
            .env("PATH", format!("{harmless}:{path}:/usr/sbin:/sbin"))
            .env("LC_ALL", "C.UTF-8"));
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// Files that the package or its programs have left, but for the documentation.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for top in [
            "etc/catchpoint-graphite",
            "etc/default",
            "usr/bin",
            "usr/lib",
            "usr/share/catchpoint-graphite",
            "var/lib/private",
        ] {
            let mut folders = vec![self.at(top)];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).into_iter().flatten() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        folders.push(path);
                    } else {
                        let inside = path.strip_prefix(self.0.root.path()).unwrap();
                        files.push(inside.to_str().unwrap().to_owned());
                    }
                }
            }
        }
        files.sort();
        files
    }
}

const CONFIGURATION: [&str; 3] = [
    "etc/catchpoint-graphite/config_catchpoint.yaml",
    "etc/catchpoint-graphite/config_graphite.yaml",
    "etc/catchpoint-graphite/spin.toml",
];

const INSTALLED: [&str; 5] = [
    "usr/bin/catchpoint-graphite",
    "usr/bin/catchpoint-graphite-relay",
    "usr/lib/systemd/system/catchpoint-graphite-relay.service",
    "usr/lib/systemd/system/catchpoint-graphite.service",
    "usr/share/catchpoint-graphite/catchpoint_graphite.wasm",
];

/// The schedule is configuration: an upgrade keeps what the administrator has written there.
#[test]
fn the_installed_package_works_and_goes_without_a_trace_but_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path());
    let field = |name| about(&package, "--field", &[name]).trim().to_owned();
    assert_eq!(field("Package"), "catchpoint-graphite");
    assert_eq!(field("Version"), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    // What dpkg asks about before it overwrites it.
    let conffiles = about(&package, "--info", &["conffiles"]);
    for file in CONFIGURATION {
        assert!(
            conffiles.lines().any(|line| line == format!("/{file}")),
            "{conffiles}"
        );
    }
    // Nobody but root may change anything, nor is anything run with more rights than its user has.
    let contents = about(&package, "--contents", &[]);
    for line in contents.lines() {
        let mode = match line.chars().next() {
            Some('d') => "drwxr-xr-x",
            _ if line.contains(" ./usr/bin/") => "-rwxr-xr-x",
            _ => "-rw-r--r--",
        };
        assert!(line.starts_with(mode), "{line}");
    }
    for file in [
        // The units name them.
        "doc/catchpoint-graphite/docs/operations.md",
        "doc/catchpoint-graphite/docs/wasi.md",
        "doc/catchpoint-graphite/deploy/systemd/network.conf",
        // Compressed, but in this quick build.
        "man/man1/catchpoint-graphite-relay.1",
        "man/man1/catchpoint-graphite.1",
        "man/man1/catchpoint-graphite-backfill.1",
        "bash-completion/completions/catchpoint-graphite.bash",
        "bash-completion/completions/catchpoint-graphite-relay.bash",
        "fish/vendor_completions.d/catchpoint-graphite.fish",
        "zsh/vendor-completions/_catchpoint-graphite",
    ] {
        assert!(contents.contains(&format!("./usr/share/{file}")), "{file}");
    }
    // Whoever calls the programs, and not who packs them, reads the pages.
    assert!(!contents.contains("generate"), "{contents}");

    let root = Root::new();
    root.dpkg("--install", &package);
    assert_eq!(root.files(), [&CONFIGURATION[..], &INSTALLED].concat());
    let pages = root.at("usr/share/doc/catchpoint-graphite");
    let docs = fs::read_dir(pages.join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let tops = ["README.md", "deploy/README.md", "deploy/graphite/README.md"];
    for page in docs.chain(tops.map(|page| pages.join(page))) {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let file = link.split('#').next().unwrap();
            let target = page.parent().unwrap().join(file);
            // Sources are not installed.
            let is_source = ["src/", "tests/", ".rs"]
                .iter()
                .any(|part| file.contains(part));
            assert!(is_source || target.exists(), "{}: {link}", page.display());
        }
    }
    for (name, _) in PROGRAMS {
        let program = root.at("usr/bin").join(name);
        let version = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            run(Command::new(program).arg("--version")),
            (Some(0), version)
        );
        let unit = format!("{name}.service");
        assert_eq!(root.0.complaints(&unit), "", "{unit}");
    }

    // Where `check` looks for the manifest.
    let mut help = Command::new(root.at("usr/bin/catchpoint-graphite"));
    let (_, said) = run(help.args(["check", "--help"]));
    assert!(said.contains(&format!("/{}", CONFIGURATION[2])), "{said}");

    // With a test to fetch, the component runs from where the unit looks for it.
    let file = root.at(CONFIGURATION[0]);
    let ours = fs::read_to_string(&file)
        .unwrap()
        .replace("web: []", "web: [1]");
    fs::write(&file, &ours).unwrap();
    let schedule = root.at(CONFIGURATION[2]);
    let manifest = fs::read_to_string(&schedule)
        .unwrap()
        .replace("*/15", "*/5");
    // The manifest names the place on a real machine.
    let top = |folder: &str| root.at(folder).display().to_string();
    let here = manifest
        .replace("/usr/share", &top("usr/share"))
        .replace("/etc", &top("etc"));
    fs::write(folder.path().join("spin.toml"), here).unwrap();
    fs::write(&schedule, &manifest).unwrap();
    share_compiled(&folder.path().join("state")).unwrap();
    let mut check = Command::new(root.at("usr/bin/catchpoint-graphite"));
    check
        .arg("check")
        .arg("--manifest")
        .arg(folder.path().join("spin.toml"))
        .arg("--state")
        .arg(folder.path().join("state"))
        .env("SPIN_VARIABLE_CATCHPOINT_CLIENT_ID", "x")
        .env("SPIN_VARIABLE_CATCHPOINT_CLIENT_SECRET", "x");
    let (_, said) = run(&mut check);
    // The changed schedule does not match run_every_minutes, which is the one thing to complain of.
    assert!(
        said.contains("run_every_minutes") && said.contains("make them equal"),
        "{said}"
    );

    // An upgrade keeps what the administrator has written, and what the programs have stored.
    let spool = "var/lib/private/catchpoint-graphite-relay/lines";
    let state = "var/lib/private/catchpoint-graphite/token";
    let credentials = "etc/default/catchpoint-graphite";
    for stored in [spool, state, credentials] {
        let stored = root.at(stored);
        fs::create_dir_all(stored.parent().unwrap()).unwrap();
        fs::write(stored, "").unwrap();
    }
    root.dpkg("--install", &package);
    assert_eq!(fs::read_to_string(&file).unwrap(), ours);
    assert_eq!(fs::read_to_string(&schedule).unwrap(), manifest);
    root.dpkg("--remove", Path::new("catchpoint-graphite"));
    assert_eq!(
        root.files(),
        [&CONFIGURATION[..], &[credentials, spool, state]].concat()
    );
    let said = root.dpkg("--purge", Path::new("catchpoint-graphite"));
    assert_eq!(root.files(), [spool]);
    assert!(said.contains("spool stays in"), "{said}");
}
