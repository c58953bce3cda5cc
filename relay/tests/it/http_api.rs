//! docs/relay-http.md: each of its examples is run, and gets the answer that it shows.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catchpoint_graphite_relay::api::response::Outcome;
use catchpoint_graphite_relay::lines::Reason;
use catchpoint_testbed::{Conduct, StandIn, port};
use serde_json::Value;
use strum::VariantNames as _;

use crate::common::*;

const PAGE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/relay-http.md"
));

/// A request of the page, its answer, and what the relay is like, by a word; none for a usual one with
/// a token.
struct Example {
    relay: &'static str,
    request: &'static str,
    response: &'static str,
}

fn examples() -> Vec<Example> {
    let mut parts = PAGE.split("```http ").skip(1).map(|part| {
        let (kind, text) = part.split_once('\n').unwrap();
        (kind, text.split_once("```").unwrap().0)
    });
    let mut examples = Vec::new();
    while let Some((kind, request)) = parts.next() {
        let (answer, response) = parts.next().unwrap();
        assert_eq!(answer, "response");
        examples.push(Example {
            relay: kind.strip_prefix("request").unwrap().trim(),
            request,
            response,
        });
    }
    examples
}

/// The request as it is sent.
fn request(text: &str) -> Vec<u8> {
    let now = SystemTime::now();
    let later = now + Duration::from_secs(13 * 3600);
    let seconds = later.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let text = text
        .replace("{date}", &httpdate::fmt_http_date(now))
        .replace("{date in 13 hours}", &httpdate::fmt_http_date(later))
        .replace("{time in 13 hours}", &seconds.to_string())
        .replace("{100 more fields}", &vec!["X-More: x"; 100].join("\n"));
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let mut head = head.replace('\n', "\r\n");
    if !body.is_empty() && !head.contains("Content-Length") {
        head += &format!("\r\ncontent-length: {}", body.len());
    }
    if !head.contains("Content-Length") {
        head += "\r\nconnection: close";
    }
    format!("{head}\r\n\r\n{body}").into_bytes()
}

/// Whether a value is as shown, where `…` stands for anything.
fn is_as_shown(value: &Value, shown: &Value) -> bool {
    match (value, shown) {
        (_, Value::String(any)) if any == "…" => true,
        (Value::Object(value), Value::Object(shown)) => {
            value.len() == shown.len()
                && value.iter().all(|(key, value)| {
                    shown
                        .get(key)
                        .is_some_and(|shown| is_as_shown(value, shown))
                })
        }
        _ => value == shown,
    }
}

fn run(addr: SocketAddr, example: &Example) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(&request(example.request)).unwrap();
    // Its body is not as long as it says, and who reads the answer can close.
    if example.request.contains("Content-Length") {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let answer = read_answer(&mut stream).unwrap();
    let shown = |what: &str| {
        format!(
            "{what} of\n{}\n{}\n{}",
            example.request, answer.head, answer.body
        )
    };
    let (head, body) = example.response.split_once("\n\n").unwrap();
    let mut head = head.lines();
    let status = head.next();
    assert_eq!(
        answer.head.lines().next(),
        status,
        "{}",
        shown("the status")
    );
    for line in head {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(answer.header(name), Some(value), "{}", shown("a header"));
    }
    match serde_json::from_str::<Value>(body) {
        Ok(body) => assert!(is_as_shown(&answer.json(), &body), "{}", shown("the body")),
        Err(_) if body.trim() == "…" => {}
        Err(_) => assert_eq!(answer.body, body, "{}", shown("the body")),
    }
}

#[test]
fn the_examples_are_true() {
    let dir = tempfile::tempdir().unwrap();
    let examples = examples();
    let run_all = |name: &str, addr: SocketAddr| {
        let of_relay = || examples.iter().filter(|example| example.relay == name);
        assert!(of_relay().count() > 0, "{name}");
        of_relay().for_each(|example| run(addr, example));
    };
    let carbon = StandIn::start(Conduct::Read).unwrap();
    let settings = |name: &str| settings(&dir.path().join(name), carbon.addr());

    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "a-token-of-the-token-file").unwrap();
    let mut with_tokens = settings("usual");
    with_tokens.token_file = Some(tokens);
    let relay = Inner::start(with_tokens);
    run_all("", relay.addr);
    relay.stop();

    let relay = Inner::start(settings("tokenless"));
    run_all("tokenless", relay.addr);
    relay.relay().refuse();
    run_all("stopping", relay.addr);

    let mut impatient = settings("impatient");
    impatient.timeouts.body_piece = Duration::from_millis(100);
    let relay = Inner::start(impatient);
    // Whoever ends the connection has not been slow.
    let late = examples
        .iter()
        .find(|example| example.relay == "impatient")
        .unwrap();
    let mut stream = TcpStream::connect(relay.addr).unwrap();
    stream.write_all(&request(late.request)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = read_answer(&mut stream).unwrap();
    assert_eq!(answer.head.lines().next(), late.response.lines().next());
    assert!(
        late.response
            .contains(answer.json()["error"].as_str().unwrap())
    );

    let mut full = settings("full");
    full.carbon_port = port::free().unwrap().port();
    full.limits.max_bytes = 1;
    run_all("full", Inner::start(full).addr);

    let disk = TestDisk::new(Conditions::default());
    let relay = Inner::start_on(settings("broken-disk"), disk.clone());
    disk.change(Conditions {
        fails: true,
        ..Conditions::default()
    });
    run_all("broken-disk", relay.addr);

    let mut crowded = settings("crowded");
    crowded.body_room_bytes = 0;
    run_all("crowded", Inner::start(crowded).addr);

    let disk = TestDisk::new(Conditions {
        waits: true,
        ..Conditions::default()
    });
    let mut starting = settings("starting");
    let addr = port::free().unwrap();
    starting.listen = vec![addr];
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| Inner::start_on(starting, disk.clone()));
        until("the server", || TcpStream::connect(addr).ok());
        run_all("starting", addr);
        disk.change(Conditions::default());
        relay.join().unwrap();
    });
    let known = "tokenless stopping impatient full broken-disk crowded starting";
    let is_known = |name: &str| name.is_empty() || known.split(' ').any(|one| one == name);
    assert!(examples.iter().all(|example| is_known(example.relay)));
}

#[test]
fn the_page_has_each_reason_and_outcome() {
    let names = Reason::VARIANTS.iter().chain(Outcome::VARIANTS);
    // The answer for the whole post says so.
    for name in names.filter(|name| **name != "clocks_differ") {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
}
