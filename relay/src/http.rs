//! The relay's HTTP interface.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/lines` | takes lines; the only one that needs a token |
//! | `GET /healthz` | `200`: the process runs |
//! | `GET /readyz` | `200` when it can store lines, else `503`; carbon's state only in the body |
//! | `GET /metrics` | for Prometheus |
//!
//! The last three tell figures and no data, and stay open, since probes and scrapers have no
//! token.
//!
//! # Layout
//! - this file: routing, and the way of a post
//! - [`outcome`] what becomes of a post, and its answer
//! - [`body`] reading and unpacking, into a [`buffer`]

pub mod body;
pub mod buffer;
pub mod outcome;

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;
use tracing::debug;

use crate::access::Gate;
use crate::answer::{MAX_LISTED, Rejected};
use crate::clock;
use crate::inlet::connections::Ticket;
use crate::lines::{self, Reason};
use crate::metrics::{Metrics, exposition};
use crate::phase::Phase;
use crate::rejected::{Rejects, SAMPLES_PER_POST, Sample};
use crate::spool::commit::Committer;
use crate::spool::keys::Key;
use crate::spool::store::{Post, StoreError, Stored};
use crate::status::Status;
use body::{Encoding, Reader};
use buffer::Buffer;
use outcome::Outcome;

/// Largest head of a request.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Longest idempotency key.
const MAX_KEY_BYTES: usize = 255;

type Answer = Response<Full<Bytes>>;

/// Answers requests.
pub struct Service {
    /// Who may post.
    pub gate: Arc<Gate>,
    /// Stores lines.
    pub committer: Committer,
    /// Reads bodies.
    pub reader: Reader,
    /// Keeps samples of refused lines.
    pub rejects: Arc<Rejects>,
    /// Says how the relay is doing.
    pub status: Status,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// How far the relay is with stopping.
    pub phase: watch::Receiver<Phase>,
    /// Posts that were let in and are not answered yet.
    pub under_way: watch::Sender<usize>,
}

/// Counts a post as under way as long as it lives.
struct UnderWay<'a>(&'a watch::Sender<usize>);

impl<'a> UnderWay<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Service {
    /// Answers a request that came over the connection with this ticket.
    ///
    /// # Errors
    /// Never.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        ticket: &Ticket,
    ) -> Result<Answer, Infallible> {
        let start = Instant::now();
        if head_bytes(&request) > MAX_HEAD_BYTES {
            let mut answer = outcome::refuse(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the head of the request has more than 16 KiB",
            );
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
            return Ok(answer);
        }
        let method = request.method().clone();
        let allowed = match request.uri().path() {
            "/v1/lines" => {
                if method == Method::POST {
                    let outcome = self.post(request, ticket).await;
                    self.metrics.posts.add(outcome.name(), 1);
                    self.metrics.post_seconds.observe(start.elapsed());
                    return Ok(outcome.response());
                }
                "POST"
            }
            "/healthz" | "/readyz" | "/metrics"
                if method == Method::GET || method == Method::HEAD =>
            {
                return Ok(self.get(request.uri().path()).await);
            }
            "/healthz" | "/readyz" | "/metrics" => "GET, HEAD",
            _ => {
                return Ok(outcome::refuse(
                    StatusCode::NOT_FOUND,
                    "no such path, lines are posted to /v1/lines",
                ));
            }
        };
        let mut answer = outcome::refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "this path takes another method",
        );
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allowed));
        Ok(answer)
    }

    fn is_stopping(&self) -> bool {
        *self.phase.borrow() >= Phase::Refusing
    }

    async fn get(&self, path: &str) -> Answer {
        match path {
            "/metrics" => {
                let text =
                    exposition::render(&self.metrics, self.status.content(), self.status.limits());
                outcome::with_type(
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    text.into_bytes(),
                )
            }
            "/readyz" => {
                let report = self.status.report(self.is_stopping()).await;
                let status = if report.ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                outcome::json(status, &report)
            }
            _ => outcome::with_type(StatusCode::OK, "text/plain", b"ok\n".to_vec()),
        }
    }

    async fn post(&self, request: Request<Incoming>, ticket: &Ticket) -> Outcome {
        let (head, body) = request.into_parts();
        let (encoding, key) = match self.admit(&head.headers, body.size_hint().lower()) {
            Ok(admitted) => admitted,
            Err(outcome) => {
                body::discard(body).await;
                return outcome;
            }
        };
        let _busy = ticket.busy();
        let _under_way = UnderWay::new(&self.under_way);
        let (lines, room) = match self.reader.read(body, encoding).await {
            Ok(read) => read,
            Err(outcome) => return outcome,
        };
        let post = self.sift(lines, key).await;
        if post.accepted == 0 {
            return Outcome::NothingUsable {
                rejected: post.rejected,
                rejected_total: post.rejected_total,
            };
        }
        match self.committer.store(post, room).await {
            Ok(Stored::Now(answer)) => Outcome::Stored(answer),
            Ok(Stored::Before(answer)) => Outcome::Repeated(answer),
            Err(StoreError::Full) => Outcome::Full,
            Err(StoreError::Disk) => Outcome::Disk,
        }
    }

    /// Decides by the head alone, before anything of the body is read.
    fn admit<'a>(
        &self,
        headers: &'a HeaderMap,
        body_bytes: u64,
    ) -> Result<(Encoding, Option<&'a [u8]>), Outcome> {
        if let Some(tokens) = self.gate.access().tokens {
            let given = headers
                .get(AUTHORIZATION)
                .and_then(|value| bearer(value.as_bytes()));
            if !given.is_some_and(|token| tokens.allow(token)) {
                debug!("a post without a valid token is refused");
                return Err(Outcome::Unauthorized);
            }
        }
        if self.is_stopping() {
            return Err(Outcome::Draining);
        }
        let encoding = match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None => Encoding::Identity,
            Some(name) if name.eq_ignore_ascii_case(b"identity") => Encoding::Identity,
            Some(name) if name.eq_ignore_ascii_case(b"gzip") => Encoding::Gzip,
            Some(_) => return Err(Outcome::UnknownEncoding),
        };
        let limit = self.reader.max_bytes();
        if body_bytes > limit as u64 {
            return Err(Outcome::TooLarge(limit));
        }
        let key = match headers.get("idempotency-key").map(HeaderValue::as_bytes) {
            Some(text) if text.is_empty() || text.len() > MAX_KEY_BYTES => {
                return Err(Outcome::BadRequest(
                    "Idempotency-Key must have 1 to 255 characters",
                ));
            }
            key => key,
        };
        Ok((encoding, key))
    }

    /// Takes the good lines, and reports the others. `key` is the sender's idempotency key.
    async fn sift(&self, mut body: Buffer, key: Option<&[u8]>) -> Post {
        let key = key.map(|text| Key::new(text, body.as_ref()));
        if body.as_ref().last().is_some_and(|last| *last != b'\n') {
            // There is room for it. If there were not, the last line would be left out.
            let _ = body.write(b"\n");
        }
        let now = clock::now();
        let mut rejected = Vec::new();
        let mut rejected_total = 0;
        let mut counts = [0; Reason::ALL.len()];
        let mut samples = Vec::new();
        let sifted = lines::sift(body.content_mut(), now, |refused| {
            if let Some(count) = counts.get_mut(refused.reason as usize) {
                *count += 1;
            }
            rejected_total += 1;
            if rejected.len() < MAX_LISTED {
                rejected.push(Rejected {
                    line: refused.line,
                    reason: refused.reason.name().to_owned(),
                });
            }
            if samples.len() < SAMPLES_PER_POST {
                samples.push(Sample::new(refused));
            }
        });
        if rejected_total > 0 {
            for (reason, count) in Reason::ALL.iter().zip(counts) {
                self.metrics.lines_rejected.add(reason.name(), count);
            }
            let rejects = Arc::clone(&self.rejects);
            // Fails only if the runtime is shutting down; they are only samples.
            let _ =
                tokio::task::spawn_blocking(move || rejects.note(&samples, rejected_total)).await;
        }
        body.truncate(sifted.bytes);
        Post {
            lines: Bytes::from_owner(body),
            accepted: sifted.accepted,
            rejected,
            rejected_total,
            key,
        }
    }
}

/// The token of an `Authorization` header; the scheme's name is case-insensitive.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

fn head_bytes(request: &Request<Incoming>) -> usize {
    let fields = request.headers().iter();
    let line = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    fields.fold(line, |bytes, (name, value)| {
        bytes + name.as_str().len() + value.len() + 4
    })
}
