//! The command build, for any WASI host: one collection, then exit.
//!
//! ```text
//! wasmtime run -S http --dir config::/config --dir state::/state \
//!     --env RELAY_URL=http://127.0.0.1:2080 catchpoint-graphite-command.wasm
//! ```
//!
//! Exit codes: 0 all good, 2 some tests failed, 1 nothing was delivered, 64 wrong usage or
//! configuration (1 instead of all these where the WASI host knows only success and failure, as
//! wasmtime's command line does). The report goes to stdout as JSON, the log to stderr.

/// What `--help` prints.
const USAGE: &str = "\
Collects Catchpoint results once and sends them to the relay.

Usage: catchpoint-graphite-command [COMMAND]

Commands:
  run [--dry-run]               collects once (without a command, too); --dry-run prints the lines
                                instead and changes nothing
  check [--online] [--json]     says what the configuration means; --online tries it
  backfill --from T --to T      requests a past time range and fetches what the limits allow now;
                                later runs fetch the rest
  backfill --cancel             cancels all requests
  tests [--json]                lists the tests that Catchpoint has: id, type, folder, name
  status                        prints the report of the last run
  --help, --version

Mount the configuration at /config and a folder for the state at /state. Variables such as RELAY_URL
come from the environment.
";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Command {
    /// Print this text and exit with this code.
    Print(String, u8),
    /// Ask the component: method, path and query.
    Ask(&'static str, String),
}

fn parse(args: &[&str]) -> Command {
    let ask = |method, path: &str| Command::Ask(method, path.to_owned());
    match args {
        [] | ["run"] => ask("POST", "/collect"),
        ["run", "--dry-run"] | ["--dry-run"] => ask("POST", "/collect?dry_run=1"),
        ["status"] => ask("GET", "/status"),
        ["check"] => ask("GET", "/check"),
        ["tests"] => ask("GET", "/tests"),
        ["tests", "--json"] => ask("GET", "/tests?format=json"),
        ["check", "--online"] => ask("GET", "/check?online=1"),
        ["check", "--json"] => ask("GET", "/check?format=json"),
        ["check", "--online", "--json"] | ["check", "--json", "--online"] => {
            ask("GET", "/check?online=1&format=json")
        }
        ["backfill", "--cancel"] => ask("DELETE", "/backfill"),
        ["backfill", "--from", from, "--to", to] | ["backfill", "--to", to, "--from", from] => {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("from", from)
                .append_pair("to", to)
                // As many as the limits and the run's time allow.
                .append_pair("calls", &u32::MAX.to_string())
                .finish();
            Command::Ask("POST", format!("/backfill?{query}"))
        }
        _ if args
            .iter()
            .any(|arg| matches!(*arg, "--help" | "-h" | "help")) =>
        {
            Command::Print(USAGE.to_owned(), 0)
        }
        ["--version" | "-V"] => Command::Print(format!("{}\n", env!("CARGO_PKG_VERSION")), 0),
        _ => {
            let given = args.join(" ");
            Command::Print(format!("`{given}` is not a command\n\n{USAGE}"), 64)
        }
    }
}

#[cfg(target_family = "wasm")]
fn main() -> std::process::ExitCode {
    use std::io::Write;

    use catchpoint_graphite::host::wasi::Wasi;
    use catchpoint_graphite::http_api;

    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (text, code) = match parse(&args) {
        Command::Print(text, code) => (text, code),
        Command::Ask(method, path) => {
            let answer = http_api::serve_trusted(&Wasi, method, &path);
            let (mut body, code) = (answer.body, answer.exit_code);
            if path.ends_with("dry_run=1") && code != 64 {
                // Behind the lines for Graphite stands the summary, which is none. It begins where a
                // line ends, and so at a whole character.
                let at = body.trim_end().rfind('\n').map_or(0, |at| at + 1);
                let _ = write!(std::io::stderr(), "{}", body.split_off(at));
            }
            (body, code)
        }
    };
    // A closed stdout or stderr is no reason to fail: `println!` would panic.
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let _ = if code == 64 {
        write!(std::io::stderr(), "{text}{end}")
    } else {
        write!(std::io::stdout(), "{text}{end}")
    };
    std::process::ExitCode::from(code)
}

#[cfg(not(target_family = "wasm"))]
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    eprintln!("this program is built for wasm32-wasip2: cargo xtask build");
    eprintln!("it would do: {:?}", parse(&args));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(args: &str, expect: Result<&str, u8>) {
        let args: Vec<&str> = args.split_whitespace().collect();
        match (parse(&args), expect) {
            (Command::Ask(method, path), Ok(expect)) => {
                assert_eq!(format!("{method} {path}"), expect);
            }
            (Command::Print(_, code), Err(expect)) => assert_eq!(code, expect),
            (found, expect) => panic!("{found:?} is not {expect:?}"),
        }
    }

    #[test]
    fn arguments_are_obeyed_and_help_collects_nothing() {
        check("", Ok("POST /collect"));
        check("run", Ok("POST /collect"));
        check("run --dry-run", Ok("POST /collect?dry_run=1"));
        check("check --online", Ok("GET /check?online=1"));
        check("tests --json", Ok("GET /tests?format=json"));
        check("backfill --cancel", Ok("DELETE /backfill"));
        check(
            "backfill --from 2026-03-01 --to 2026-03-02T00:00:00+01:00",
            Ok(
                "POST /backfill?from=2026-03-01&to=2026-03-02T00%3A00%3A00%2B01%3A00&calls=4294967295",
            ),
        );
        check("--help", Err(0));
        check("run --help", Err(0));
        check("--version", Err(0));
        check("collect", Err(64));
        check("run --dryrun", Err(64));
        check("backfill --from 2026-03-01", Err(64));
    }
}
