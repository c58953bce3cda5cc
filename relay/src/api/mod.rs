//! The relay's HTTP interface, which docs/relay-http.md specifies.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/lines` | takes lines; needs a token where the relay has one |
//! | `GET /healthz` | `200`: the process runs |
//! | `GET /readyz` | `200` when it can store lines, else `503`; carbon's state only in the body |
//! | `GET /metrics` | for Prometheus |
//! | `GET /` | the status page, for people; needs a token where the relay has one |
//!
//! `/healthz`, `/readyz` and `/metrics` tell figures and no data, and stay open, since probes and
//! scrapers have no token.
//!
//! # Layout
//! - this file: routing
//! - [`post`] the way of a post
//! - [`body`] reading and unpacking
//! - [`response`] answers, and why a post is refused
//! - [`status`] how the relay is doing; [`status_page`] the same for people

pub mod body;
pub mod post;
pub mod response;
pub mod status;
pub mod status_page;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, EXPECT, HeaderValue};
use hyper::{Method, Request, StatusCode};
use strum::VariantNames as _;
use tokio::sync::watch;

use crate::history::History;
use crate::lines::Reason;
use crate::lines::reject_log::RejectLog;
use crate::log_throttle::LogThrottle;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::server::admission::Ticket;
use crate::server::auth::Tokens;
use crate::server::watched::Watched;
use crate::shutdown::Phase;
use crate::spool::commit::Committer;
use body::{Reader, linger};
use response::{Answer, Refusal, STORED};
use status::{Report, Status};

/// Answers requests.
pub struct Service {
    tokens: Option<Arc<Watched<Tokens>>>,
    reader: Reader,
    reject_log: Arc<RejectLog>,
    metrics: Arc<Metrics>,
    history: Arc<History>,
    phase: watch::Receiver<Phase>,
    /// How far ahead of the clock a timestamp may be, in seconds.
    max_future_seconds: u64,
    /// The spool, once it is open.
    store: OnceLock<Store>,
    /// Has a receiver for each post that is being read or stored.
    under_way: watch::Sender<()>,
    unauthorized_log: LogThrottle,
}

struct Store {
    committer: Committer,
    status: Status,
}

impl Service {
    /// A service that answers `503` to posts until [`open`](Self::open). Without tokens everybody may
    /// post.
    #[must_use]
    pub fn new(
        tokens: Option<Arc<Watched<Tokens>>>,
        reader: Reader,
        reject_log: RejectLog,
        metrics: Arc<Metrics>,
        phase: watch::Receiver<Phase>,
        max_future_seconds: u64,
    ) -> Self {
        metrics.posts.init(&STORED);
        metrics.posts.init(Refusal::VARIANTS);
        metrics.lines_rejected.init(Reason::VARIANTS);
        Self {
            tokens,
            reader,
            reject_log: Arc::new(reject_log),
            metrics,
            history: Arc::default(),
            phase,
            max_future_seconds,
            store: OnceLock::new(),
            under_way: watch::Sender::new(()),
            unauthorized_log: LogThrottle::default(),
        }
    }

    /// Begins to take posts.
    pub fn open(&self, committer: Committer, status: Status) {
        // Nobody opens it twice.
        let _ = self.store.set(Store { committer, status });
    }

    /// What it keeps for the status page.
    #[must_use]
    pub fn history(&self) -> Arc<History> {
        Arc::clone(&self.history)
    }

    /// Waits until all posts that were let in are answered.
    pub async fn idle(&self) {
        self.under_way.closed().await;
    }

    fn is_stopping(&self) -> bool {
        *self.phase.borrow() >= Phase::Refusing
    }

    fn render_metrics(&self) -> Answer {
        if let Some(store) = self.store.get() {
            store.status.refresh_metrics();
        }
        response::with_type(StatusCode::OK, CONTENT_TYPE, self.metrics.render())
    }

    async fn report(&self) -> Report {
        match self.store.get() {
            Some(store) => store.status.report(self.is_stopping()).await,
            None => Report {
                starting: true,
                ..Report::default()
            },
        }
    }

    /// Answers a request that came over the connection with this ticket.
    pub async fn answer(&self, request: Request<Incoming>, ticket: &Ticket) -> Answer {
        let start = Instant::now();
        let (head, mut body) = request.into_parts();
        let is_get = matches!(head.method, Method::GET | Method::HEAD);
        // A sender that waits to be asked for the body (100-continue) does not send it before.
        let mut is_asked = !head.headers.contains_key(EXPECT);
        let answer = match head.uri.path() {
            "/v1/lines" if head.method == Method::POST => {
                let result = match self.admit(&head.headers, &body, ticket) {
                    Ok(admitted) => {
                        is_asked = true;
                        // In a box, or each idle connection had room for it.
                        Box::pin(self.take(admitted, &mut body, ticket)).await
                    }
                    Err(refusal) => Err(refusal),
                };
                let (outcome, answer) = response::outcome(&result);
                self.metrics.posts.add(outcome, 1);
                let seconds = start.elapsed().as_secs_f64();
                self.metrics.post_seconds.observe(seconds);
                answer
            }
            "/v1/lines" => wrong_method("POST"),
            "/" | "/healthz" | "/readyz" | "/metrics" if !is_get => wrong_method("GET, HEAD"),
            "/" => self.page(&head, ticket).await,
            "/healthz" => response::with_type(StatusCode::OK, "text/plain", "ok\n"),
            "/metrics" => self.render_metrics(),
            "/readyz" => {
                let report = self.report().await;
                let status = if report.ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                response::json(status, &report)
            }
            _ => {
                let why = "no such path, lines are posted to /v1/lines";
                response::refuse(StatusCode::NOT_FOUND, why)
            }
        };
        if is_asked && !body.is_end_stream() {
            tokio::spawn(linger(body));
        }
        answer
    }
}

fn wrong_method(allowed: &'static str) -> Answer {
    let why = format!("this method is not allowed here, use {allowed}");
    let mut answer = response::refuse(StatusCode::METHOD_NOT_ALLOWED, &why);
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(ALLOW, allowed);
    answer
}
