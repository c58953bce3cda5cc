//! A Catchpoint that gives the answers of a list.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::Read;

use super::super::*;
use crate::config::{Settings, Source};
use crate::host::Headers;
use crate::state::Priority;
use crate::time_range::TimeRange;

/// A Catchpoint that gives the answers of a list.
pub(super) struct Scripted {
    pub(super) yaml: String,
    pub(super) answers: RefCell<VecDeque<Answer>>,
    pub(super) asked: RefCell<Vec<String>>,
    pub(super) agents: RefCell<Vec<String>>,
    pub(super) now: Cell<DateTime<Utc>>,
    pub(super) state: RefCell<HashMap<String, Vec<u8>>>,
}

#[derive(Clone)]
pub(super) struct Answer(u16, Vec<(&'static str, String)>, Vec<u8>);

const TOKEN: &str = r#"{"access_token":"t","expires_in":1800}"#;
pub(super) const EMPTY: &str = r#"{"start":"2026-03-01T11:45:00Z","end":"2026-03-01T12:00:00Z"}"#;

pub(super) fn answer(status: u16, body: impl AsRef<[u8]>) -> Answer {
    Answer(status, Vec::new(), body.as_ref().to_vec())
}

pub(super) fn with(status: u16, name: &'static str, value: &str, body: &str) -> Answer {
    Answer(status, vec![(name, value.to_owned())], body.into())
}

pub(super) fn scripted(yaml: &str, answers: Vec<Answer>) -> Scripted {
    Scripted {
        yaml: format!(
            "client_id: a\nclient_secret: b\napi_key: k\ntest_ids: {{ web: [1, 2] }}\n{yaml}"
        ),
        answers: RefCell::new(answers.into()),
        asked: RefCell::default(),
        agents: RefCell::default(),
        now: Cell::new("2026-03-01T12:00:00Z".parse().unwrap()),
        state: RefCell::default(),
    }
}

impl Scripted {
    /// Asks once and returns the outcome, and what the calls were.
    pub(super) fn fetch(&self, query: &Query) -> Result<Fetched, CallError> {
        self.pages(query).map(|mut pages| pages.pop().unwrap())
    }

    pub(super) fn pages(&self, query: &Query) -> Result<Vec<Fetched>, CallError> {
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

    pub(super) fn with_client<T>(&self, work: impl FnOnce(&mut Client<'_>) -> T) -> T {
        let settings = Settings::load(self).unwrap_or_else(|problems| panic!("{problems}"));
        let deadline = Duration::from_secs(600);
        let lease = Rc::new(Lease::take(self, "run", Priority::Run).unwrap());
        let deadline = self.now.get() + deadline;
        let mut client = Client::new(self, &settings.catchpoint, lease, deadline);
        work(&mut client)
    }

    /// The kind of error, and the paths that were asked for.
    pub(super) fn failure(&self, query: &Query) -> (Kind, Call, String) {
        let error = self.fetch(query).err().unwrap();
        (error.kind, error.call, self.paths())
    }

    pub(super) fn paths(&self) -> String {
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
        let mut agents = request
            .headers
            .iter()
            .filter(|(name, _)| *name == "user-agent");
        let agent = agents.next().unwrap().1.clone();
        self.agents.borrow_mut().push(agent);
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

pub(super) fn last_raw() -> Query {
    Query::LastRaw(vec![1, 2])
}

pub(super) fn explorer() -> Query {
    let to = "2026-03-01T12:00:00Z"
        .parse::<DateTime<Utc>>()
        .unwrap()
        .timestamp();
    Query::Explorer(vec![1], TimeRange { from: to - 900, to })
}
