//! docs/relay-http.md: each of its examples is run, and gets the answer that it shows; and what the
//! page says of keys.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catchpoint_graphite_relay::api::response::{Refusal, STORED};
use catchpoint_graphite_relay::config::Settings;
use catchpoint_graphite_relay::lines::Reason;
use catchpoint_testbed::port;
use serde_json::Value;
use strum::VariantNames as _;

use crate::common::*;

const PAGE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/relay-http.md"
));

/// When a body counts as late where the relay is impatient.
const LATE: Duration = Duration::from_millis(100);

/// A request of the page, and its answer.
struct Example {
    request: &'static str,
    response: &'static str,
}

/// The examples, by a word for what the relay is like; none for a usual one with a token.
fn examples() -> BTreeMap<&'static str, Vec<Example>> {
    let mut parts = PAGE.split("```http ").skip(1).map(|part| {
        let (kind, text) = part.split_once('\n').unwrap();
        (kind, text.split_once("```").unwrap().0)
    });
    let mut examples: BTreeMap<_, Vec<_>> = BTreeMap::new();
    while let Some((kind, request)) = parts.next() {
        let (answer, response) = parts.next().unwrap();
        assert_eq!(answer, "response");
        let relay = kind.strip_prefix("request").unwrap().trim();
        let of_relay = examples.entry(relay).or_default();
        of_relay.push(Example { request, response });
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
        // Not before the relay has found it late, if that is what it is to find.
        std::thread::sleep(LATE * 3);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let answer = read_answer(&mut stream).unwrap();
    let shown = format!("{}\n{}\n{}", example.request, answer.head, answer.body);
    let (head, body) = example.response.split_once("\n\n").unwrap();
    let mut head = head.lines();
    assert_eq!(answer.head.lines().next(), head.next(), "{shown}");
    for line in head {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(answer.header(name), Some(value), "{shown}");
    }
    match serde_json::from_str::<Value>(body) {
        Ok(body) => assert!(is_as_shown(&answer.json(), &body), "{shown}"),
        Err(_) if body.trim() == "…" => {}
        Err(_) => assert_eq!(answer.body, body, "{shown}"),
    }
}

/// R9: the relay answers while its spool opens, too.
#[test]
fn r09_the_examples_are_true() {
    let dir = tempfile::tempdir().unwrap();
    let mut examples = examples();
    let mut run_all = |name: &str, addr: SocketAddr| {
        let of_relay = examples.remove(name).unwrap();
        of_relay.iter().for_each(|example| run(addr, example));
        examples.len()
    };
    let carbon = carbon();
    let start = |name: &str, change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(&dir.path().join(name), carbon.addr());
        change(&mut settings);
        Inner::start(settings)
    };
    let tokens = file(dir.path(), "tokens", "a-token-of-the-token-file");
    let relay = start("usual", &|it| it.token_file = Some(tokens.clone().into()));
    run_all("", relay.addr);
    let relay = start("impatient", &|it| it.timeouts.body_piece = LATE);
    run_all("impatient", relay.addr);
    let relay = start("full", &|it| {
        it.carbon_port = port::free().unwrap().port();
        it.limits.max_bytes = 1;
    });
    run_all("full", relay.addr);
    let relay = start("crowded", &|it| it.body_room_bytes = 0);
    run_all("crowded", relay.addr);
    let relay = start("tokenless", &|_| {});
    run_all("tokenless", relay.addr);
    relay.relay().refuse();
    run_all("stopping", relay.addr);

    let disk = TestDisk::new(Conditions {
        waits: true,
        ..Conditions::default()
    });
    let addr = port::free().unwrap();
    let mut starting = settings(&dir.path().join("starting"), carbon.addr());
    starting.listen = vec![addr];
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| Inner::start_on(starting, disk.clone()));
        until("the server", || TcpStream::connect(addr).ok());
        run_all("starting", addr);
        disk.change(Conditions::default());
        let _relay = relay.join().unwrap();
        assert_eq!(get(addr, "/readyz").status, 200);
        disk.change(Conditions {
            fails: true,
            ..Conditions::default()
        });
        assert_eq!(run_all("broken-disk", addr), 0, "all are run");
    });
}

#[test]
fn the_page_has_each_reason_and_outcome() {
    let names = Reason::VARIANTS.iter().chain(Refusal::VARIANTS);
    for name in names.chain(&STORED) {
        // The answer for the whole post says that clocks differ.
        let is_there = PAGE.contains(&format!("`{name}`")) || *name == "clocks_differ";
        assert!(is_there, "{name}");
    }
}

#[test]
fn a_key_posted_again_gets_the_first_answer() {
    let (relay, carbon, _dir) = start_with(|_| {});
    let key = [("idempotency-key", "collector-1/window-17")];
    let good = lines(1, 10);
    let text = format!("{}bad\n", body(&good));
    let first = post_with(relay.addr, &key, &text);
    assert_eq!(first.status, 202);
    relay.wait_delivered();
    assert_eq!(post_with(relay.addr, &key, &text).body, first.body);
    // Other lines under the same key are not taken for those.
    let other = lines(3, 5);
    let answer = post_with(relay.addr, &key, body(&other));
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["accepted"], 5);
    wait_all(&carbon, &[good, other].concat().into_iter().collect());
    relay.wait_delivered();
    assert_eq!(relay.content().confirmed.lines, 15);
}
