//! The binary, with the component of this repository: exit codes and what it prints.

use crate::support::{Setup, component};
use catchpoint_graphite_host::key_value::Store;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The repository's manifest and configuration in a folder of their own.
fn folder() -> TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(root.join("spin.toml")).unwrap();
    let source = "target/wasm32-wasip2/release/catchpoint_graphite.wasm";
    assert!(text.contains(source));
    let text = text.replace(source, &component().display().to_string());
    fs::write(folder.path().join("spin.toml"), text).unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    for file in ["config_catchpoint.yaml", "config_graphite.yaml"] {
        let from = root.join("config").join(file);
        fs::copy(from, folder.path().join("config").join(file)).unwrap();
    }
    folder
}

fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catchpoint-graphite"));
    command.current_dir(folder).args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPIN_VARIABLE_") {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn bad_usage_is_64() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["nonsense"][..], &["run", "--deadline", "0"], &[]] {
        assert_eq!(
            code(&run(folder.path(), arguments, &[])),
            64,
            "{arguments:?}"
        );
    }
    assert_eq!(code(&run(folder.path(), &["--version"], &[])), 0);
    let output = run(folder.path(), &["check"], &[]);
    assert_eq!(code(&output), 64);
    insta::assert_snapshot!(errors(&output), @"error: cannot read the manifest spin.toml: No such file or directory (os error 2); name the file with `--manifest`");
}

#[test]
fn a_config_without_credentials_is_64_with_all_that_is_missing() {
    let folder = folder();
    for command in ["check", "run"] {
        let output = run(folder.path(), &[command], &[]);
        assert_eq!(code(&output), 64, "{}", errors(&output));
        assert!(output.stdout.is_empty());
        let errors = errors(&output);
        for expect in [
            "catchpoint_client_id",
            "catchpoint_client_secret",
            "test_ids",
        ] {
            assert!(errors.contains(expect), "{errors}");
        }
    }
}

#[test]
fn a_backfill_without_a_sound_span_is_64() {
    let folder = folder();
    let path = folder.path().join("config/config_catchpoint.yaml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("web: []", "web: ['142619']")).unwrap();
    let variables = [
        ("SPIN_VARIABLE_CATCHPOINT_CLIENT_ID", "me"),
        ("SPIN_VARIABLE_CATCHPOINT_CLIENT_SECRET", "hidden"),
    ];
    let refused = |from, to| {
        let arguments = ["backfill", "--from", from, "--to", to];
        let output = run(folder.path(), &arguments, &variables);
        assert_eq!(code(&output), 64);
        errors(&output)
    };
    insta::assert_snapshot!(refused("2026-03-02", "2026-03-01"), @"`from` must be before `to`, but 2026-03-02T00:00:00Z is not before 2026-03-01T00:00:00Z");
    insta::assert_snapshot!(refused("march", "2026-03-01"), @"`from` is `march`, which is no time; write a time in UTC as 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z");
    assert_eq!(code(&run(folder.path(), &["backfill"], &variables)), 64);
}

/// A backfill that gets nowhere says why and how to go on.
#[test]
fn a_failed_backfill_is_1_and_tells_how_to_go_on() {
    let folder = folder();
    let path = folder.path().join("config/config_catchpoint.yaml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("web: []", "web: ['142619']")).unwrap();
    let variables = [
        ("SPIN_VARIABLE_CATCHPOINT_CLIENT_ID", "me"),
        ("SPIN_VARIABLE_CATCHPOINT_CLIENT_SECRET", "hidden"),
        ("SPIN_VARIABLE_CATCHPOINT_HOST", "http://127.0.0.1:9"),
    ];
    let arguments = ["backfill", "--from", "2024-03-01", "--to", "2024-03-03"];
    let output = run(folder.path(), &arguments, &variables);
    assert_eq!(code(&output), 1, "{}", errors(&output));
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(printed, "0 of 2 calls done; 0 lines handed to the relay\n");
    let errors = errors(&output);
    for expect in [
        "the host does not allow calls to https://io.catchpoint.com",
        "nothing more can be filled now; 2 calls are left, and the same command goes on from there",
    ] {
        assert!(errors.contains(expect), "{errors}");
    }
    assert!(!errors.contains("hidden"));
}

/// The only host that these let a run ask is not the one that it wants.
const NOWHERE: [(&str, &str); 3] = [
    ("SPIN_VARIABLE_CATCHPOINT_CLIENT_ID", "me"),
    ("SPIN_VARIABLE_CATCHPOINT_CLIENT_SECRET", "hidden"),
    ("SPIN_VARIABLE_CATCHPOINT_HOST", "http://127.0.0.1:9"),
];

/// The same with a test to collect, and without figures of its own.
fn folder_with_a_test() -> TempDir {
    let folder = folder();
    let path = folder.path().join("config/config_catchpoint.yaml");
    let config = fs::read_to_string(&path).unwrap();
    assert!(config.contains("web: []"));
    fs::write(&path, config.replace("web: []", "web: ['142619']")).unwrap();
    // No relay is there to take them.
    let graphite = folder.path().join("config/config_graphite.yaml");
    let mut graphite = fs::OpenOptions::new().append(true).open(graphite).unwrap();
    writeln!(graphite, "self_metrics: false").unwrap();
    folder
}

#[test]
fn a_run_beside_another_is_0_and_says_that_it_did_nothing() {
    let folder = folder_with_a_test();
    let state = folder.path().join(".catchpoint-graphite");
    let store = Store::open(&state, "default").unwrap();
    let until = chrono::Utc::now() + chrono::TimeDelta::seconds(200);
    let lease = serde_json::json!({"run": "other", "until": until});
    store.set("lease", lease.to_string().as_bytes()).unwrap();
    let output = run(folder.path(), &["run", "--json"], &NOWHERE);
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "skipped");
    let errors = errors(&output);
    assert!(errors.contains("another run is under way"), "{errors}");
}

#[test]
fn check_says_what_catchpoint_host_leaves_out() {
    let folder = folder_with_a_test();
    let check = |variables| {
        let output = run(folder.path(), &["check"], variables);
        assert_eq!(code(&output), 0, "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check(&NOWHERE);
    let hint =
        "lets calls through to http://127.0.0.1:9, and they will go to https://io.catchpoint.com";
    assert!(said.contains(hint), "{said}");
    let said = check(&NOWHERE[..2]);
    assert!(!said.contains("lets calls through"), "{said}");
}

#[test]
fn a_failed_run_is_1_with_its_report() {
    let folder = folder_with_a_test();
    let variables = NOWHERE;
    let output = run(folder.path(), &["run", "--json"], &variables);
    assert_eq!(code(&output), 1, "{}", errors(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "failed");
    let errors = errors(&output);
    let refused = errors
        .lines()
        .find(|line| line.contains("refused a request"));
    insta::assert_snapshot!(refused.unwrap().split_once("WARN ").unwrap().1, @r#"refused a request of component `catchpoint-graphite` to https://io.catchpoint.com: add "https://io.catchpoint.com" to `allowed_outbound_hosts` of [component.catchpoint-graphite] in the manifest, or set the variable that is there for it"#);

    let output = run(folder.path(), &["run"], &variables);
    assert_eq!(code(&output), 1);
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("outcome         failed\n"), "{report}");
    assert!(report.contains("\nfailures: 1\n"), "{report}");
    assert!(!(errors + &report).contains("hidden"));
}

#[test]
fn a_slip_in_a_variables_name_is_told() {
    let folder = folder();
    let output = run(
        folder.path(),
        &["check"],
        &[("SPIN_VARIABLE_RELAY_ULR", "x")],
    );
    let errors = errors(&output);
    assert!(
        errors.contains("SPIN_VARIABLE_RELAY_ULR is set"),
        "{errors}"
    );
}

/// `up` in a folder of a [`Setup`]; killed when the test is over, whatever comes.
struct Up {
    child: Child,
    /// What it has written to standard error; each line as it comes.
    lines: Receiver<String>,
}

impl Up {
    /// The guest, fired every second, with `command` for its cron handler, and so many seconds for
    /// what runs at the end.
    fn start(setup: &Setup, command: &str, grace: &str) -> Self {
        let text = fs::read_to_string(&setup.manifest).unwrap();
        let text = text.replace("0 0 0 1 1 *", "* * * * * *");
        fs::write(&setup.manifest, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_catchpoint-graphite"))
            .current_dir(setup.folder.path())
            .args(["up", "--listen", "127.0.0.1:0", "--grace", grace])
            .env("SPIN_VARIABLE_CRON", command)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines() {
                // The test has seen enough.
                let _ = sender.send(line.unwrap());
            }
        });
        Self { child, lines }
    }

    fn wait_for(&self, part: &str) -> String {
        let start = Instant::now();
        let mut seen = Vec::new();
        loop {
            let left = Duration::from_secs(60).saturating_sub(start.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no {part:?} in:\n{}", seen.join("\n")),
            }
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It has ended by itself unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn up_fires_and_serves_until_told_to_stop() {
    let setup = Setup::new("variables = { cron = \"{{ cron }}\", key = \"{{ secret }}\" }");
    let mut up = Up::start(&setup, "", "30");
    assert!(up.wait_for("variable secret").ends_with("secret = ***"));
    let serving = up.wait_for("serving http://");
    let address = serving.split("http://").nth(1).unwrap().to_owned();
    up.wait_for("fired at");
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET /variable?key HTTP/1.0\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhidden"), "{answer}");
    up.wait_for("fired at");
    up.signal("TERM");
    up.wait_for("stopped; nothing was running");
    assert_eq!(up.child.wait().unwrap().code(), Some(0));
}

#[test]
fn up_cuts_off_what_does_not_end() {
    let setup = Setup::new("variables = { cron = \"{{ cron }}\" }");
    let mut up = Up::start(&setup, "sleep", "2");
    up.wait_for("sleeping");
    let start = Instant::now();
    up.signal("INT");
    up.wait_for("SIGINT: no new runs");
    up.wait_for("cut off");
    assert_eq!(up.child.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[test]
fn up_goes_on_after_a_trap() {
    let setup = Setup::new("variables = { cron = \"{{ cron }}\" }");
    let up = Up::start(&setup, "panic", "2");
    for _ in 0..2 {
        assert!(up.wait_for("trapped").contains("ERROR"));
    }
}
