//! A world without waiting: the sandbox called in process, a relay in memory, and a clock that
//! moves only when the run waits or calls. A run can be killed in the middle of anything.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test uses a part of this, and may stop at the first surprise"
)]

pub mod small;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use catchpoint_graphite::config::{Settings, Source, catchpoint, graphite};
use catchpoint_graphite::host::{Headers, Host, Level, Request, Response, SendError};
use catchpoint_graphite::run;
use catchpoint_graphite::run::report::Report;
use catchpoint_sandbox::{Clock, Datapoint, Sandbox, World};
use chrono::{DateTime, Utc};
use flate2::read::GzDecoder;

/// Where the relay in memory is reached.
const RELAY: &str = "http://127.0.0.1:2080";

/// Opens the component's HTTP interface.
pub const COLLECT_TOKEN: &str = "open";

/// How long a call to Catchpoint takes, and one to the relay.
const CALL: Duration = Duration::from_millis(300);
const HAND_OVER: Duration = Duration::from_millis(20);

/// What the relay in memory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayMode {
    /// 202, and it keeps the lines.
    Takes,
    /// No connection.
    Down,
    /// This status.
    Answers(u16),
    /// 202, but this status for a batch that holds this text.
    Refuses(&'static str, u16),
    /// 202, but it does not take so many lines of a batch, and lists the first of them.
    Rejects(u64),
}

/// The world outside of a run.
pub struct SimHost {
    pub sandbox: Sandbox,
    pub clock: Clock,
    pub relay: Cell<RelayMode>,
    /// What the relay answers to a GET.
    pub readiness: Cell<&'static str>,
    /// Series and second of everything the relay has taken, with the value's text.
    pub taken: RefCell<HashMap<(String, i64), String>>,
    pub lines: Cell<u64>,
    pub logged: RefCell<Vec<String>>,
    pub state: RefCell<BTreeMap<String, Vec<u8>>>,
    /// What the relay in memory counts of posts about a single result: results, lines, seconds.
    pub pushed: Cell<(u64, u64, i64)>,
    /// Opens the webhook.
    pub webhook_token: Cell<Option<&'static str>>,
    /// The store does not hand this value out.
    pub unreadable: Cell<Option<&'static str>>,
    /// The store fails whatever is asked of it.
    pub store_fails: Cell<bool>,
    /// The time ranges that Catchpoint answered for each test, in whole seconds.
    pub answered: RefCell<BTreeMap<u64, Vec<(i64, i64)>>>,
    /// Called before each wait, with how many there were.
    pub on_sleep: RefCell<Option<Hook>>,
    /// Called before each call to Catchpoint, with how many there were.
    pub on_call: RefCell<Option<Hook>>,
    waits: Cell<u32>,
    sent: Cell<u32>,
    catchpoint: RefCell<String>,
    random: Cell<u64>,
    /// After so many steps the run is killed.
    kill_in: Cell<Option<u32>>,
}

/// What happens elsewhere at some point of a run.
pub type Hook = Box<dyn Fn(&SimHost, u32)>;

/// The payload of the panic that stands for `kill -9`.
struct Killed;

impl SimHost {
    pub fn new(
        world: World,
        start: &str,
        settings: catchpoint_sandbox::Settings,
        yaml: &str,
    ) -> Self {
        let clock = Clock::driven(start.parse().unwrap());
        Self {
            sandbox: Sandbox::new(world, clock.clone(), settings),
            clock,
            relay: Cell::new(RelayMode::Takes),
            readiness: Cell::new(r#"{"ready":true,"carbon":"up"}"#),
            taken: RefCell::default(),
            lines: Cell::new(0),
            logged: RefCell::default(),
            state: RefCell::default(),
            pushed: Cell::default(),
            webhook_token: Cell::new(None),
            unreadable: Cell::new(None),
            store_fails: Cell::new(false),
            answered: RefCell::default(),
            on_sleep: RefCell::new(None),
            on_call: RefCell::new(None),
            waits: Cell::new(0),
            sent: Cell::new(0),
            catchpoint: RefCell::new(yaml.to_owned()),
            random: Cell::new(1),
            kill_in: Cell::new(None),
        }
    }

    pub fn set_config(&self, yaml: &str) {
        *self.catchpoint.borrow_mut() = yaml.to_owned();
    }

    /// Forgets everything that runs have stored: what the original does after each run.
    pub fn forget_state(&self) {
        self.state.borrow_mut().clear();
    }

    /// One run; none if it was killed after `kill_in` steps.
    pub fn run(&self, kill_in: Option<u32>) -> Option<Report> {
        let settings = Settings::load(self).unwrap_or_else(|problems| panic!("{problems}"));
        self.killed_in(kill_in, || run::collect(self, &settings))
    }

    /// Does something; none if it was killed after `kill_in` steps.
    pub fn killed_in<T>(&self, kill_in: Option<u32>, work: impl FnOnce() -> T) -> Option<T> {
        self.kill_in.set(kill_in);
        let done = catch_unwind(AssertUnwindSafe(work));
        self.kill_in.set(None);
        match done {
            Ok(done) => Some(done),
            Err(payload) if payload.is::<Killed>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// What the world produced and the relay does not have.
    pub fn missing(&self, from: &str, to: &str) -> Vec<Datapoint> {
        let second = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp();
        let taken = self.taken.borrow();
        self.sandbox
            .truth(second(from), second(to))
            .filter(|point| point.value.is_some())
            .filter(|point| {
                let text = taken.get(&(series(point), point.epoch_seconds));
                text.and_then(|text| text.parse().ok()) != point.value
            })
            .collect()
    }

    /// How many values the world produced.
    pub fn produced(&self, from: &str, to: &str) -> usize {
        let second = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp();
        let truth = self.sandbox.truth(second(from), second(to));
        truth.filter(|point| point.value.is_some()).count()
    }

    /// Notes which time of which tests an answer is about: v1 says it, v2 is asked for it.
    fn record(&self, url: &str, body: &[u8]) {
        // Larger than a page may be.
        if body.len() > 64 << 20 {
            return;
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let query: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let list = query.get("tests").or(query.get("testIds"));
        let tests = list.map_or_else(|| path.rsplit('/').next().unwrap(), String::as_str);
        let head = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        let said = |key: &str| {
            let (_, rest) = head.split_once(&format!("\"{key}\":\""))?;
            Some(rest.split('"').next()?.to_owned())
        };
        let asked = |key: &str| Some(format!("{}Z", query.get(key)?));
        let from = said("start").or_else(|| asked("startTimeUtc"));
        let to = said("end").or_else(|| asked("endTimeUtc"));
        let holds = |word: &str| body.windows(word.len()).any(|part| part == word.as_bytes());
        if !holds("\"start\"") && !holds("\"responseItems\":[{") {
            return;
        }
        let time = |text: String| text.parse::<DateTime<Utc>>().unwrap();
        let (Some(from), Some(to)) = (from.map(time), to.map(time)) else {
            return;
        };
        let up = i64::from(from.timestamp_subsec_nanos() > 0);
        let range = (from.timestamp() + up, to.timestamp());
        for test in tests.split(',').filter_map(|test| test.parse().ok()) {
            self.answered
                .borrow_mut()
                .entry(test)
                .or_default()
                .push(range);
        }
    }

    /// How many seconds no answer was about, of all tests, each between a time and the end of its
    /// last answer.
    pub fn unanswered(&self, from: i64) -> i64 {
        let answered = self.answered.borrow();
        let of_test = |ranges: &Vec<(i64, i64)>| {
            let mut ranges = ranges.clone();
            ranges.sort_unstable();
            let (mut missing, mut at) = (0, from);
            for (begin, end) in ranges {
                missing += (begin - at).max(0);
                at = at.max(end);
            }
            missing
        };
        answered.values().map(of_test).sum()
    }

    fn step(&self) {
        if let Some(left) = self.kill_in.get() {
            if left == 0 {
                // Unlike a panic, this says nothing on stderr.
                resume_unwind(Box::new(Killed));
            }
            self.kill_in.set(Some(left - 1));
        }
    }

    fn hand_over(&self, request: &Request<'_>) -> Result<Response<'_>, SendError> {
        self.clock.advance(HAND_OVER);
        let answer = |status, body: String| {
            Ok(Response {
                status,
                headers: Headers::default(),
                body: Box::new(std::io::Cursor::new(body)),
            })
        };
        match self.relay.get() {
            RelayMode::Down => return Err(SendError::Unreachable("connection refused".to_owned())),
            RelayMode::Answers(status) => return answer(status, "no".to_owned()),
            RelayMode::Takes | RelayMode::Rejects(_) | RelayMode::Refuses(..) => {}
        }
        let Some(body) = request.body else {
            let (results, lines, seconds) = self.pushed.get();
            let metrics = format!(
                "# HELP catchpoint_graphite_relay_result_lines Lines.\n\
                 catchpoint_graphite_relay_result_lines_total {lines}\n\
                 catchpoint_graphite_relay_result_age_seconds_sum {seconds}.0\n\
                 catchpoint_graphite_relay_result_age_seconds_count {results}\n"
            );
            return match request.url.ends_with("/metrics") {
                true => answer(200, metrics),
                false => {
                    let readiness = self.readiness.get();
                    let is_ready = !readiness.contains("\"ready\":false");
                    answer(if is_ready { 200 } else { 503 }, readiness.to_owned())
                }
            };
        };
        let mut text = String::new();
        let gzip = request.headers.iter().any(|(_, value)| value == "gzip");
        let read = match gzip {
            true => GzDecoder::new(body).read_to_string(&mut text),
            false => (&*body).read_to_string(&mut text),
        };
        read.unwrap();
        if let RelayMode::Refuses(part, status) = self.relay.get()
            && text.contains(part)
        {
            return answer(status, "no".to_owned());
        }
        if text.is_empty() {
            return answer(400, r#"{"error":"no usable line in the body"}"#.to_owned());
        }
        let mut accepted = 0u64;
        for line in text.lines() {
            let [series, value, time] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("not a line: {line}");
            };
            let key = (series.to_owned(), time.parse().unwrap());
            self.taken.borrow_mut().insert(key, value.to_owned());
            accepted += 1;
        }
        self.lines.set(self.lines.get() + accepted);
        let mut headers = request.headers.iter();
        if let Some((_, time)) = headers.find(|(name, _)| *name == "result-time") {
            let (results, lines, seconds) = self.pushed.get();
            let late = self.clock.now().timestamp() - time.parse::<i64>().unwrap();
            self.pushed
                .set((results + 1, lines + accepted, seconds + late));
        }
        let (listed, total) = match self.relay.get() {
            RelayMode::Rejects(total) => (r#"{"line":1,"reason":"too_long"}"#, total),
            _ => ("", 0),
        };
        answer(
            202,
            format!(
                r#"{{"batch":"b","accepted":{accepted},"rejected":[{listed}],"rejected_total":{total}}}"#
            ),
        )
    }
}

/// What breaks a body off.
struct Broken(Option<std::io::ErrorKind>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        match self.0 {
            Some(kind) => Err(kind.into()),
            None => Ok(0),
        }
    }
}

/// The original's name of a datapoint's series, written independently of the mapping under test.
pub fn series(point: &Datapoint) -> String {
    let mut name = format!(
        "system.cp.testdata.{};testId={};nodeId={}",
        point.metric.replace(' ', ""),
        point.test_id,
        point.node_id
    );
    if let Some(step) = point.step {
        name += &format!(";stepNumber={step}");
    }
    if let Some(hop) = point.hop {
        name += &format!(";hopNumber={hop}");
    }
    name
}

impl Source for SimHost {
    fn file(&self, name: &str) -> std::io::Result<String> {
        match name {
            catchpoint::FILE_NAME => Ok(self.catchpoint.borrow().clone()),
            graphite::FILE_NAME => Ok("carbon_server: '127.0.0.1'\ncarbon_port: 2003\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        Ok(match name {
            "relay_url" => Some(RELAY.to_owned()),
            "collect_token" => Some(COLLECT_TOKEN.to_owned()),
            "webhook_token" => self.webhook_token.get().map(str::to_owned),
            _ => None,
        })
    }
}

impl Host for SimHost {
    fn send(&self, request: &Request<'_>) -> Result<Response<'_>, SendError> {
        self.step();
        if request.url.starts_with(RELAY) {
            return self.hand_over(request);
        }
        self.sent.set(self.sent.get() + 1);
        if let Some(hook) = self.on_call.borrow().as_ref() {
            hook(self, self.sent.get());
        }
        let mut call = http::Request::builder().uri(request.url);
        call = call.method(if request.body.is_some() {
            "POST"
        } else {
            "GET"
        });
        for (name, value) in request.headers {
            call = call.header(*name, value);
        }
        let call = call
            .body(request.body.unwrap_or_default().to_vec())
            .unwrap();
        let reply = self.sandbox.handle(&call);
        self.clock.advance(CALL + reply.delay.min(request.timeout));
        if reply.delay > request.timeout {
            return Err(SendError::TimedOut);
        }
        match reply.answer {
            None => Err(SendError::Unreachable("connection refused".to_owned())),
            Some(answer) => {
                let headers = answer.headers().iter();
                let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
                let headers = headers.collect();
                let status = answer.status().as_u16();
                let mut body = Vec::new();
                let broken = answer.into_body().read_to_end(&mut body).err();
                if status == 200 && broken.is_none() {
                    self.record(request.url, &body);
                }
                let rest = Broken(broken.map(|error| error.kind()));
                let body = Box::new(std::io::Cursor::new(body).chain(rest));
                Ok(Response {
                    status,
                    headers,
                    body,
                })
            }
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn sleep(&self, time: Duration) {
        self.step();
        self.waits.set(self.waits.get() + 1);
        if let Some(hook) = self.on_sleep.borrow().as_ref() {
            hook(self, self.waits.get());
        }
        self.clock.advance(time);
    }

    fn random(&self) -> u64 {
        // Any sequence will do; this one is splitmix64.
        let mut z = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.step();
        if self.unreadable.get() == Some(key) || self.store_fails.get() {
            return Err("the store is busy".to_owned());
        }
        Ok(self.state.borrow().get(key).cloned())
    }

    fn save(&self, key: &str, value: &[u8]) -> Result<(), String> {
        self.step();
        if self.store_fails.get() {
            return Err("the store is busy".to_owned());
        }
        self.state
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn log(&self, level: Level, line: &str) {
        self.logged
            .borrow_mut()
            .push(format!("{} {line}", level.word()));
    }
}
