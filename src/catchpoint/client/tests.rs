mod paging;
mod scripted;

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::catchpoint::error::Split;
use crate::config::Settings;
use crate::time_range::TimeRange;
use scripted::*;

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

/// Where the clocks differ, a reset may lie in the past. The call is not made again at once.
#[test]
fn c08_a_reset_in_the_past_is_no_wait() {
    let past = with(429, "x-rate-limit-reset", "2026-03-01T11:59:00Z", "");
    let host = scripted("", vec![past.clone(), past, answer(200, EMPTY)]);
    let begun = host.now.get();
    assert!(host.fetch(&last_raw()).is_ok());
    assert!((host.now.get() - begun).num_seconds() >= 7);
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
    let fetched = host.fetch(&last_raw()).ok().unwrap();
    let covered = last_raw().covered(fetched.page.answer.span, None, fetched.sent);
    assert_eq!((covered.from, covered.to), (now - 900, now));
}

#[test]
fn c09_the_user_agent_is_the_configured_one() {
    let host = scripted("user_agent: curl/8.5.0", vec![answer(200, EMPTY)]);
    host.fetch(&last_raw()).ok().unwrap();
    assert_eq!(*host.agents.borrow(), ["curl/8.5.0", "curl/8.5.0"]);
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
    assert_eq!(fetched.sent, host.now.get().timestamp());
    let brotli = with(200, "content-encoding", "br", "x");
    let host = scripted("", vec![brotli.clone(), brotli]);
    assert_eq!(host.failure(&last_raw()).0, Kind::Syntax);
    let cut = &gzip[..gzip.len() / 2];
    let host = scripted("", vec![answer(200, cut), answer(200, cut)]);
    assert_eq!(host.failure(&last_raw()).0, Kind::Truncated);
    let host = scripted("", vec![with(302, "location", "https://x.example/", "")]);
    assert_eq!(host.failure(&last_raw()).0, Kind::Redirect);
}

#[test]
fn c12_the_body_of_a_failure_may_be_gzip() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let text = r#"{"Message":"API calls quota exceeded! maximum admitted 2000 per 1d."}"#;
    gzip.write_all(text.as_bytes()).unwrap();
    let host = scripted("", vec![answer(429, gzip.finish().unwrap())]);
    assert_eq!(host.failure(&last_raw()).0, Kind::DayQuota);
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

/// A gateway may quote the request that it refuses.
#[test]
fn no_failure_shows_a_credential_that_the_answer_quotes() {
    let quotes = r#"{"message":"Bearer hunter2/hunter2, client_secret=hunter2%2Fhunter2, aHVudGVyMi9odW50ZXIy"}"#;
    let stored = r#"{"access_token":"hunter2/hunter2","expires":"2026-03-01T13:00:00Z","url":"https://io.catchpoint.com/ui/api/token"}"#;
    for (version, query, status, state) in [
        ("version: v2", explorer(), 403, "null"),
        ("version: v2", explorer(), 200, "null"),
        ("version: v1", last_raw(), 999, "null"),
        ("version: v1", last_raw(), 400, stored),
    ] {
        let mut host = scripted(version, vec![answer(status, quotes)]);
        host.state
            .borrow_mut()
            .insert("token".to_owned(), state.into());
        host.yaml = host.yaml.replace("secret: b", "secret: hunter2/hunter2");
        host.yaml = host.yaml.replace("key: k", "key: hunter2/hunter2");
        let error = host.fetch(&query).err().unwrap();
        let words = error.to_string();
        assert!(
            words.contains("***") && !words.contains("hunter2"),
            "{words}"
        );
        let is_shown = words.contains("aHVudGVyMi9odW50ZXIy");
        assert_eq!(is_shown, state == "null", "{words}");
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
