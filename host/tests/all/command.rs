//! The binary's commands that end by themselves: exit codes and what they print. The guest answers
//! as the component does.

use crate::support::{Ran, Setup};

/// The binary's end when the guest answers `path` so.
fn run(arguments: &str, path: &str, answer: &str) -> Ran {
    Setup::new().variable(path, answer).run(arguments)
}

#[test]
fn bad_usage_is_64() {
    let setup = Setup::new();
    for arguments in [
        "nonsense",
        "run --deadline 0",
        "backfill",
        "check --manifest gone.toml",
        "check --config gone",
        "check --ca-file spin.toml",
        "",
    ] {
        let ran = setup.run(arguments);
        assert_eq!(ran.code, 64, "{arguments} {}", ran.err);
    }
    assert_eq!(setup.run("--version").code, 0);
    let mut check = setup.command(&["check"]);
    check.env("SPIN_VARIABLE_RELAY_ULR", "x");
    let said = Ran::from(check.output().unwrap()).err;
    assert!(said.contains("SPIN_VARIABLE_RELAY_ULR is set"), "{said}");
}

#[test]
fn c17_run_has_an_exit_code_for_each_outcome() {
    let good = "200 {\"outcome\": \"ok\", \"samples\": 3}";
    let busy = "another run is under way";
    let wrong = "config.yaml:3:1: wrong";
    let odd = "error: the component answered 500 Internal Server Error: odd";
    for (answer, code, said) in [
        (good, 0, ""),
        ("200 {\"outcome\": \"partial\"}", 2, ""),
        ("502 {\"outcome\": \"failed\"}", 1, ""),
        (
            "409 {\"outcome\": \"skipped\", \"notes\": [\"another run is under way\"]}",
            0,
            busy,
        ),
        ("400 config.yaml:3:1: wrong", 64, wrong),
        ("500 odd", 1, odd),
    ] {
        let ran = run("run", "collect", answer);
        assert_eq!((ran.code, ran.err.trim()), (code, said), "{answer}");
    }
    for (arguments, out) in [
        ("run", "outcome  ok\nsamples  3\n"),
        ("run --quiet", ""),
        (
            "run --quiet --json",
            "{\"outcome\": \"ok\", \"samples\": 3}\n",
        ),
    ] {
        assert_eq!(run(arguments, "collect", good).out, out, "{arguments}");
    }
}

#[test]
fn flags_are_passed_to_the_component() {
    let setup = Setup::new()
        .variable("collect", "200 a.b 1 2\n# run=1 outcome=ok")
        .variable("check", "200 fine")
        .variable("tests", "200 id")
        .variable("backfill", "400 wrong");
    let range = "POST /backfill?from=2026-03-01&to=2026-03-02T10%3A00&calls=1";
    for (arguments, asked) in [
        ("run --dry-run", "POST /collect?dry_run=1"),
        ("check", "GET /check"),
        ("check --online", "GET /check?online=1"),
        ("tests", "GET /tests"),
        ("tests --json", "GET /tests?format=json"),
        ("check --json", "GET /check?format=json"),
        ("check --online --json", "GET /check?online=1&format=json"),
        ("backfill --from 2026-03-01 --to 2026-03-02T10:00", range),
        ("backfill --cancel", "DELETE /backfill"),
    ] {
        let split: Vec<&str> = arguments.split(' ').collect();
        let mut command = setup.command(&split);
        let ran = Ran::from(command.env("RUST_LOG", "component=debug").output().unwrap());
        let line = format!("asked {asked}\n");
        assert!(ran.err.contains(&line), "{arguments}: {}", ran.err);
    }
    let lines = setup.run("run --dry-run");
    let said = (lines.code, lines.out.as_str(), lines.err.as_str());
    assert_eq!(said, (0, "a.b 1 2\n", "run=1 outcome=ok\n"));
    // Without a network, without a list.
    let failed = run(
        "tests",
        "tests",
        "502 the host name is not known\n  help: check it",
    );
    assert_eq!(failed.err, "the host name is not known\n  help: check it\n");
    assert_eq!((failed.code, failed.out.as_str()), (1, ""));
}

/// The report is on standard output, so the log does not repeat it.
#[test]
fn run_says_its_result_once_and_what_it_waits_for() {
    let failed = "WARN run=1 outcome=failed | no token";
    let good = "INFO run=1 outcome=ok";
    let check = |command: &str, line: &str, expect: bool| {
        let (name, _) = command.split_once(' ').unwrap_or((command, ""));
        let variable = if name == "run" { "collect" } else { name };
        let setup = Setup::new().variable(variable, &format!("do log?{line}"));
        assert_eq!(
            setup.run(command).err.contains(line),
            expect,
            "{command}: {line}"
        );
    };
    check("check", failed, true);
    check("check", good, false);
    check("run", failed, false);
    check("run", good, false);
    for line in ["WARN the store is busy", "INFO waiting: no calls"] {
        check("run", line, true);
        check("check", line, true);
        check("run --quiet", line, false);
    }
}

#[test]
fn c18_check_finds_what_the_manifest_contradicts() {
    let check = |answer: &str| {
        let setup = Setup::new().replace("0 0 0 1 1 *", "0 */15 * * * *");
        let ran = setup
            .variable("check", &format!("200 {answer}"))
            .run("check");
        assert_eq!(ran.out.trim(), answer);
        (ran.code, ran.err)
    };
    let good = r#"{"ok": true, "facts": {"run_every_minutes": 15, "run_deadline_seconds": 600}}"#;
    assert_eq!(check(good), (0, String::new()));
    assert_eq!(check("words of another version").0, 0);
    let bad = good.replace("15", "5").replace("600", "900");
    let (code, said) = check(&bad);
    assert_eq!(code, 64);
    insta::assert_snapshot!(said, @r#"
    spin.toml: cron_expression = "0 */15 * * * *" fires every 15 min, but run_every_minutes in config_catchpoint.yaml is 5: make them equal
    run_deadline_seconds is 900, but a run is stopped after 900 s: lower it, or raise --deadline
    "#);
    // A configuration that is wrong by itself, and a check of the world that fails.
    let wrong = run("check", "check", "400 config.yaml:3:1: wrong");
    let said = (wrong.code, wrong.err.as_str());
    assert_eq!(said, (64, "config.yaml:3:1: wrong\n"));
    let failed = run("check --online", "check", "502 no token");
    assert_eq!((failed.code, failed.out.as_str()), (1, "no token\n"));
}

#[test]
fn backfill_asks_until_it_is_finished() {
    let backfill = |status: u16, fields: &str, flags: &str| {
        let rest = "\"done_until\": null, \"total\": 200";
        let answer = format!("{status} {{{fields}, {rest}}}");
        let arguments = format!("backfill --from 2026-03-01 --to 2026-03-02 {flags}");
        run(&arguments, "backfill", &answer)
    };
    let report = "\"report\": {\"lines_accepted\": 7, \"failures\": []}";
    let done = format!("\"done\": 200, \"finished\": true, {report}");
    let ran = backfill(200, &done, "");
    let told = "100 % of the range fetched; 7 lines delivered to the relay\n";
    assert_eq!(
        (ran.code, ran.err.as_str(), ran.out.as_str()),
        (0, "100 %\n", told)
    );

    let failed = r#""done": 50, "finished": false, "report": {"failures":
        [{"what": "ranged call", "tests": [7], "cause": "HTTP 500", "hint": "none needed"}]}"#;
    let ran = backfill(502, failed, "--quiet");
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.err, @"
    ranged call of tests 7: HTTP 500; none needed
    nothing can be fetched now; the regular runs continue with the range; repeat the command to continue now, with --cancel to end it
    ");

    let wait = "\"waits_for\": \"hour\", \"continue_at\": \"2099-01-01T00:00:00Z\"";
    let limited = format!("\"done\": 200, \"finished\": false, {wait}, {report}");
    let ran = backfill(200, &limited, "--no-wait");
    assert_eq!(ran.code, 1);
    let expect = "the API's limits leave no calls now";
    assert!(ran.err.contains(expect), "{}", ran.err);
}

#[test]
fn log_lines_are_whole_and_have_a_time_a_level_and_no_color() {
    let printed = Setup::new().variable("check", "do print?half").run("check");
    for line in ["WARN half\n", "WARN !\n"] {
        assert!(printed.err.contains(line), "{}", printed.err);
    }
    let setup = Setup::new().variable("check", "do log?WARN trouble ahead");
    let text = setup.run("check").err;
    let (time, rest) = text.split_once(' ').unwrap();
    let time = time.parse::<chrono::DateTime<chrono::Utc>>();
    assert!(time.is_ok(), "{text}");
    assert_eq!(rest.lines().next().unwrap().trim(), "WARN trouble ahead");
    let json = setup.run("check --log-format json").err;
    let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    let said = (&line["level"], &line["message"]);
    assert_eq!(said, (&"WARN".into(), &"trouble ahead".into()));
    assert!(line["timestamp"].is_string());
    assert_eq!(setup.run("check --quiet").err, "");
}
