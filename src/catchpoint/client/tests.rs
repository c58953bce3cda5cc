use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::catchpoint::error::Split;
use crate::config::{Settings, Source};
use crate::host::Headers;
use crate::state::Priority;

/// A Catchpoint that gives the answers of a list.
struct Scripted {
    yaml: String,
    answers: RefCell<VecDeque<Answer>>,
    asked: RefCell<Vec<String>>,
    now: Cell<DateTime<Utc>>,
    state: RefCell<HashMap<String, Vec<u8>>>,
}

#[derive(Clone)]
struct Answer(u16, Vec<(&'static str, String)>, Vec<u8>);

const TOKEN: &str = r#"{"access_token":"t","expires_in":1800}"#;
const EMPTY: &str = r#"{"start":"2026-03-01T11:45:00Z","end":"2026-03-01T12:00:00Z"}"#;

fn answer(status: u16, body: impl AsRef<[u8]>) -> Answer {
    Answer(status, Vec::new(), body.as_ref().to_vec())
}

fn with(status: u16, name: &'static str, value: &str, body: &str) -> Answer {
    Answer(status, vec![(name, value.to_owned())], body.into())
}

fn scripted(yaml: &str, answers: Vec<Answer>) -> Scripted {
    Scripted {
        yaml: format!(
            "client_id: a\nclient_secret: b\napi_key: k\ntest_ids: {{ web: [1, 2] }}\n{yaml}"
        ),
        answers: RefCell::new(answers.into()),
        asked: RefCell::default(),
        now: Cell::new("2026-03-01T12:00:00Z".parse().unwrap()),
        state: RefCell::default(),
    }
}

impl Scripted {
    /// Asks once and returns the outcome, and what the calls were.
    fn fetch(&self, query: &Query) -> Result<Fetched, CallError> {
        self.pages(query).map(|mut pages| pages.pop().unwrap())
    }

    fn pages(&self, query: &Query) -> Result<Vec<Fetched>, CallError> {
        self.with_client(|client| {
            let mut pages: Vec<Fetched> = Vec::new();
            loop {
                let next = pages.last().and_then(|page| page.next.clone());
                if !pages.is_empty() && next.is_none() {
                    return Ok(pages);
                }
                pages.push(client.fetch_page(query, next.as_ref())?);
            }
        })
    }

    fn with_client<T>(&self, work: impl FnOnce(&mut Client<'_>) -> T) -> T {
        let settings = Settings::load(self).unwrap_or_else(|problems| panic!("{problems}"));
        let deadline = Duration::from_secs(600);
        let lease = Rc::new(Lease::take(self, "run", Priority::Run).unwrap());
        let deadline = self.now.get() + deadline;
        let mut client = Client::new(self, &settings.catchpoint, lease, deadline);
        work(&mut client)
    }

    /// The kind of error, and the paths that were asked for.
    fn failure(&self, query: &Query) -> (Kind, Call, String) {
        let error = self.fetch(query).err().unwrap();
        (error.kind, error.call, self.paths())
    }

    fn paths(&self) -> String {
        let asked = self.asked.borrow();
        let path = |url: &String| url.replace("https://io.catchpoint.com/", "");
        asked.iter().map(path).collect::<Vec<_>>().join(" ")
    }
}

impl Source for Scripted {
    fn file(&self, name: &str) -> std::io::Result<String> {
        let is_catchpoint = name == crate::config::catchpoint::FILE_NAME;
        Ok(if is_catchpoint {
            self.yaml.clone()
        } else {
            String::new()
        })
    }

    fn variable(&self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// A body that brings a byte a minute, and no end.
struct Dripping<'h>(&'h Scripted);

impl Read for Dripping<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.now.set(self.0.now.get() + Duration::from_secs(60));
        into[0] = b' ';
        Ok(1)
    }
}

impl Host for Scripted {
    fn send(&self, request: &Request<'_>) -> Result<Response<'_>, SendError> {
        self.asked.borrow_mut().push(request.url.to_owned());
        let is_token = request.body.is_some();
        let mut answers = self.answers.borrow_mut();
        let next_is_token = answers.front().is_some_and(|answer| answer.0 == 999);
        let Answer(status, headers, body) = match is_token && !next_is_token {
            true => answer(200, TOKEN),
            false => answers
                .pop_front()
                .unwrap_or_else(|| panic!("{}", request.url)),
        };
        let body: Box<dyn Read> = match body.as_slice() {
            b"dripping" => Box::new(Dripping(self)),
            _ => Box::new(std::io::Cursor::new(body)),
        };
        let status = if status == 999 { 404 } else { status };
        Ok(Response {
            status,
            headers: headers.into_iter().collect::<Headers>(),
            body,
        })
    }

    fn now(&self) -> DateTime<Utc> {
        self.now.get()
    }

    fn sleep(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    fn random(&self) -> u64 {
        0
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.state.borrow().get(key).cloned())
    }

    fn save(&self, key: &str, value: &[u8]) -> Result<(), String> {
        self.state
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn log(&self, _: Level, _: &str) {}
}

fn last_raw() -> Query {
    Query::LastRaw(vec![1, 2])
}

fn explorer() -> Query {
    let to = "2026-03-01T12:00:00Z"
        .parse::<DateTime<Utc>>()
        .unwrap()
        .timestamp();
    Query::Explorer(vec![1], TimeRange { from: to - 900, to })
}

const RAW: &str = "ui/api/v1/performance/raw?tests=1,2";
const GET_TOKEN: &str = "ui/api/token";

#[test]
fn c05_a_body_that_cannot_be_read_is_split_after_two_attempts() {
    let body = r#"{"start":null,"detail":{"fields":{},"items":[{"synthetic_metrics":[NaN]}]}}"#;
    let host = scripted("", vec![answer(200, body), answer(200, body)]);
    let error = host.fetch(&last_raw()).err().unwrap();
    assert_eq!(
        (error.kind, error.class().split),
        (Kind::Syntax, Split::Now)
    );
    let host = scripted("", vec![answer(200, "{\"start\":"), answer(200, EMPTY)]);
    assert!(host.fetch(&last_raw()).is_ok());
}

#[test]
fn c06_a_token_that_cannot_be_renewed_is_no_matter_of_tests() {
    let host = scripted("", vec![answer(401, ""), answer(999, "")]);
    let calls = format!("{GET_TOKEN} {RAW} {GET_TOKEN}");
    assert_eq!(
        host.failure(&last_raw()),
        (Kind::WrongPath, Call::Token, calls)
    );
    // A token that expired is renewed once.
    let host = scripted("", vec![answer(401, ""), answer(200, EMPTY)]);
    assert!(host.fetch(&last_raw()).is_ok());
    let host = scripted("", vec![answer(401, ""), answer(401, "")]);
    assert_eq!(host.failure(&last_raw()).0, Kind::Credentials);
}

#[test]
fn c07_a_wrong_path_is_tried_once() {
    let host = scripted("", vec![answer(404, "Not Found")]);
    let calls = format!("{GET_TOKEN} {RAW}");
    assert_eq!(
        host.failure(&last_raw()),
        (Kind::WrongPath, Call::Results, calls)
    );
}

#[test]
fn c08_a_limit_of_a_minute_is_waited_for_and_learned() {
    let text = "API calls quota exceeded! maximum admitted 10 per 1m.";
    let limited = with(429, "retry-after", "3", text);
    let host = scripted("", vec![limited, answer(200, EMPTY)]);
    let begun = host.now.get();
    host.with_client(|client| {
        assert!(client.fetch_page(&last_raw(), None).is_ok());
        let learned: Vec<_> = client
            .learned_limits()
            .iter()
            .map(|it| (it.window, it.most))
            .collect();
        assert_eq!(learned, [(60, 10)]);
        assert!(client.left_today() > 1000);
    });
    assert_eq!((host.now.get() - begun).num_seconds(), 3);
    // It is kept for the next run, and a lower limit in the configuration takes its place.
    let learned = |host: &Scripted| host.with_client(|client| client.learned_limits().len());
    host.state.borrow_mut().remove("lease");
    assert_eq!(learned(&host), 1);
    host.state.borrow_mut().remove("lease");
    let yaml = format!("{}limits: {{ per_minute: 5 }}\n", host.yaml);
    assert_eq!(learned(&Scripted { yaml, ..host }), 0);
}

#[test]
fn c08_a_days_quota_ends_the_day() {
    let text = "API calls quota exceeded! maximum admitted 2000 per 1d.";
    let host = scripted("", vec![with(429, "retry-after", "43200", text)]);
    host.with_client(|client| {
        let error = client.fetch_page(&last_raw(), None).err().unwrap();
        assert_eq!((error.kind, client.left_today()), (Kind::DayQuota, 0));
        let error = client.fetch_page(&last_raw(), None).err().unwrap();
        assert_eq!(
            (error.kind, error.limit.unwrap().0),
            (Kind::Budget, "per_day")
        );
    });
}

#[test]
fn c10_an_unknown_time_zone_is_an_error() {
    let body = r#"{"start":"2026-03-01T11:45:00","timezone":{"id":9,"name":"Pacific Time"},"detail":null}"#;
    let host = scripted("", vec![answer(200, body)]);
    let error = host.fetch(&last_raw()).err().unwrap();
    assert_eq!(error.kind, Kind::TimeZone);
    assert!(error.to_string().contains("Pacific Time"), "{error}");
    let body = r#"{"start":"2026-03-01T03:45:00","end":"2026-03-01T04:00:00","timezone":{"id":9,"name":"UTC-08:00"}}"#;
    let host = scripted("", vec![answer(200, body)]);
    let now = host.now.get().timestamp();
    let covered = host.fetch(&last_raw()).ok().unwrap().covered;
    assert_eq!((covered.from, covered.to), (now - 900, now));
}

/// A page of v2 with one row, and this after its items.
fn page(value: u32, rest: &str) -> Answer {
    let row = format!(
        r#"{{"dateTime":"2026-03-01T11:50:00","values":[{value}],"dimensions":[{{"type":{{"id":16}},"id":1}},{{"type":{{"id":1}},"id":2}}]}}"#
    );
    answer(
        200,
        format!(
            r#"{{"data":{{"responseItems":[{{"metrics":[{{"name":"A"}}],"items":[{row}]}}],{rest}}}}}"#
        ),
    )
}

const MORE: &str = r#""hasMore":true,"next":null"#;
const LAST: &str = r#""hasMore":false,"next":null"#;
const FIRST: &str = "api/v2/tests/explorer/raw?testIds=1&startTimeUtc=2026-03-01T11:45:00&endTimeUtc=2026-03-01T12:00:00&dimensionIds=16,1,6,90";

#[track_caller]
fn check_pages(answers: Vec<Answer>, expect: &[&str]) {
    let host = scripted("version: v2", answers);
    assert_eq!(host.pages(&explorer()).ok().unwrap().len(), expect.len());
    assert_eq!(host.paths(), expect.join(" "));
}

#[test]
fn c11_pages_are_found_by_next_by_number_or_not_at_all() {
    let second = &format!("{FIRST}&pageNumber=2");
    let third = &format!("{FIRST}&pageNumber=3");
    check_pages(vec![page(1, LAST)], &[FIRST]);
    check_pages(vec![page(1, MORE), page(2, LAST)], &[FIRST, second]);
    check_pages(
        vec![page(1, MORE), page(2, MORE), page(3, LAST)],
        &[FIRST, second, third],
    );
    // A page number has no effect: the same page comes again, or an empty one.
    check_pages(vec![page(1, MORE), page(1, MORE)], &[FIRST, second]);
    let empty = answer(200, format!(r#"{{"data":{{"responseItems":[],{MORE}}}}}"#));
    check_pages(vec![page(1, MORE), empty.clone()], &[FIRST, second]);
    check_pages(vec![empty], &[FIRST]);
    for next in [
        "/v2/tests/explorer/raw?p=2",
        "/api/v2/tests/explorer/raw?p=2",
        "https://io.catchpoint.com/api/v2/tests/explorer/raw?p=2",
        "v2/tests/explorer/raw?p=2",
        "?p=2",
        "p=2",
    ] {
        let more = format!(r#""hasMore":true,"next":"{next}""#);
        check_pages(
            vec![page(1, &more), page(2, LAST)],
            &[FIRST, "api/v2/tests/explorer/raw?p=2"],
        );
    }
    let more = r#""hasMore":true,"next":"/api/v4/other?p=2""#;
    check_pages(
        vec![page(1, more), page(2, LAST)],
        &[FIRST, "api/v4/other?p=2"],
    );
}

#[test]
fn c11_a_next_page_is_neither_elsewhere_nor_itself() {
    for next in [
        "https://evil.example/x?p=2",
        "//evil.example/x",
        "http://io.catchpoint.com/?p=2",
        "https://io.catchpoint.com.evil.example/?p=2",
    ] {
        let host = scripted(
            "version: v2",
            vec![page(1, &format!(r#""hasMore":true,"next":"{next}""#))],
        );
        assert_eq!(host.failure(&explorer()).0, Kind::Paging, "{next}");
    }
    let itself = format!(r#""hasMore":true,"next":"/{FIRST}""#);
    let host = scripted("version: v2", vec![page(1, &itself)]);
    assert_eq!(host.failure(&explorer()).0, Kind::Paging);
}

#[test]
fn c11_an_endpoint_may_have_a_query_of_its_own() {
    let settings = "version: v2\nexplorer_endpoint: api/v4/raw?dimensionIds=16,1&pageSize=9";
    let host = scripted(settings, vec![page(1, LAST)]);
    host.fetch(&explorer()).ok().unwrap();
    assert_eq!(
        host.paths(),
        "api/v4/raw?dimensionIds=16,1&pageSize=9&testIds=1&startTimeUtc=2026-03-01T11:45:00&endTimeUtc=2026-03-01T12:00:00"
    );
}

#[test]
fn c12_a_body_may_be_gzip_have_a_byte_order_mark_or_be_missing() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(EMPTY.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    for body in [
        gzip.clone(),
        [b"\xef\xbb\xbf", EMPTY.as_bytes()].concat(),
        EMPTY.replace("start", "st\u{e4}rt").into_bytes(),
    ] {
        let host = scripted("", vec![answer(200, body)]);
        assert!(host.fetch(&last_raw()).is_ok());
    }
    let host = scripted("", vec![answer(204, "")]);
    let fetched = host.fetch(&last_raw()).ok().unwrap();
    assert_eq!((fetched.page.rows(), fetched.next), (0, None));
    assert_eq!(fetched.covered.to, host.now.get().timestamp());
    let cut = &gzip[..gzip.len() / 2];
    let host = scripted("", vec![answer(200, cut), answer(200, cut)]);
    assert_eq!(host.failure(&last_raw()).0, Kind::Truncated);
    let host = scripted("", vec![with(302, "location", "https://x.example/", "")]);
    assert_eq!(host.failure(&last_raw()).0, Kind::Redirect);
}

#[test]
fn c14_an_endless_retry_after_ends_the_attempts() {
    let host = scripted("", vec![with(503, "retry-after", "9999999999999", "")]);
    assert_eq!(host.failure(&last_raw()).0, Kind::ServerError);
}

#[test]
fn c15_no_body_outlasts_the_run() {
    for status in [200, 502] {
        let host = scripted("", vec![answer(status, "dripping")]);
        let begun = host.now.get();
        let kind = host.failure(&last_raw()).0;
        assert!(
            matches!(kind, Kind::TimedOut | Kind::ServerError),
            "{kind:?}"
        );
        assert_eq!((host.now.get() - begun).num_minutes(), 10);
    }
}

#[test]
fn a_gap_of_several_tests_is_one_call_and_of_one_test_another() {
    let to = "2026-03-01T12:00:00Z"
        .parse::<DateTime<Utc>>()
        .unwrap()
        .timestamp();
    let range = TimeRange { from: to - 900, to };
    let times = "startTime=2026-03-01T11:45:00&endTime=2026-03-01T12:00:00";
    for (tests, expect) in [
        (vec![1], format!("ui/api/v1/performance/raw/1?{times}")),
        (
            vec![1, 2],
            format!("ui/api/v1/performance/raw?tests=1,2&{times}"),
        ),
    ] {
        let host = scripted("", vec![answer(400, "")]);
        let (kind, _, asked) = host.failure(&Query::Ranged(tests, range));
        assert_eq!(
            (kind, asked),
            (Kind::RangedRefused, format!("{GET_TOKEN} {expect}"))
        );
    }
}

#[test]
fn a_tokens_life_in_whatever_form_is_obeyed() {
    let used_for = |expires_in: &str| {
        let host = scripted("", Vec::new());
        let settings = Settings::load(&host).ok().unwrap();
        let body = format!(r#"{{"access_token":"a","expires_in":{expires_in},"error":null}}"#);
        let now = host.now.get();
        let token = Token::read(&body, &settings.catchpoint, now).ok().unwrap();
        let good =
            |seconds| token.is_good(&settings.catchpoint, now + Duration::from_secs(seconds));
        (0..5000).find(|seconds| !good(*seconds)).unwrap()
    };
    for (expires_in, seconds) in [
        ("1800", 1740),
        ("\"1800\"", 1740),
        ("1800.0", 1740),
        ("null", 840),
        ("-1", 840),
        ("1e300", 840),
        ("{}", 840),
        ("30", 0),
    ] {
        assert_eq!(used_for(expires_in), seconds, "{expires_in}");
    }
}
