//! The client of the relay: posts batches of lines. Lines are delivered only when the relay has said
//! 202, which it says once they are on its disk.
//!
//! A post returns its outcome: delivered, or why not, and then [`RelayError::is_down`] tells whether
//! the relay refuses this batch alone or takes none.

mod error;

use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::host::body::{DeadlineReader, excerpt, read_text};
use crate::host::{self, Host, Level, Request, Started};
use crate::retry::{later, retry_after};
use crate::state::Lease;
pub use error::RelayError;

/// How long a batch is posted again to a relay that does not take it.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// Longest pause between two posts that the relay did not ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// No line is longer, and a batch ends with the line that fills it.
const LONGEST_LINE: usize = 16 * 1024;

/// Most rejected lines that are kept in words.
const EXAMPLES: usize = 5;

/// The header that lets this component in, if the relay has a token.
pub(crate) fn authorization(settings: &Settings) -> Option<(&'static str, String)> {
    let token = settings.relay_token.as_ref()?;
    Some(("authorization", format!("Bearer {}", token.reveal())))
}

/// What became of posted lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Lines that the relay has on its disk.
    pub accepted: u64,
    /// Lines that it did not take, by its reason.
    pub rejected: BTreeMap<String, u64>,
    /// Some of them in words.
    pub examples: Vec<String>,
}

/// What the relay has stored of posts about a single result, since it started: what was pushed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Results.
    pub results: u64,
    /// Their lines.
    pub lines: u64,
    /// From each result to its storing, in seconds, summed up.
    pub age_seconds: u64,
}

/// Posts the lines of one run.
pub struct RelayClient<'r> {
    host: &'r dyn Host,
    settings: &'r Settings,
    url: String,
    run: String,
    /// How many batches were posted, for the keys that tell them apart.
    batches: u64,
    /// Most bytes of one batch: less than configured once the relay has refused one for its size.
    most: usize,
    deadline: DateTime<Utc>,
    lease: Option<Rc<Lease<'r>>>,
    /// When the one result was measured that all lines are of.
    result_time: Option<i64>,
    /// Lines whose answer has not been waited for.
    under_way: Option<(Vec<u8>, Begun<'r>)>,
}

/// A batch that was posted once.
struct Begun<'r> {
    since: DateTime<Utc>,
    gzip: Option<Vec<u8>>,
    headers: Vec<(&'static str, String)>,
    answer: Started<'r>,
}

impl<'r> RelayClient<'r> {
    /// A client that posts until `deadline`, and keeps the run's lease meanwhile, if there is one.
    pub fn new(
        host: &'r dyn Host,
        settings: &'r Settings,
        run: &str,
        deadline: DateTime<Utc>,
        lease: Option<Rc<Lease<'r>>>,
    ) -> Self {
        Self {
            host,
            settings,
            url: format!("{}/v1/lines", settings.relay_url),
            run: run.to_owned(),
            batches: 0,
            most: settings.graphite.batch_bytes,
            deadline,
            lease,
            result_time: None,
            under_way: None,
        }
    }

    /// All lines are of one result, of this epoch second: the relay counts it as pushed.
    pub fn of_result(mut self, time: i64) -> Self {
        self.result_time = Some(time);
        self
    }

    /// What was pushed. The relay counts it, because a push leaves nothing in the store; of several
    /// components that share a relay it is the sum. None if the relay does not say.
    pub fn pushed(&self) -> Option<Pushed> {
        let url = format!("{}/metrics", self.settings.relay_url);
        let response = self.host.send(&Request {
            body: None,
            url: &url,
            headers: &[],
            timeout: self.timeout(),
        });
        let response = response.ok().filter(|response| response.status == 200)?;
        let body = DeadlineReader::new(response.body, self.host, self.deadline, &|| {});
        let text = read_text(body);
        let number = |name| {
            let of_line = |line: &str| {
                let result = line.strip_prefix("catchpoint_graphite_relay_result_")?;
                result.strip_prefix(name)?.trim().parse::<f64>().ok()
            };
            Some(text.lines().find_map(of_line)? as u64)
        };
        Some(Pushed {
            results: number("age_seconds_count ")?,
            lines: number("lines_total ")?,
            age_seconds: number("age_seconds_sum ")?,
        })
    }

    /// So many bytes of lines make a batch full: less than the most, by the line that fills it.
    pub fn full(&self) -> usize {
        self.most.saturating_sub(LONGEST_LINE).max(self.most / 2)
    }

    /// Hands over lines, and leaves none of them in `lines`. If there is `more` to come, they are on
    /// their way when this returns, and the next call waits for their answer; so the next batch is
    /// made meanwhile. They are posted again and again while that may help. A batch that is too
    /// large for the relay is posted in halves, and those after it are smaller. What becomes of the
    /// lines is added to `delivered`, also of those before an error.
    ///
    /// # Errors
    /// Not all lines before these are in the relay, or these are not, without `more`.
    pub fn post(
        &mut self,
        lines: &mut Vec<u8>,
        more: bool,
        delivered: &mut Delivered,
    ) -> Result<(), RelayError> {
        let mut room = Vec::new();
        // One after the other: of two values of a point, the later one must come later.
        if let Some((lines, begun)) = self.under_way.take() {
            self.finish(&lines, begun, delivered)?;
            room = lines;
            room.clear();
        }
        if lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::replace(lines, room);
        let begun = self.begin(&lines);
        if more {
            self.under_way = Some((lines, begun));
            return Ok(());
        }
        self.finish(&lines, begun, delivered)
    }

    /// Posts lines without waiting for the answer.
    fn begin(&mut self, lines: &[u8]) -> Begun<'r> {
        self.batches += 1;
        let gzip = (!is_loopback(&self.settings.relay_url)).then(|| compress(lines));
        let mut headers = vec![
            ("content-type", "text/plain; charset=utf-8".to_owned()),
            // The same key for every post of this batch, so that it is stored once.
            ("idempotency-key", format!("{}-{}", self.run, self.batches)),
        ];
        if gzip.is_some() {
            headers.push(("content-encoding", "gzip".to_owned()));
        }
        if let Some(time) = self.result_time {
            headers.push(("result-time", time.to_string()));
        }
        headers.extend(authorization(self.settings));
        let since = self.host.now();
        let body = gzip.as_deref().unwrap_or(lines);
        let answer = self.start(body, &headers);
        Begun {
            since,
            gzip,
            headers,
            answer,
        }
    }

    /// Waits until the relay has lines, and posts them again where that may help.
    fn finish(
        &mut self,
        lines: &[u8],
        begun: Begun<'r>,
        delivered: &mut Delivered,
    ) -> Result<(), RelayError> {
        let too_large = match self.finish_batch(lines, begun) {
            Ok(answer) => {
                answer.count(lines, delivered);
                return Ok(());
            }
            Err(error @ RelayError::Refused { status: 413, .. }) => error,
            Err(error) => return Err(error),
        };
        let (first, second) = halves(lines).ok_or(too_large)?;
        self.most = self.most.min(lines.len() / 2 + LONGEST_LINE);
        for half in [first, second] {
            let begun = self.begin(half);
            self.finish(half, begun, delivered)?;
        }
        Ok(())
    }

    fn finish_batch(&self, lines: &[u8], begun: Begun<'r>) -> Result<Answer, RelayError> {
        let Begun {
            since,
            gzip,
            headers,
            mut answer,
        } = begun;
        let body = gzip.as_deref().unwrap_or(lines);
        let give_up = later(since, RETRY_FOR).min(self.deadline);
        let mut pause = Duration::from_secs(1);
        loop {
            let (error, asked_wait) = match self.answer(answer) {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let wait = asked_wait.unwrap_or_default().max(pause);
            if !error.is_retryable() || later(self.host.now(), wait) >= give_up {
                return Err(error);
            }
            let wanted = self.settings.catchpoint.log_level;
            let line = format!("{error}; trying again in {wait:?}");
            host::log(self.host, wanted, Level::Debug, &line);
            match &self.lease {
                Some(lease) => {
                    lease.sleep(wait);
                }
                None => self.host.sleep(wait),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            answer = self.start(body, &headers);
        }
    }

    /// One post.
    fn start(&self, body: &[u8], headers: &[(&'static str, String)]) -> Started<'r> {
        let timeout = self.timeout();
        let mut headers = headers.to_vec();
        // The relay compares it with its own clock before it believes that lines are of the future.
        let date = self
            .host
            .now()
            .format("%a, %d %b %Y %H:%M:%S GMT")
            .to_string();
        headers.push(("date", date));
        self.host.start(&Request {
            body: Some(body),
            url: &self.url,
            headers: &headers,
            timeout,
        })
    }

    /// How long a request that begins now may take. It holds the lease for that time.
    fn timeout(&self) -> Duration {
        let left = (self.deadline - self.host.now())
            .to_std()
            .unwrap_or_default();
        let timeout = self.settings.catchpoint.request_timeout;
        if let Some(lease) = &self.lease {
            lease.renew(timeout * 2);
        }
        timeout.min(left.max(Duration::from_secs(1)))
    }

    /// The answer to a post. An error comes with the wait that the relay asks for.
    fn answer(&self, started: Started<'r>) -> Result<Answer, (RelayError, Option<Duration>)> {
        let response = started().map_err(|error| {
            let url = self.settings.relay_url.clone();
            (RelayError::Unreachable { url, error }, None)
        })?;
        let status = response.status;
        let wait = response.headers.get("retry-after");
        let wait = wait.and_then(|text| retry_after(text, self.host.now()));
        let tick = || self.lease.iter().for_each(|lease| lease.keep());
        let body = DeadlineReader::new(response.body, self.host, self.deadline, &tick);
        let text = read_text(body);
        match (status, serde_json::from_str::<Answer>(&text)) {
            // Without a count it is not the relay that answers, and nothing is on its disk.
            (202, Ok(answer)) if answer.accepted.is_some() => Ok(answer),
            // 400 with a list of lines: none of them can be used, and posting them again is no use.
            (400, Ok(answer)) if answer.rejected.is_some() => Ok(answer),
            _ => {
                // A proxy may quote the request.
                let text = match &self.settings.relay_token {
                    Some(token) => text.replace(token.reveal(), "***"),
                    None => text,
                };
                let text = excerpt(&text);
                Err((RelayError::Refused { status, text }, wait))
            }
        }
    }
}

/// The relay's answer.
#[derive(Deserialize)]
struct Answer {
    accepted: Option<u64>,
    /// The first of the lines that it did not take.
    rejected: Option<Vec<Rejected>>,
    /// All of them.
    #[serde(default)]
    rejected_total: u64,
}

#[derive(Deserialize)]
struct Rejected {
    /// Counted from 1.
    line: u64,
    reason: String,
}

impl Answer {
    /// Counts what became of these lines.
    fn count(self, lines: &[u8], delivered: &mut Delivered) {
        delivered.accepted += self.accepted.unwrap_or_default();
        let listed = self.rejected.unwrap_or_default();
        let more = self.rejected_total.saturating_sub(listed.len() as u64);
        if more > 0 {
            let reason = "not_listed".to_owned();
            *delivered.rejected.entry(reason).or_default() += more;
        }
        for rejected in listed {
            if delivered.examples.len() < EXAMPLES {
                let index = usize::try_from(rejected.line.saturating_sub(1)).unwrap_or(usize::MAX);
                let line = lines.split(|byte| *byte == b'\n').nth(index);
                let text = excerpt(&String::from_utf8_lossy(line.unwrap_or_default()));
                let example = format!("{}: {text}", rejected.reason);
                delivered.examples.push(example);
            }
            *delivered.rejected.entry(rejected.reason).or_default() += 1;
        }
    }
}

/// Two halves of more than one line, parted between lines.
fn halves(lines: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, _) = lines.split_at_checked(lines.len() / 2)?;
    let at = match before.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None => lines.iter().position(|byte| *byte == b'\n')? + 1,
    };
    let (first, second) = lines.split_at_checked(at)?;
    (!second.is_empty()).then_some((first, second))
}

/// Whether a relay is on this machine, where compression costs more than it saves.
fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    let host = host.split(['/', '?']).next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name == "[::1]" || host == "[::1]" || name.starts_with("127.")
}

fn compress(lines: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(lines);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests;
