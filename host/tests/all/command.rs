//! The binary's commands that end by themselves: exit codes and what they print. The guest answers
//! as the component does.

use crate::support::{Setup, certificate, tls_server};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// The binary with the manifest of a setup and these variables.
pub fn command(setup: &Setup, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catchpoint-graphite"));
    command.current_dir(setup.folder.path()).args(arguments);
    command.env_remove("RUST_LOG").env_remove("NO_COLOR");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    for (name, value) in variables {
        command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
    }
    command
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(setup: &Setup, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    ran(command(setup, arguments, variables).output().unwrap())
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn bad_usage_is_64() {
    let setup = Setup::new("");
    for arguments in [
        &["nonsense"][..],
        &["run", "--deadline", "0"],
        &["backfill"],
        &["check", "--manifest", "gone.toml"],
        &["check", "--config", "gone"],
        &["check", "--ca-file", "spin.toml"],
        &[],
    ] {
        let ran = run(&setup, arguments, &[]);
        assert_eq!(ran.code, 64, "{arguments:?} {}", ran.err);
    }
    assert_eq!(run(&setup, &["--version"], &[]).code, 0);
    let told = run(
        &setup,
        &["check"],
        &[("relay_ulr", "x"), ("check", "200 fine")],
    );
    assert!(
        told.err.contains("SPIN_VARIABLE_RELAY_ULR is set"),
        "{}",
        told.err
    );
}

#[test]
fn c17_run_has_an_exit_code_for_each_outcome() {
    let setup = Setup::new("");
    for (answer, code, said) in [
        ("200 {\"outcome\": \"ok\", \"samples\": 3}", 0, ""),
        ("200 {\"outcome\": \"partial\"}", 2, ""),
        ("502 {\"outcome\": \"failed\"}", 1, ""),
        (
            "409 {\"outcome\": \"skipped\"}",
            0,
            "another run is active; this one did nothing",
        ),
        ("400 config.yaml:3:1: wrong", 64, "config.yaml:3:1: wrong"),
        (
            "500 odd",
            1,
            "error: the component answered 500 Internal Server Error: odd",
        ),
    ] {
        let ran = run(&setup, &["run"], &[("collect", answer)]);
        assert_eq!((ran.code, ran.err.trim()), (code, said), "{answer}");
    }
    let good = [("collect", "200 {\"outcome\": \"ok\", \"samples\": 3}")];
    assert_eq!(
        run(&setup, &["run"], &good).out,
        "outcome  ok\nsamples  3\n"
    );
    assert_eq!(run(&setup, &["run", "--quiet"], &good).out, "");
    let json = run(&setup, &["run", "--quiet", "--json"], &good).out;
    assert_eq!(json, "{\"outcome\": \"ok\", \"samples\": 3}\n");
}

#[test]
fn flags_are_passed_to_the_component() {
    let setup = Setup::new("");
    let answers = [
        ("collect", "200 a.b 1 2"),
        ("check", "200 fine"),
        ("backfill", "400 wrong"),
    ];
    for (arguments, asked) in [
        (&["run", "--dry-run"][..], "POST /collect?dry_run=1"),
        (&["check"], "GET /check"),
        (&["check", "--online"], "GET /check?online=1"),
        (&["check", "--json"], "GET /check?format=json"),
        (
            &["check", "--online", "--json"],
            "GET /check?online=1&format=json",
        ),
        (
            &[
                "backfill",
                "--from",
                "2026-03-01",
                "--to",
                "2026-03-02T10:00",
            ],
            "POST /backfill?from=2026-03-01&to=2026-03-02T10%3A00&calls=1",
        ),
        (&["backfill", "--cancel"], "DELETE /backfill?"),
    ] {
        let mut command = command(&setup, arguments, &answers);
        let ran = ran(command.env("RUST_LOG", "component=info").output().unwrap());
        let line = format!("asked {asked}\n");
        assert!(ran.err.contains(&line), "{arguments:?}: {}", ran.err);
    }
    let lines = run(&setup, &["run", "--dry-run"], &answers);
    assert_eq!((lines.code, lines.out.as_str()), (0, "a.b 1 2\n"));
}

#[test]
fn c18_check_finds_what_the_manifest_contradicts() {
    let setup = Setup::new("");
    let every_15 = fs::read_to_string(&setup.manifest)
        .unwrap()
        .replace("0 0 0 1 1 *", "0 */15 * * * *");
    fs::write(&setup.manifest, every_15).unwrap();
    let check = |facts: &str| {
        let answer = format!("200 {facts}");
        let variables = [
            ("check", answer.as_str()),
            ("host", "https://io.catchpoint.com"),
        ];
        let ran = run(&setup, &["check"], &variables);
        assert_eq!(ran.out.trim(), facts);
        (ran.code, ran.err)
    };
    let good = r#"{"catchpoint": "https://io.catchpoint.com", "run_every_minutes": 15, "run_deadline_seconds": 600}"#;
    assert_eq!(check(good), (0, String::new()));
    assert_eq!(check("an older component's words").0, 0);
    let (code, said) = check(
        r#"{"catchpoint": "https://other.example", "run_every_minutes": 5, "run_deadline_seconds": 900}"#,
    );
    assert_eq!(code, 64);
    insta::assert_snapshot!(said, @"");
    // A configuration that is wrong by itself.
    let wrong = run(
        &setup,
        &["check"],
        &[("check", "400 config.yaml:3:1: wrong")],
    );
    assert_eq!(
        (wrong.code, wrong.err.as_str()),
        (64, "config.yaml:3:1: wrong\n")
    );
    let failed = run(&setup, &["check", "--online"], &[("check", "502 no token")]);
    assert_eq!((failed.code, failed.out.as_str()), (1, "no token\n"));
}

#[test]
fn backfill_asks_until_it_is_finished() {
    let setup = Setup::new("");
    let range = ["backfill", "--from", "2026-03-01", "--to", "2026-03-02"];
    let progress = |fields: &str| {
        format!("{{\"done_until\": null, \"waits_for\": null, \"continue_at\": null, {fields}}}")
    };
    let backfill = |answer: String, flags: &[&str]| {
        let arguments = [&range, flags].concat();
        run(&setup, &arguments, &[("backfill", &answer)])
    };
    let report = "\"report\": {\"lines_accepted\": 7, \"failures\": []}";
    let done = progress(&format!(
        "\"total\": 200, \"done\": 200, \"finished\": true, {report}"
    ));
    let ran = backfill(format!("200 {done}"), &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "100 %  \n"));
    assert_eq!(
        ran.out,
        "100 % of the range fetched; 7 lines delivered to the relay\n"
    );

    let failure =
        r#"{"what": "ranged call", "tests": [7], "cause": "HTTP 500", "hint": "none needed"}"#;
    let failed = progress(&format!(
        "\"total\": 200, \"done\": 50, \"finished\": false, \"report\": {{\"failures\": [{failure}]}}"
    ));
    let ran = backfill(format!("502 {failed}"), &["--quiet"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.err, @"");

    let limited = done
        .replace("\"finished\": true", "\"finished\": false")
        .replace(
            "\"waits_for\": null, \"continue_at\": null",
            "\"waits_for\": \"hour\", \"continue_at\": \"2099-01-01T00:00:00Z\"",
        );
    let ran = backfill(format!("200 {limited}"), &["--no-wait"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("the API's limits leave no calls now"),
        "{}",
        ran.err
    );
}

#[test]
fn log_lines_have_a_time_a_level_and_no_color() {
    let setup = Setup::new("");
    let logged = [("check", "do log?WARN trouble ahead")];
    let text = run(&setup, &["check"], &logged).err;
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(
        time.parse::<chrono::DateTime<chrono::Utc>>().is_ok(),
        "{text}"
    );
    assert_eq!(rest.lines().next().unwrap().trim(), "WARN trouble ahead");
    let json = run(&setup, &["check", "--log-format", "json"], &logged).err;
    let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&line["level"], &line["message"]),
        (&"WARN".into(), &"trouble ahead".into())
    );
    assert!(line["timestamp"].is_string());
    assert_eq!(run(&setup, &["check", "--quiet"], &logged).err, "");
}

/// A proxy that answers plain requests itself, and connects CONNECT to `port` of this machine.
async fn proxy(port: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = heads.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    assert!(stream.read_buf(&mut head).await.unwrap() > 0);
                }
                let head = String::from_utf8(head).unwrap();
                let connect = head.starts_with("CONNECT");
                seen.lock().unwrap().push(head);
                if connect {
                    let mut target = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    stream
                        .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
                        .await
                        .unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut target).await;
                } else {
                    let answer =
                        b"HTTP/1.1 407 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (address, heads)
}

/// The answer of a guest that fetches `url`, in this environment.
async fn fetched(setup: &Setup, url: &str, environment: &BTreeMap<&str, String>) -> String {
    let origin = url.trim_end_matches("/x");
    let told = format!("do fetch?{url}");
    let mut command = command(
        setup,
        &["check", "--ca-file", "ca.pem"],
        &[("check", &told), ("host", origin)],
    );
    command.envs(environment);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ran = ran(output.await.unwrap());
    format!("{}{}", ran.out, ran.err)
}

#[tokio::test]
async fn c16_requests_go_through_the_proxies_of_the_environment() {
    let setup = Setup::new("");
    let (pem, acceptor) = certificate("io.catchpoint.test");
    fs::write(setup.folder.path().join("ca.pem"), pem).unwrap();
    let port = tls_server(acceptor).await;
    let (address, heads) = proxy(port).await;
    let proxies = |name, value: &str| BTreeMap::from([(name, value.to_owned())]);

    let https = proxies("HTTPS_PROXY", &format!("http://user:pass@{address}"));
    let answer = fetched(&setup, "https://io.catchpoint.test/x", &https).await;
    assert!(answer.starts_with("202 ok"), "{answer}");
    let connect = "CONNECT io.catchpoint.test:443 HTTP/1.1\r\nhost: io.catchpoint.test:443\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n";
    assert_eq!(heads.lock().unwrap().drain(..).next().unwrap(), connect);

    let http = proxies("http_proxy", &address);
    let answer = fetched(&setup, "http://relay.test:2080/x", &http).await;
    assert!(answer.starts_with("407"), "{answer}");
    let head = heads.lock().unwrap().drain(..).next().unwrap();
    assert!(
        head.starts_with("POST http://relay.test:2080/x HTTP/1.1\r\nhost: relay.test:2080\r\n"),
        "{head}"
    );

    // Not for this machine, nor for what NO_PROXY names.
    let mut without = proxies("ALL_PROXY", &address);
    without.insert("NO_PROXY", "invalid".to_owned());
    for url in [
        &format!("https://localhost:{port}/x"),
        "http://relay.invalid/x",
    ] {
        let answer = fetched(&setup, url, &without).await;
        assert!(answer.contains("ErrorCode"), "{answer}");
    }
    assert!(heads.lock().unwrap().is_empty());

    let gone = proxies("HTTPS_PROXY", "http://127.0.0.1:1");
    let answer = fetched(&setup, "https://io.catchpoint.test/x", &gone).await;
    assert!(
        answer.contains("cannot connect to the proxy 127.0.0.1:1"),
        "{answer}"
    );
}
