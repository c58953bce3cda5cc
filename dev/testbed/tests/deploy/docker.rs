//! The images and the compose file. There is no Docker here, so nothing is built: the Dockerfile is read
//! by its linter, every file that is copied and every flag that is given is tried.

use std::fs;
use std::process::Command;

use catchpoint_testbed::pipeline::{SOON, program};
use catchpoint_testbed::{Process, port, workspace};
use serde_json::Value;

use crate::tools::{deploy, python_tool, read, run};

/// What the linter says about a Dockerfile.
pub fn lint(text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Dockerfile");
    fs::write(&file, text).unwrap();
    let mut hadolint = Command::new(python_tool("hadolint"));
    run(hadolint.arg("--no-color").arg(file))
}

const DOCKERFILE: &str = "deploy/docker/Dockerfile";

#[test]
fn the_dockerfile_is_valid_and_names_the_compiler_of_the_repository() {
    let text = read(DOCKERFILE);
    assert_eq!(lint(&text), (Some(0), String::new()));
    let wrong = text.replace("WORKDIR /build", "WORKDIR build");
    assert!(lint(&wrong).1.contains("DL3000"));
    let toolchain = read("rust-toolchain.toml");
    let (_, version) = toolchain.split_once("channel = \"").unwrap();
    let (version, _) = version.split_once('"').unwrap();
    let compilers = text
        .lines()
        .filter(|line| line.starts_with("FROM docker.io/library/rust:"));
    for line in compilers.chain(
        text.lines()
            .filter(|line| line.contains("RUSTUP_TOOLCHAIN=")),
    ) {
        assert!(line.contains(version), "{line}");
    }
}

/// What is copied is in the repository, or made by a command before it.
#[test]
fn the_dockerfile_copies_what_is_there() {
    let text = read(DOCKERFILE).replace("\\\n", " ");
    let after = |text: &str, mark: &str| {
        let (_, behind) = text.split_once(mark).unwrap();
        behind.split('"').next().unwrap().to_owned()
    };
    let build = after(&read("spin.toml"), "\ncommand = \"");
    assert!(text.contains(&format!("RUN {build} --locked\n")), "{build}");
    // The component is where its manifest looks for it.
    let source = after(&read("deploy/debian/spin.toml"), "\nsource = \"");
    let copied =
        format!(" /build/target/wasm32-wasip2/release/catchpoint_graphite.wasm {source}\n");
    assert!(text.contains(&copied), "{copied}");
    let lines = |kind| text.lines().filter(move |line| line.starts_with(kind));
    let made: Vec<&str> = lines("RUN ").flat_map(str::split_whitespace).collect();
    let mut count = 0;
    for line in lines("COPY ") {
        let path = line.split(' ').skip(1).find(|word| !word.starts_with("--"));
        let path = path.unwrap();
        let is_there = match line.contains("--from=") {
            true => made.contains(&path) || copied.contains(path),
            false => workspace().join(path).exists(),
        };
        assert!(is_there, "{line}");
        count += 1;
    }
    assert_eq!(count, 8);
}

/// The command of an instruction of an image in its list form, word by word but for the ports.
fn command(image: &str, instruction: &str) -> Vec<String> {
    let text = read(DOCKERFILE);
    let (_, image) = text
        .split_once(&format!("FROM scratch AS {image}\n"))
        .unwrap();
    let (_, list) = image.split_once(instruction).unwrap();
    serde_json::from_str(list.lines().next().unwrap()).unwrap()
}

/// A program of an image with these words, but for the port.
fn started(words: &[String], port: u16) -> Command {
    let (name, flags) = words.split_first().unwrap();
    let mut command = Command::new(program(name.trim_start_matches('/')).unwrap());
    let port = format!(":{port}");
    command.args(flags.iter().map(|word| word.replace(":2080", &port)));
    command
}

#[test]
fn the_health_check_asks_the_relay_of_the_image() {
    // What the user adds: TLS that something else ends, or another address, by IPv4 alone.
    for added in ["--insecure", "--listen=127.0.0.1:2080"] {
        let folder = tempfile::tempdir().unwrap();
        let address = port::free().unwrap();
        let mut health_check = started(&command("relay", "    CMD "), address.port());
        assert_eq!(run(&mut health_check).0, Some(1), "nobody is there yet");
        let mut relay = started(&command("relay", "\nENTRYPOINT "), address.port());
        relay
            .arg(added.replace("127.0.0.1:2080", &address.to_string()))
            .arg("--spool")
            .arg(folder.path().join("spool"));
        let mut relay = Process::spawn("relay", relay, &folder.path().join("log")).unwrap();
        relay.wait_port(address, SOON).unwrap();
        assert_eq!(run(&mut health_check).0, Some(0), "with {added}");
    }
}

/// Every file, image and flag that the services name is there.
#[test]
fn the_compose_file_fits_the_images() {
    let text = read("deploy/docker/compose.yaml");
    let compose: Value = yaml_serde::from_str(&text).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.len(), 3);
    for (name, service) in services {
        for volume in list(&service["volumes"]) {
            let (from, to) = volume.as_str().unwrap().split_once(':').unwrap();
            let is_there = match from.starts_with('.') {
                true => deploy("docker").join(from).exists(),
                false => compose["volumes"].get(from).is_some(),
            };
            assert!(is_there && to.starts_with('/'), "{name}: {volume}");
        }
        let Some(image) = service["build"]["target"].as_str() else {
            continue;
        };
        let context = deploy("docker").join(service["build"]["context"].as_str().unwrap());
        assert!(
            context
                .join(service["build"]["dockerfile"].as_str().unwrap())
                .exists()
        );
        // `--help` stops the program when it has read its flags.
        let mut words = command(image, "\nENTRYPOINT ");
        match service["command"].as_array() {
            Some(own) => words.extend(own.iter().map(|word| word.as_str().unwrap().to_owned())),
            None => words.extend(command(image, "\nCMD ")),
        }
        words.push("--help".to_owned());
        let (code, said) = run(&mut started(&words, 2080));
        assert_eq!(code, Some(0), "{name}: {said}");
        // The folders of the image that hold data are volumes.
        for volume in command(image, "\nVOLUME ") {
            assert!(text.contains(&format!(":{volume}\n")), "{name}: {volume}");
        }
    }
    // Others on this machine reach Graphite and the collector; nobody else does.
    for port in services
        .values()
        .flat_map(|service| list(&service["ports"]))
    {
        assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{port}");
    }
}
