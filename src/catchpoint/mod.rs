//! Catchpoint's API: one question at a time, inside its limits, asked again where that helps.
//!
//! # Layout
//! - [`query`] what is asked, and its address
//! - [`token`] v1's bearer token
//! - [`budget`] the API's limits
//! - [`retry`] how often and how soon a call is made again
//! - [`error`] why a call brought no data, and what to do
//! - [`body`], [`row`], `json`, `value`: reading an answer as a stream
//! - [`v1`], [`v2`] the answers of the two versions; [`answer`] what both say besides their rows

pub mod answer;
pub mod body;
pub mod budget;
pub mod error;
mod json;
pub mod query;
pub mod retry;
pub mod row;
pub mod token;
pub mod v1;
pub mod v2;
mod value;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::catchpoint::{ApiVersion, CatchpointSettings};
use crate::host::{self, Host, Level, Request, Response, SendError};
use crate::run::plan;
use crate::state::{Key, Lease, State};

use crate::time_range::TimeRange;
use answer::Answer;
use body::{BodyError, Timed, read_text};
use budget::{Budget, Used};
use error::CallError;
use query::Query;
use row::Found;
use token::Token;

/// What takes the data of a query. A query that broke off is asked again from its beginning, so
/// what was counted since [`Taker::begin`] counts only with [`Taker::commit`].
pub trait Taker {
    /// A page of data begins, perhaps not for the first time.
    fn begin(&mut self);
    /// Data of the page; `Break` ends the query.
    fn take(&mut self, found: Found<'_>) -> ControlFlow<()>;
    /// The page has come as a whole.
    fn commit(&mut self);
}

/// Asks Catchpoint, for the length of one run.
pub struct Client<'r> {
    host: &'r dyn Host,
    settings: &'r CatchpointSettings,
    state: State<'r>,
    budget: Budget,
    token: Option<Token>,
    lease: Rc<Lease<'r>>,
    deadline: DateTime<Utc>,
    failed_in_row: u32,
    calls: BTreeMap<String, u64>,
}

impl<'r> Client<'r> {
    /// A client that stops asking at `deadline`.
    pub fn new(
        host: &'r dyn Host,
        settings: &'r CatchpointSettings,
        lease: Rc<Lease<'r>>,
        deadline: DateTime<Utc>,
    ) -> Self {
        let state = State::new(host);
        Self {
            host,
            settings,
            budget: Budget::new(settings.limits, state.read::<Used>(Key::Budget)),
            token: state.read::<Option<Token>>(Key::Token),
            state,
            lease,
            deadline,
            failed_in_row: 0,
            calls: BTreeMap::new(),
        }
    }

    /// How many calls were made, by kind and status: `lastraw 200`.
    pub fn take_calls(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.calls)
    }

    /// How many calls of the day are left.
    pub fn left_today(&mut self) -> u32 {
        self.budget.left_today(self.host.now())
    }

    /// Whether the calls of the hour allow one that is not due, beside those of the runs to come.
    pub fn leaves_hour(&mut self, calls_of_a_run: usize) -> bool {
        let now = self.host.now();
        let next_run = plan::next_run(self.settings, now);
        let every = self.settings.run_every;
        self.budget
            .leaves_hour(now, next_run, every, calls_of_a_run)
    }

    /// When the limits allow the next call, if not now.
    pub fn next_call(&mut self) -> Option<DateTime<Utc>> {
        let wait = self.budget.wait(self.host.now());
        wait.map(|wait| wait.until)
    }

    /// Asks, page by page, and returns the span of time that the answer covers.
    ///
    /// # Errors
    /// Why not all data came; what came before has gone to `taker`.
    pub fn fetch(&mut self, query: &Query, taker: &mut dyn Taker) -> Result<TimeRange, CallError> {
        let asked = self.host.now().timestamp();
        let mut url = query.url(self.settings);
        let mut pages = 0u32;
        loop {
            let answer = self.fetch_page(query, &url, taker)?;
            pages += 1;
            if !answer.has_more {
                return Ok(query.covered(answer.span, asked));
            }
            let next = answer.next.ok_or(CallError::Cut)?;
            url = query::next_url(&next, &url, &self.settings.origin())?;
            // Far more than a day of the largest batch; a `next` that leads in circles must end.
            if pages >= 1000 {
                return Err(BodyError::Shape("it has more than 1000 pages".to_owned()).into());
            }
        }
    }

    /// Asks for one page until it comes or its attempts are used up.
    fn fetch_page(
        &mut self,
        query: &Query,
        url: &str,
        taker: &mut dyn Taker,
    ) -> Result<Answer, CallError> {
        let attempts = if self.failed_in_row >= retry::GIVE_UP_AFTER {
            1
        } else {
            retry::ATTEMPTS
        };
        let mut renewed = false;
        let mut failed = 0;
        loop {
            taker.begin();
            let (error, retry_after) = match self.attempt(query, url, taker) {
                Ok(answer) => {
                    taker.commit();
                    self.failed_in_row = 0;
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            let line = format!(
                "{} of tests {:?} failed: {error}",
                query.kind(),
                query.tests()
            );
            host::log(self.host, self.settings.log_level, Level::Debug, &line);
            if matches!(error, CallError::Credentials(_)) && self.token.is_some() {
                // An expired token is renewed once; fresh ones are not refused for their age.
                self.forget_token();
                if !renewed {
                    renewed = true;
                    continue;
                }
            }
            failed += 1;
            if !error.passes() {
                return Err(error);
            }
            if failed >= attempts {
                self.failed_in_row += 1;
                return Err(error);
            }
            let wait =
                retry_after.unwrap_or_else(|| retry::pause(&error, failed, self.host.random()));
            if self.host.now() + wait >= self.deadline {
                return Err(error);
            }
            self.wait(wait);
        }
    }

    /// One attempt; with its error comes the wait that the answer asked for.
    fn attempt(
        &mut self,
        query: &Query,
        url: &str,
        taker: &mut dyn Taker,
    ) -> Result<Answer, (CallError, Option<Duration>)> {
        let bearer = self.bearer().map_err(|error| (error, None))?;
        let headers = [
            ("authorization", bearer),
            ("accept", "application/json".to_owned()),
        ];
        let request = Request {
            body: None,
            url,
            headers: &headers,
            timeout: self.settings.request_timeout,
        };
        let response = self.call(query.kind(), &request)?;
        let mut sink = |found: Found<'_>| taker.take(found);
        let read = match self.settings.version {
            ApiVersion::V1 => v1::read(response.body, &mut sink),
            ApiVersion::Explorer(_) => v2::read(response.body, &mut sink),
        };
        let error = match read {
            Ok(mut answer) => {
                if let Some(usage) = &answer.usage {
                    self.budget.observe(usage, self.host.now());
                }
                match answer.complaint.take() {
                    None => return Ok(answer),
                    Some(text) => self.complaint(text),
                }
            }
            Err(BodyError::Stopped) => CallError::Stopped,
            Err(error) => error.into(),
        };
        Err((error, None))
    }

    /// The header that opens the API: the API key, or the token, fetched if there is none.
    fn bearer(&mut self) -> Result<String, CallError> {
        if self.settings.version != ApiVersion::V1 {
            let key = self.settings.api_key.as_ref();
            let key = key.ok_or_else(|| CallError::Credentials(String::new()))?;
            return Ok(format!("Bearer {}", key.reveal()));
        }
        let now = self.host.now();
        if let Some(token) = self
            .token
            .as_ref()
            .filter(|token| token.is_good(self.settings, now))
        {
            return Ok(token.bearer(self.settings.token_encoding));
        }
        let form =
            token::form(self.settings).ok_or_else(|| CallError::Credentials(String::new()))?;
        let headers = [
            (
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
            ("accept", "application/json".to_owned()),
        ];
        let request = Request {
            body: Some(form.as_bytes()),
            url: &self.settings.token_url(),
            headers: &headers,
            timeout: self.settings.request_timeout,
        };
        // A token call that is refused is about the credentials, whatever its status.
        let response = self
            .call("token", &request)
            .map_err(|(error, _)| match error {
                CallError::Status {
                    status: 400 | 403,
                    text,
                } => CallError::Credentials(text),
                other => other,
            })?;
        let token = Token::read(response.body, self.settings, now)?;
        let bearer = token.bearer(self.settings.token_encoding);
        self.state.write(Key::Token, &token);
        self.token = Some(token);
        Ok(bearer)
    }

    fn forget_token(&mut self) {
        self.token = None;
        self.state.write(Key::Token, &self.token);
    }

    /// Makes a call inside the limits and turns away every status but success.
    fn call(
        &mut self,
        kind: &str,
        request: &Request<'_>,
    ) -> Result<Response<'r>, (CallError, Option<Duration>)> {
        self.await_budget().map_err(|error| (error, None))?;
        let sent = self.host.send(request);
        let status = match &sent {
            Ok(response) => response.status.to_string(),
            Err(SendError::Denied) => "denied".to_owned(),
            Err(SendError::TimedOut) => "timeout".to_owned(),
            Err(SendError::Unreachable(_)) => "unreachable".to_owned(),
        };
        *self.calls.entry(format!("{kind} {status}")).or_default() += 1;
        let response = sent.map_err(|error| match error {
            SendError::Denied => (CallError::Denied(self.settings.origin()), None),
            other => (CallError::Send(other), None),
        })?;
        if (200..300).contains(&response.status) {
            let lease = Rc::clone(&self.lease);
            let body = Timed::new(response.body, self.host, self.deadline, lease);
            return Ok(Response {
                body: Box::new(body),
                ..response
            });
        }
        let wait = response
            .retry_after
            .as_deref()
            .and_then(|text| retry::retry_after(text, self.host.now()));
        if let (429, Some(wait)) = (response.status, wait) {
            self.budget.hold(wait, self.host.now());
            self.state.write(Key::Budget, self.budget.used());
        }
        let text = body::message(&read_text(response.body));
        let error = match response.status {
            429 if text.to_ascii_lowercase().contains("quota") => self.quota(text),
            429 => CallError::TooMany(text),
            401 => CallError::Credentials(text),
            _ if token::is_complaint(&text) => CallError::Credentials(text),
            status => CallError::Status { status, text },
        };
        Err((error, wait))
    }

    /// What a complaint inside a success is about.
    fn complaint(&mut self, text: String) -> CallError {
        if token::is_complaint(&text) {
            CallError::Credentials(text)
        } else if text.to_ascii_lowercase().contains("quota") {
            self.quota(text)
        } else {
            CallError::Refused(text)
        }
    }

    fn quota(&mut self, text: String) -> CallError {
        if !self.budget.exhaust_day(self.host.now()) {
            return CallError::TooMany(text);
        }
        self.state.write(Key::Budget, self.budget.used());
        CallError::Quota(text)
    }

    /// Waits, and holds the lease meanwhile.
    fn wait(&self, time: Duration) {
        self.lease.renew_from(self.host.now() + time);
        self.host.sleep(time);
    }

    /// Waits until a call is allowed, and counts it; the count is stored before the call is made.
    fn await_budget(&mut self) -> Result<(), CallError> {
        loop {
            let now = self.host.now();
            if now >= self.deadline {
                return Err(CallError::NoTime);
            }
            let Some(wait) = self.budget.wait(now) else {
                self.budget.count(now);
                self.state.write(Key::Budget, self.budget.used());
                self.budget.made(self.host.now());
                return Ok(());
            };
            if wait.until >= self.deadline {
                return Err(CallError::Budget {
                    limit: wait.limit,
                    until: wait.until,
                });
            }
            self.wait((wait.until - now).to_std().unwrap_or_default());
        }
    }
}
