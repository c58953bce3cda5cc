//! The client: one page at a time, inside the API's limits, asked for again where that helps.

use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::body;
use super::budget::{Budget, Learned, Used};
use super::error::{Call, CallError, Kind};
use super::page::Page;
use super::paging::{self, Following, NextPage};
use super::query::Query;
use super::token::{self, Token};
use crate::config::catchpoint::{ApiVersion, CatchpointSettings};
use crate::host::body::{DeadlineReader, excerpt};
use crate::host::{self, Host, Level, Request, Response, SendError};
use crate::retry::{self, later};
use crate::state::{Key, Lease};

/// After so many calls in a row that failed all their attempts, the others of the run get one
/// attempt each: Catchpoint is down, and more attempts would only use up the budget.
const GIVE_UP_AFTER: u32 = 2;

/// A wait for a limit that is worth a line in the log.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// Asks Catchpoint, for the length of one run.
pub struct Client<'r> {
    host: &'r dyn Host,
    settings: &'r CatchpointSettings,
    budget: Budget,
    token: Option<Token>,
    lease: Rc<Lease<'r>>,
    deadline: DateTime<Utc>,
    failed_in_row: u32,
    calls: BTreeMap<String, u64>,
    /// When the last call was sent, in epoch seconds.
    sent: i64,
}

/// A page of results, where the next one is, and what both are part of.
pub struct Fetched {
    /// The page.
    pub page: Page,
    /// The next page, to be given to [`Client::fetch_page`]; none if this is the last one.
    pub next: Option<NextPage>,
    /// When it was asked for, in epoch seconds.
    pub sent: i64,
    /// It says that there is more of its one test, and no page can be found that has it.
    pub cut: bool,
}

impl<'r> Client<'r> {
    /// A client that stops asking at `deadline`.
    pub fn new(
        host: &'r dyn Host,
        settings: &'r CatchpointSettings,
        lease: Rc<Lease<'r>>,
        deadline: DateTime<Utc>,
    ) -> Self {
        Self {
            host,
            settings,
            budget: Budget::new(settings.limits, lease.store().read::<Used>(Key::Budget)),
            token: lease.store().read::<Option<Token>>(Key::Token),
            lease,
            deadline,
            failed_in_row: 0,
            calls: BTreeMap::new(),
            sent: 0,
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

    /// Whether the calls of the hour allow one that is not planned, beside those of the runs to
    /// come, the next of which begins at `next_run`.
    pub fn leaves_hour(&mut self, next_run: DateTime<Utc>, calls_of_a_run: usize) -> bool {
        let (now, every) = (self.host.now(), self.settings.run_every);
        self.budget
            .leaves_hour(now, next_run, every, calls_of_a_run)
    }

    /// When the limits allow the next call, if not now.
    pub fn next_call(&mut self) -> Option<DateTime<Utc>> {
        self.budget.wait(self.host.now()).map(|(_, until)| until)
    }

    /// The limits that are in force because Catchpoint has stated them.
    pub fn learned_limits(&self) -> &[Learned] {
        self.budget.learned()
    }

    /// Fetches one page: the first one of a query's answer, or the one that is `next`.
    ///
    /// # Errors
    /// Why it did not come; [`CallError::class`] says what to do then.
    pub fn fetch_page(
        &mut self,
        query: &Query,
        next: Option<&NextPage>,
    ) -> Result<Fetched, CallError> {
        let first = query.url(self.settings);
        let url = next.map_or(first.as_str(), |next| &next.url);
        let page = self.attempts(query, url)?;
        let origin = self.settings.origin();
        let following = paging::following(&page, next, url, &first, &origin)?;
        let cut = following == Following::NotFound;
        if cut && query.tests().len() > 1 {
            let what = "the answer says that there is more, but no further page can be found";
            return Err(CallError::new(Kind::Paging, what));
        }
        Ok(Fetched {
            sent: self.sent,
            page,
            next: match following {
                Following::Page(next) => Some(next),
                Following::Nothing | Following::NotFound => None,
            },
            cut,
        })
    }

    /// Asks for one page until it comes or its attempts are used up.
    fn attempts(&mut self, query: &Query, url: &str) -> Result<Page, CallError> {
        let mut renewed = false;
        let mut failed = 0;
        loop {
            let mut error = match self.attempt(query, url) {
                Ok(page) => {
                    self.failed_in_row = 0;
                    return Ok(page);
                }
                Err(error) => error,
            };
            error.detail = self.hide(&error.detail);
            let (kind, tests) = (query.kind(), query.tests());
            self.log(
                Level::Debug,
                &format!("{kind} of tests {tests:?} failed: {error}"),
            );
            let is_limit = matches!(error.kind, Kind::TooManyCalls | Kind::DayQuota);
            if is_limit {
                self.budget.refused(&error.stated, self.host.now());
                self.lease.write(Key::Budget, self.budget.used());
            }
            let is_refused = error.kind == Kind::Credentials && error.call == Call::Results;
            if is_refused && self.token.is_some() {
                // An expired token is renewed once; fresh ones are not refused for their age.
                self.token = None;
                self.lease.write(Key::Token, &self.token);
                if !renewed {
                    renewed = true;
                    continue;
                }
            }
            failed += 1;
            let attempts = error.class().attempts;
            let is_down = self.failed_in_row >= GIVE_UP_AFTER;
            if failed >= attempts || is_down {
                self.failed_in_row += u32::from(attempts > 1);
                return Err(error);
            }
            let first = Duration::from_secs(if is_limit { 5 } else { 1 });
            let pause = retry::pause(first, failed, self.host.random());
            // No wait at all is what a time in the past comes to: one of the clocks is wrong.
            let asked = error.stated.wait.filter(|wait| !wait.is_zero());
            let wait = asked.unwrap_or(pause);
            if later(self.host.now(), wait) >= self.deadline {
                return Err(error);
            }
            if is_limit && wait >= LONG_WAIT {
                let at = later(self.host.now(), wait).format("%H:%M:%S UTC");
                let line = format!("waiting: {error}; the next call is at {at}");
                self.log(Level::Info, &line);
            }
            self.wait(wait)?;
        }
    }

    fn attempt(&mut self, query: &Query, url: &str) -> Result<Page, CallError> {
        let headers = [
            ("authorization", self.bearer()?),
            ("accept", "application/json".to_owned()),
            ("accept-encoding", "gzip".to_owned()),
            ("user-agent", self.settings.user_agent.clone()),
        ];
        self.await_budget()?;
        let response = self.call(Some(query), url, None, &headers)?;
        if response.status == 204 {
            return Ok(Page::empty(self.settings.version));
        }
        let mut page = Page::read(self.settings.version, self.read(response)?)?;
        let now = self.host.now();
        if let Some(usage) = &page.answer.usage {
            self.budget.observe(usage, now);
        }
        match page.answer.complaint.take() {
            None => Ok(page),
            Some(text) => Err(CallError::complained(text, now)),
        }
    }

    /// The header that opens the API: the API key, or the token, fetched if there is none.
    fn bearer(&mut self) -> Result<String, CallError> {
        let settings = self.settings;
        if settings.version != ApiVersion::V1 {
            let missing = || CallError::new(Kind::Credentials, "api_key is not set");
            let key = settings.api_key.as_ref().ok_or_else(missing)?;
            return Ok(format!("Bearer {}", key.reveal()));
        }
        let now = self.host.now();
        let known = self.token.as_ref();
        if let Some(token) = known.filter(|token| token.is_good(settings, now)) {
            return Ok(token.bearer(settings.token_encoding));
        }
        self.await_budget()?;
        let token = self.token(now).map_err(|error| CallError {
            call: Call::Token,
            ..error
        })?;
        let bearer = token.bearer(settings.token_encoding);
        self.lease.write(Key::Token, &token);
        self.token = Some(token);
        Ok(bearer)
    }

    /// Asks for a token.
    fn token(&mut self, now: DateTime<Utc>) -> Result<Token, CallError> {
        let missing = "client_id and client_secret are not set";
        let form = token::form(self.settings);
        let form = form.ok_or_else(|| CallError::new(Kind::Credentials, missing))?;
        let headers = [
            ("content-type", token::FORM_TYPE.to_owned()),
            ("accept", "application/json".to_owned()),
            ("user-agent", self.settings.user_agent.clone()),
        ];
        let url = self.settings.token_url();
        let response = self.call(None, &url, Some(form.as_bytes()), &headers)?;
        Token::read(&self.read(response)?, self.settings, now)
    }

    /// Makes a call that the budget allows and turns away every status but success. `query` is none
    /// for the token call.
    fn call(
        &mut self,
        query: Option<&Query>,
        url: &str,
        body: Option<&[u8]>,
        headers: &[(&'static str, String)],
    ) -> Result<Response<'r>, CallError> {
        self.sent = self.host.now().timestamp();
        let sent = self.host.send(&Request {
            body,
            url,
            headers,
            timeout: self.settings.request_timeout,
        });
        let status = match &sent {
            Ok(response) => response.status.to_string(),
            Err(SendError::Denied) => "denied".to_owned(),
            Err(SendError::TimedOut) => "timeout".to_owned(),
            Err(SendError::Unreachable(_)) => "unreachable".to_owned(),
        };
        let kind = query.map_or("token", Query::kind);
        *self.calls.entry(format!("{kind} {status}")).or_default() += 1;
        let origin = self.settings.origin();
        let response = sent.map_err(|error| CallError::sending(&error, &origin))?;
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        let (status, headers) = (response.status, response.headers);
        let text = self.until_deadline(response.body, |body| body::read_short(body));
        // Before it is cut short, or half of a credential would be left.
        let text = self.hide(&text);
        let now = self.host.now();
        Err(CallError::answered(status, &headers, &text, query, now))
    }

    /// A text of an answer with stars in place of our credentials: it may quote the request.
    fn hide(&self, text: &str) -> String {
        let settings = self.settings;
        let (id, secret) = (&settings.client_id, &settings.client_secret);
        let keys = [id, secret, &settings.api_key].into_iter().flatten();
        let keys = keys.map(|key| key.reveal().to_owned());
        let tokens = self.token.iter().flat_map(Token::forms);
        let mut text = text.to_owned();
        // Shorter ones are none, and would take words out of the message.
        for key in keys.chain(tokens).filter(|key| key.len() >= 8) {
            let in_form: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
            text = text.replace(&key, "***").replace(&in_form, "***");
        }
        text
    }

    /// Reads the body of a success.
    fn read(&self, response: Response<'_>) -> Result<String, CallError> {
        let encoding = response.headers.get("content-encoding").unwrap_or_default();
        if !matches!(encoding, "" | "gzip" | "x-gzip" | "identity") {
            let what = format!("its encoding is {}, not gzip", excerpt(encoding));
            return Err(CallError::new(Kind::Syntax, what));
        }
        self.until_deadline(response.body, |body| body::read(body))
    }

    /// Reads a body, which ends with an error at the deadline; holds the lease meanwhile.
    fn until_deadline<'b, T>(
        &self,
        body: Box<dyn Read + 'b>,
        read: impl FnOnce(DeadlineReader<'_, Box<dyn Read + 'b>>) -> T,
    ) -> T {
        let tick = || self.lease.keep();
        read(DeadlineReader::new(body, self.host, self.deadline, &tick))
    }

    /// Waits, and holds the lease meanwhile.
    fn wait(&self, time: Duration) -> Result<(), CallError> {
        if !self.lease.sleep(time) {
            return Err(CallError::new(Kind::LeaseLost, ""));
        }
        Ok(())
    }

    /// Waits until a call is allowed, and counts it; the count is stored before the call is made.
    fn await_budget(&mut self) -> Result<(), CallError> {
        loop {
            let now = self.host.now();
            // Connecting may take that long, and so may the first byte.
            if !self.lease.renew(self.settings.request_timeout * 2) {
                return Err(CallError::new(Kind::LeaseLost, ""));
            }
            if now >= self.deadline {
                return Err(CallError::new(Kind::NoTime, ""));
            }
            let Some((limit, until)) = self.budget.wait(now) else {
                self.budget.count(now);
                self.lease.write(Key::Budget, self.budget.used());
                self.budget.made(self.host.now());
                return Ok(());
            };
            let at = until.format("%H:%M:%S UTC");
            let what = match limit.starts_with("per_") {
                true => format!("the limit {limit} allows no calls before {at}"),
                false => format!("no calls before {at}: {limit}"),
            };
            if until >= self.deadline {
                let mut error = CallError::new(Kind::Budget, what);
                error.limit = Some((limit, until));
                return Err(error);
            }
            let wait = (until - now).to_std().unwrap_or_default();
            if wait >= LONG_WAIT {
                self.log(Level::Info, &format!("waiting: {what}"));
            }
            self.wait(wait)?;
        }
    }

    fn log(&self, level: Level, line: &str) {
        host::log(self.host, self.settings.log_level, level, line);
    }
}

#[cfg(test)]
mod tests;
