//! The binary, with the component of this repository: exit codes and what it prints.

use crate::support::component;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
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
    insta::assert_snapshot!(errors(&output), @"error: can not read the manifest spin.toml: No such file or directory (os error 2); name the file with `--manifest`");
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
