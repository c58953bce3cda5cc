use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::Cursor;

use super::*;
use crate::config::Source;
use crate::host::Response;
use crate::host::SendError;
use crate::state::Priority;

/// The headers and the length of a post.
type Post = (Vec<(&'static str, String)>, usize);

/// A relay that takes bodies up to a size, and answers a status to larger ones.
struct FakeRelay {
    url: &'static str,
    most: usize,
    otherwise: (u16, &'static str),
    /// The lines that it took, and the headers and length of every post.
    taken: RefCell<String>,
    posts: RefCell<Vec<Post>>,
    now: Cell<DateTime<Utc>>,
    state: RefCell<HashMap<String, Vec<u8>>>,
}

impl FakeRelay {
    fn new(most: usize, otherwise: (u16, &'static str)) -> Self {
        Self {
            url: "http://127.0.0.1:2080",
            most,
            otherwise,
            taken: RefCell::default(),
            posts: RefCell::default(),
            now: Cell::new("2026-03-01T12:00:00Z".parse().unwrap()),
            state: RefCell::default(),
        }
    }

    /// Posts these batches, and returns the outcome of each and what was delivered.
    fn post(&self, batches: &[String]) -> (Vec<Result<(), RelayError>>, Delivered) {
        self.post_each(batches.iter().map(|batch| (batch.clone(), false)))
    }

    /// The same, with whether there is more to come behind each.
    fn post_each(
        &self,
        batches: impl IntoIterator<Item = (String, bool)>,
    ) -> (Vec<Result<(), RelayError>>, Delivered) {
        let settings = Settings::load(self).unwrap_or_else(|problems| panic!("{problems}"));
        let deadline = Duration::from_secs(600);
        let lease = Rc::new(Lease::take(self, "run", Priority::Run).unwrap());
        let deadline = self.now.get() + deadline;
        let mut client = RelayClient::new(self, &settings, "run", deadline, Some(lease));
        let mut delivered = Delivered::default();
        let posted = batches
            .into_iter()
            .map(|(batch, more)| client.post(&mut batch.into_bytes(), more, &mut delivered));
        (posted.collect(), delivered)
    }

    fn sizes(&self) -> Vec<usize> {
        self.posts.borrow().iter().map(|(_, size)| *size).collect()
    }
}

impl Source for FakeRelay {
    fn file(&self, name: &str) -> std::io::Result<String> {
        let is_catchpoint = name == crate::config::catchpoint::FILE_NAME;
        let catchpoint = "client_id: a\nclient_secret: b\ntest_ids: { web: [1] }\n";
        Ok(if is_catchpoint { catchpoint } else { "" }.to_owned())
    }

    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        let value = match name {
            "relay_url" => Some(self.url),
            "relay_token" => Some("hunter2-hunter2"),
            _ => None,
        };
        Ok(value.map(str::to_owned))
    }
}

impl Host for FakeRelay {
    fn send(&self, request: &Request<'_>) -> Result<Response<'_>, SendError> {
        let body = request.body.unwrap();
        self.posts
            .borrow_mut()
            .push((request.headers.to_vec(), body.len()));
        let (status, headers, text) = if body.len() <= self.most {
            let lines = String::from_utf8_lossy(body);
            self.taken.borrow_mut().push_str(&lines);
            (
                202,
                None,
                format!(r#"{{"accepted":{}}}"#, lines.lines().count()),
            )
        } else {
            let (status, text) = self.otherwise;
            let header = text
                .strip_prefix("retry-after: ")
                .map(|value| ("retry-after", value));
            (status, header, text.to_owned())
        };
        Ok(Response {
            status,
            headers: headers.into_iter().collect(),
            body: Box::new(Cursor::new(text)),
        })
    }

    fn now(&self) -> DateTime<Utc> {
        self.now.get()
    }

    fn sleep(&self, time: Duration) {
        self.now.set(later(self.now.get(), time));
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

fn lines(count: usize) -> String {
    (0..count)
        .map(|n| format!("a.b;n={n:04} 1 1767225600\n"))
        .collect()
}

#[test]
fn c13_a_batch_that_is_too_large_is_posted_in_parts() {
    let relay = FakeRelay::new(1000, (413, ""));
    let batch = lines(100);
    let (posted, delivered) = relay.post(std::slice::from_ref(&batch));
    assert_eq!((posted, delivered.accepted), (vec![Ok(())], 100));
    assert_eq!(*relay.taken.borrow(), batch);
    let keys: std::collections::BTreeSet<String> = relay
        .posts
        .borrow()
        .iter()
        .flat_map(|(headers, _)| {
            headers
                .iter()
                .filter(|(name, _)| *name == "idempotency-key")
                .map(|(_, key)| key.clone())
        })
        .collect();
    assert_eq!(keys.len(), relay.sizes().len());
}

#[test]
fn a_batch_waits_for_the_one_before_it() {
    let relay = FakeRelay::new(1000, (503, ""));
    let batches = |last: &str| [(lines(2), true), (lines(1), true), (last.to_owned(), false)];
    let (posted, delivered) = relay.post_each(batches(""));
    assert_eq!((posted, delivered.accepted), (vec![Ok(()); 3], 3));
    assert_eq!(*relay.taken.borrow(), lines(2) + &lines(1));

    // The answer to the first, that it has failed, comes before the second is posted.
    let relay = FakeRelay::new(30, (403, ""));
    let (posted, delivered) = relay.post_each(batches(&lines(1)).into_iter().take(2));
    let outcome: Vec<bool> = posted.iter().map(Result::is_ok).collect();
    assert_eq!((outcome, delivered.accepted), (vec![true, false], 0));
    assert_eq!(relay.sizes(), [lines(2).len()]);
}

#[test]
fn c13_a_refused_batch_does_not_stop_the_others() {
    for status in [400, 413, 415, 422] {
        let relay = FakeRelay::new(30, (status, "no"));
        let long = format!("{} 1 1767225600\n", "x".repeat(40));
        let (posted, delivered) = relay.post(&[long, lines(1)]);
        let error = posted[0].clone().unwrap_err();
        assert!(!error.is_down(), "{error}");
        assert_eq!((&posted[1], delivered.accepted), (&Ok(()), 1));
    }
    for status in [200, 301, 401, 403, 404, 500, 503] {
        let relay = FakeRelay::new(0, (status, "no"));
        let error = relay.post(&[lines(1)]).0.remove(0).unwrap_err();
        assert!(error.is_down(), "{error}");
    }
}

/// A proxy or another program may answer so; nothing says that the lines are on a disk.
#[test]
fn a_202_that_counts_no_lines_delivers_nothing() {
    for text in [
        "{}",
        r#"{"status":"queued"}"#,
        "[]",
        "",
        r#"{"accepted":null}"#,
    ] {
        let relay = FakeRelay::new(0, (202, text));
        let (posted, delivered) = relay.post(&[lines(1)]);
        assert_eq!(
            (posted[0].is_err(), delivered.accepted),
            (true, 0),
            "{text}"
        );
    }
}

#[test]
fn no_failure_shows_the_token_that_a_proxy_quotes() {
    let relay = FakeRelay::new(0, (403, "no access with `Bearer hunter2-hunter2`"));
    let error = relay.post(&[lines(1)]).0.remove(0).unwrap_err().to_string();
    assert!(
        error.contains("no access") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn c13_batches_are_below_the_relays_limit() {
    let relay = FakeRelay::new(0, (503, ""));
    let settings = Settings::load(&relay).unwrap_or_else(|problems| panic!("{problems}"));
    let lease = Rc::new(Lease::take(&relay, "run", Priority::Run).unwrap());
    let client = RelayClient::new(&relay, &settings, "run", relay.now(), Some(lease));
    assert!(client.full() + LONGEST_LINE <= settings.graphite.batch_bytes);
    assert!(client.full() >= settings.graphite.batch_bytes / 2);
}

#[test]
fn c14_an_endless_retry_after_ends_the_retries() {
    let relay = FakeRelay::new(0, (503, "retry-after: 9999999999999"));
    let begun = relay.now();
    assert!(relay.post(&[lines(1)]).0[0].is_err());
    assert_eq!(
        (
            relay.sizes().len(),
            relay.now() - begun < chrono::TimeDelta::seconds(2)
        ),
        (1, true)
    );
}

#[test]
fn a_relay_that_is_down_is_tried_for_a_minute() {
    let relay = FakeRelay::new(0, (503, ""));
    let begun = relay.now();
    assert!(relay.post(&[lines(1)]).0[0].is_err());
    let seconds = (relay.now() - begun).num_seconds();
    assert!((30..=60).contains(&seconds), "{seconds}");
}

#[test]
fn r07_each_post_bears_the_date() {
    let relay = FakeRelay::new(1000, (503, ""));
    assert!(relay.post(&[lines(1)]).0[0].is_ok());
    let posts = relay.posts.borrow();
    let date = posts[0].0.iter().find(|(name, _)| *name == "date").unwrap();
    assert_eq!(date.1, "Sun, 01 Mar 2026 12:00:00 GMT");
}

#[test]
fn only_a_relay_elsewhere_gets_gzip() {
    for (url, gzip) in [
        ("http://127.0.0.1:2080", false),
        ("http://127.8.0.1", false),
        ("http://localhost:2080", false),
        ("https://localhost/relay", false),
        ("http://[::1]:2080", false),
        ("http://[::1]", false),
        ("https://relay.example:2080", true),
        ("http://10.0.0.1:2080", true),
        ("http://localhost.example", true),
    ] {
        assert_eq!(is_loopback(url), !gzip, "{url}");
    }
    let relay = FakeRelay {
        url: "http://10.0.0.1:2080",
        ..FakeRelay::new(10_000, (503, ""))
    };
    assert!(relay.post(&[lines(100)]).0[0].is_ok());
    assert!(relay.sizes()[0] < lines(100).len() / 2);
}

#[test]
fn c16_a_relay_that_cannot_be_reached_is_named_once() {
    for error in [
        SendError::TimedOut,
        SendError::Unreachable("connection reset".to_owned()),
        SendError::Unreachable("http://127.0.0.1:2080 refuses the connection".to_owned()),
    ] {
        let url = "http://127.0.0.1:2080".to_owned();
        let words = RelayError::Unreachable { url, error }.to_string();
        assert_eq!(words.matches("http://127.0.0.1:2080").count(), 1, "{words}");
    }
}
