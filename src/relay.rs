//! Lines to the relay: gathered into batches, posted, and done only when the relay has said 202,
//! which it says once they are on its disk.

use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::catchpoint::body::{excerpt, parse, read_text};
use crate::config::Settings;
use crate::graphite::{self, Unfit};
use crate::host::{self, Host, Level, Request, SendError};
use crate::sample::Sample;
use crate::state::Lease;

/// How long a batch is offered to a relay that does not take it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest pause between two offers.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Most reasons that are kept in words.
const EXAMPLES: usize = 5;

/// Why lines could not be handed over. They are still at Catchpoint, and the next run fetches them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// No answer came.
    #[error("no connection to the relay at {url}: {error}")]
    Unreachable {
        /// The relay's address.
        url: String,
        /// What the host said.
        error: SendError,
    },
    /// The relay answered with something else than 202.
    #[error("the relay answered HTTP {status}{}{text}", if .text.is_empty() { "" } else { ": " })]
    Refused {
        /// The status code.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
}

impl DeliveryError {
    /// What to do.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Unreachable {
                error: SendError::Denied,
                ..
            } => {
                "add the variable relay_url to allowed_outbound_hosts in spin.toml, as the shipped file has it"
            }
            Self::Unreachable { .. } => {
                "nothing is lost: the next run fetches these results again; start the relay, or set the variable relay_url to where it listens"
            }
            Self::Refused {
                status: 401 | 403, ..
            } => "set the variable relay_token to a token of the relay's token file",
            Self::Refused { status: 413, .. } => {
                "lower batch_bytes in config_graphite.yaml, or raise the relay's max_body_bytes"
            }
            Self::Refused { status: 503, .. } => {
                "nothing is lost: the relay's spool is full or it is stopping; see its log, and whether carbon takes what it sends"
            }
            Self::Refused { .. } => {
                "see the relay's log; check that relay_url is the relay's address"
            }
        }
    }
}

/// What became of the lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Lines that the relay has on its disk.
    pub accepted: u64,
    /// Lines that it did not take, by its reason.
    pub rejected: BTreeMap<String, u64>,
    /// Some of them in words.
    pub examples: Vec<String>,
}

/// Gathers the lines of one run and hands them over.
pub struct Delivery<'r> {
    host: &'r dyn Host,
    settings: &'r Settings,
    url: String,
    run: String,
    batches: u64,
    lines: String,
    /// How many bytes of `lines` come from pages that were read to their end.
    kept: usize,
    deadline: DateTime<Utc>,
    lease: Rc<Lease<'r>>,
    delivered: Delivered,
    error: Option<DeliveryError>,
}

impl<'r> Delivery<'r> {
    /// Hands lines over until `deadline`, and keeps the lease meanwhile.
    pub fn new(
        host: &'r dyn Host,
        settings: &'r Settings,
        run: &str,
        deadline: DateTime<Utc>,
        lease: Rc<Lease<'r>>,
    ) -> Self {
        Self {
            host,
            settings,
            url: format!("{}/v1/lines", settings.relay_url),
            run: run.to_owned(),
            batches: 0,
            lines: String::new(),
            kept: 0,
            deadline,
            lease,
            delivered: Delivered::default(),
            error: None,
        }
    }

    /// Takes a sample, and hands a full batch over. `Ok(false)`: the relay does not take lines, and
    /// [`Delivery::flush`] says why.
    ///
    /// # Errors
    /// The sample cannot be a line.
    pub fn push(&mut self, sample: &Sample<'_>) -> Result<bool, Unfit> {
        graphite::write_line(
            &self.settings.graphite.metric_prefix,
            sample,
            &mut self.lines,
        )?;
        if self.lines.len() >= self.settings.graphite.batch_bytes {
            // The error is kept for `flush`.
            let _ = self.post();
        }
        Ok(self.error.is_none())
    }

    /// Takes a line as it is, for the collector's own series.
    pub fn push_line(&mut self, line: &str) {
        self.lines.push_str(line);
    }

    /// Keeps the lines gathered so far: the page they come from was read to its end.
    pub fn keep(&mut self) {
        self.kept = self.lines.len();
    }

    /// Drops the lines of a page that broke off; it is asked for again.
    pub fn discard(&mut self) {
        self.lines.truncate(self.kept);
    }

    /// Hands the rest over, and says what became of everything since the last flush.
    ///
    /// # Errors
    /// Not everything is in the relay.
    pub fn flush(&mut self) -> Result<Delivered, (Delivered, DeliveryError)> {
        let posted = self.post();
        let delivered = std::mem::take(&mut self.delivered);
        match self.error.take().map_or(posted, Err) {
            Ok(()) => Ok(delivered),
            Err(error) => {
                self.clear();
                Err((delivered, error))
            }
        }
    }

    /// Posts the gathered lines, again and again while that may help.
    fn post(&mut self) -> Result<(), DeliveryError> {
        if self.lines.is_empty() || self.error.is_some() {
            return Ok(());
        }
        let body = compress(&self.lines);
        self.batches += 1;
        let headers = self.headers();
        let give_up = (self.host.now() + PATIENCE).min(self.deadline);
        let mut pause = Duration::from_secs(1);
        let result = loop {
            self.lease.keep();
            let (error, wait) = match self.offer(&body, &headers) {
                Ok(()) => break Ok(()),
                Err(failed) => failed,
            };
            let Some(asked) = wait else {
                break Err(error);
            };
            let wait = asked.max(pause);
            if self.host.now() + wait >= give_up {
                break Err(error);
            }
            let line = format!("{error}; next offer in {wait:?}");
            let wanted = self.settings.catchpoint.log_level;
            host::log(self.host, wanted, Level::Debug, &line);
            self.host.sleep(wait);
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        self.clear();
        if let Err(error) = &result {
            self.error = Some(error.clone());
        }
        result
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.kept = 0;
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", "text/plain; charset=utf-8".to_owned()),
            ("content-encoding", "gzip".to_owned()),
            // The same key for every offer of this batch, so that it is stored once.
            ("idempotency-key", format!("{}-{}", self.run, self.batches)),
        ];
        if let Some(token) = &self.settings.relay_token {
            headers.push(("authorization", format!("Bearer {}", token.reveal())));
        }
        headers
    }

    /// One offer. An error comes with a wait if another offer may help.
    fn offer(
        &mut self,
        body: &[u8],
        headers: &[(&'static str, String)],
    ) -> Result<(), (DeliveryError, Option<Duration>)> {
        let request = Request {
            body: Some(body),
            url: &self.url,
            headers,
            timeout: self.settings.catchpoint.request_timeout,
        };
        let response = self.host.send(&request).map_err(|error| {
            let wait = (error != SendError::Denied).then_some(Duration::ZERO);
            let url = self.settings.relay_url.clone();
            (DeliveryError::Unreachable { url, error }, wait)
        })?;
        let status = response.status;
        let seconds = response
            .retry_after
            .and_then(|text| text.trim().parse().ok());
        let text = read_text(response.body);
        match (status, parse::<Answer>(text.as_bytes())) {
            // 400 with a list of lines: none of the batch was fit, and sending it again is no use.
            (202, Ok(answer))
            | (
                400,
                Ok(
                    answer @ Answer {
                        rejected: Some(_), ..
                    },
                ),
            ) => {
                self.count(answer);
                Ok(())
            }
            _ => {
                let text = excerpt(&text);
                let again = status >= 500 || matches!(status, 408 | 429);
                let wait = again.then(|| Duration::from_secs(seconds.unwrap_or(0)));
                Err((DeliveryError::Refused { status, text }, wait))
            }
        }
    }

    fn count(&mut self, answer: Answer) {
        self.delivered.accepted += answer.accepted;
        let listed = answer.rejected.unwrap_or_default();
        let more = answer.rejected_total.saturating_sub(listed.len() as u64);
        if more > 0 {
            let reason = "not_listed".to_owned();
            *self.delivered.rejected.entry(reason).or_default() += more;
        }
        for line in listed {
            if self.delivered.examples.len() < EXAMPLES {
                let index = usize::try_from(line.line.saturating_sub(1)).unwrap_or(usize::MAX);
                let text = self.lines.lines().nth(index).unwrap_or_default();
                self.delivered
                    .examples
                    .push(format!("{}: {}", line.reason, excerpt(text)));
            }
            *self.delivered.rejected.entry(line.reason).or_default() += 1;
        }
    }
}

/// The relay's answer.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    accepted: u64,
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

fn compress(lines: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(lines.as_bytes());
    encoder.finish().unwrap_or_default()
}
