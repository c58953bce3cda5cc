//! `deploy/kubernetes`, checked against the schemas of Kubernetes itself.

use std::fs;
use std::process::Command;

use crate::tools::{deploy, python_tool, run};

const FILES: [&str; 3] = ["relay.yaml", "component.yaml", "spinapp.yaml"];

/// An older one that clusters still run, and the newest that the validator knows.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// A file without SpinKube's own kind of object, which the schemas do not have.
fn manifest(name: &str) -> String {
    let text = fs::read_to_string(deploy("kubernetes").join(name)).unwrap();
    let objects = text.split("\n---\n");
    let known = objects.filter(|object| !object.contains("\nkind: SpinApp\n"));
    known.collect::<Vec<_>>().join("\n---\n")
}

fn validate(text: &str, version: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yaml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(python_tool("kubernetes-validate"));
    command.args(["--strict", "--kubernetes-version", version]);
    run(command.arg(file))
}

#[test]
fn every_manifest_is_valid_and_nothing_is_misspelt() {
    for name in FILES {
        let text = manifest(name);
        for version in VERSIONS {
            let (code, said) = validate(&text, version);
            assert_eq!(code, Some(0), "{name}, Kubernetes {version}: {said}");
        }
    }
}

#[test]
fn a_wrong_manifest_is_found() {
    for (name, from, to) in [
        (
            "relay.yaml",
            "readOnlyRootFilesystem:",
            "readOnlyRootFileSystem:",
        ),
        ("relay.yaml", "replicas: 1", "replicas: one"),
        ("relay.yaml", "podSelector:", "podSelektor:"),
        ("component.yaml", "schedule:", "shedule:"),
        ("spinapp.yaml", "jobTemplate:", "jobTemplates:"),
    ] {
        let text = manifest(name);
        assert!(text.contains(from), "{from}");
        let (code, said) = validate(&text.replace(from, to), VERSIONS[1]);
        assert_ne!(code, Some(0), "{to}: {said}");
    }
}
