//! The status page, `GET /`: one page without anything from elsewhere, which says in words how the
//! relay is doing and what to do.
//!
//! What others have sent stands in it as text: `maud` escapes whatever is not markup of this source,
//! and the policy lets the browser run and load nothing but the style and the script below.
//!
//! # Layout
//! - this file: the answer and the page
//! - `verdict` the state in one sentence
//! - `figures` numbers and charts
//! - `hints` what to do about a warning or an error

mod figures;
mod hints;
mod verdict;

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderValue, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use strum::{EnumMessage as _, VariantArray as _};

use super::response::{refuse, with_type};
use super::status::Report;
use super::{Service, Store};
use crate::carbon::delivery::DeliveryError;
use crate::clock;
use crate::history::{MINUTES, Minute, Past, Run};
use crate::host_node::host_node;
use crate::lines::Reason;
use crate::metrics::Metrics;
use crate::recent_log::{Recent, recent};
use crate::server::Answer;
use figures::{bytes, clock_time, count, counted, duration, sparkline};
use hints::hint;
use verdict::{Facts, verdict};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("refresh.js");
/// The query of a page that stays as it is.
const STILL: &str = "refresh=no";
/// Minutes over which a rate is taken: a collector posts once in so many.
const RATE_MINUTES: usize = 15;

/// The browser may use the style and the script of this source, ask this relay, and nothing else.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).ok()
});

impl Service {
    /// Answers `GET /`.
    pub(super) async fn page(&self, request: &Request<Incoming>, sender: SocketAddr) -> Answer {
        let headers = request.headers();
        match &self.tokens {
            Some(tokens) if !tokens.current().allow_reader(headers) => {
                // A browser asks without a token first.
                if headers.contains_key(hyper::header::AUTHORIZATION) {
                    self.note_unauthorized(sender, true);
                }
                let why = "a valid token is needed: give it as the password, with any user name";
                let mut answer = refuse(StatusCode::UNAUTHORIZED, why);
                let scheme = "Basic realm=\"catchpoint-graphite-relay\", charset=\"UTF-8\"";
                let scheme = HeaderValue::from_static(scheme);
                answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                return answer;
            }
            // A page of any site may give its own name the address of this machine, and so read
            // what a relay without tokens shows to the browser's user.
            None if sender.ip().is_loopback() && !names_this_machine(headers) => {
                let why = "open this page as http://localhost or http://127.0.0.1, with the relay's \
                           port, or give the relay a token file";
                return refuse(StatusCode::FORBIDDEN, why);
            }
            _ => {}
        }
        let report = match self.store.get() {
            Some(Store { status, .. }) => {
                status.refresh_metrics();
                status.report(self.is_stopping()).await
            }
            None => Report::starting(),
        };
        let page = Page {
            report,
            metrics: &self.metrics,
            past: &self.history.past(),
            now: clock::now(),
            refreshes: request.uri().query() != Some(STILL),
        };
        let text = page.render().into_string().into_bytes();
        let mut answer = with_type(StatusCode::OK, "text/html; charset=utf-8", text);
        let headers = answer.headers_mut();
        if let Some(policy) = POLICY.clone() {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }
}

/// Whether the host that is asked for is an address, or localhost.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let name = host.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// What the page is made of.
struct Page<'a> {
    report: Report,
    metrics: &'a Metrics,
    past: &'a Past,
    now: u64,
    refreshes: bool,
}

impl Page<'_> {
    fn render(&self) -> Markup {
        let minutes: Vec<Minute> = self.past.minutes.iter().copied().collect();
        let this_minute = self.past.this_minute(self.metrics);
        let first = (minutes.len() + 1).saturating_sub(MINUTES);
        let minutes: Vec<Minute> = minutes
            .into_iter()
            .chain([this_minute])
            .skip(first)
            .collect();
        let facts = Facts {
            report: self.report.clone(),
            waiting: this_minute.waiting,
            confirmed_a_minute: rate(&minutes, |minute| minute.confirmed) as u64,
            silent_for: self.past.last_arrival.map(|at| self.since(at)),
        };
        let verdict = verdict(&facts);
        let level: &str = verdict.level.into();
        let host = host_node();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (verdict.title) " – relay on " (host) }
                    style { (PreEscaped(STYLE)) }
                    @if self.refreshes {
                        noscript { meta http-equiv="refresh" content="5"; }
                    }
                }
                body {
                    header {
                        div.top {
                            p { "catchpoint-graphite-relay on " bdi { (host) } }
                            p { @if self.refreshes {
                                a href={ "/?" (STILL) } { "Stop refreshing" }
                            } @else {
                                a href="/" { "Refresh every 5 s" }
                            } }
                        }
                        div.verdict.warn #stale role="alert" hidden {
                            strong { "The relay does not answer, or refuses. " }
                            "This is what it said before."
                        }
                        p.unseen #spoken role="status" {}
                    }
                    main {
                        div class={ "verdict " (level) } {
                            h1 { (verdict.title) }
                            p { (verdict.advice) }
                        }
                        div.cards { (self.cards(&minutes)) }
                        section aria-labelledby="runs" { h2 #runs { "Last run by test type" } (self.runs()) }
                        section aria-labelledby="refused" { h2 #refused { "Refused lines" } (self.refused()) }
                        section aria-labelledby="log" { h2 #log { "Recent warnings and errors" } (self.log(&recent())) }
                        p.soft {
                            "As of " (httpdate::fmt_http_date(SystemTime::now())) ". Version " (env!("CARGO_PKG_VERSION"))
                            ", started " (duration(self.since(self.past.started))) " ago."
                        }
                    }
                    footer { a href="/metrics" { "Metrics for Prometheus" } a href="/readyz" { "State as JSON" } }
                    @if self.refreshes {
                        script { (PreEscaped(SCRIPT)) }
                    }
                }
            }
        }
    }

    fn cards(&self, minutes: &[Minute]) -> Markup {
        let (metrics, report) = (self.metrics, &self.report);
        let chart = |what, of: fn(&Minute) -> u64| {
            let values: Vec<u64> = minutes.iter().map(of).collect();
            sparkline(what, &values)
        };
        let mean = format!("On average over {} min", minutes.len().min(RATE_MINUTES));
        let arrival = match self.past.last_arrival {
            Some(at) => format!(", the last {} ago", duration(self.since(at))),
            None => String::new(),
        };
        html! {
            section aria-labelledby="in" {
                h2 #in { "Lines in" }
                p.big { (a_minute(minutes, |minute| minute.stored)) }
                (chart("Lines stored a minute", |minute| minute.stored))
                p.soft { (mean) ". " (counted(metrics.lines_accepted.get(), "line")) " stored since the start" (arrival) "." }
            }
            section aria-labelledby="out" {
                h2 #out { "Lines to carbon" }
                p.big { (a_minute(minutes, |minute| minute.confirmed)) }
                (chart("Lines confirmed a minute", |minute| minute.confirmed))
                p.soft { (mean) ". " (counted(metrics.lines_confirmed.get(), "line")) " confirmed since the start, those sent again included." }
            }
            section aria-labelledby="waiting" {
                h2 #waiting { "Waiting" }
                p.big { (counted(metrics.spool_lines.get(), "line")) }
                (chart("Lines waiting", |minute| minute.waiting))
                p.soft {
                    (bytes(report.spool_bytes)) " of " (bytes(report.spool_max_bytes))
                    @if report.spool_batches > 0 { ", the oldest for " (duration(report.spool_oldest_age_seconds)) }
                    ". Confirmed batches kept in case carbon restarts: " (count(metrics.replay_batches.get())) "."
                }
            }
            section aria-labelledby="carbon" {
                h2 #carbon { "Carbon" }
                (self.carbon())
            }
        }
    }

    fn carbon(&self) -> Markup {
        let metrics = self.metrics;
        let (word, sentence) = match self.report.carbon {
            "up" => ("Up", "It confirmed the last delivery."),
            "down" => (
                "Down",
                "It did not confirm the last delivery. The relay tries again all the time.",
            ),
            _ => ("Not known yet", "Nothing was delivered since the start."),
        };
        let failed = <DeliveryError as strum::VariantNames>::VARIANTS;
        let failed = failed
            .iter()
            .map(|reason| (*reason, metrics.deliveries_failed.get(reason)));
        let failed: Vec<_> = failed.filter(|(_, times)| *times > 0).collect();
        let restarts = metrics.carbon_restarts.get();
        html! {
            p.big { (word) }
            p { (sentence) }
            @if self.report.confirmation_weak {
                p { "A restart may go unnoticed: something closes idle connections to carbon." }
            }
            @if restarts > 0 {
                p.soft { "Gone " (counted(restarts, "time")) " since the start; what it had confirmed was sent again." }
            }
            @if !failed.is_empty() {
                p.soft {
                    "Failed deliveries since the start: "
                    @for (n, (reason, times)) in failed.iter().enumerate() {
                        @if n > 0 { ", " } (count(*times)) " " (reason.replace('_', " "))
                    }
                    "."
                }
            }
        }
    }

    fn runs(&self) -> Markup {
        html! {
            @for (collector, run) in &self.past.runs { (self.run(collector, run)) }
            @if self.past.runs.is_empty() {
                p { "No collector has reported a run since the relay started " (duration(self.since(self.past.started))) " ago." }
                p.soft { "Each run reports itself, unless " code { "self_metrics" } " is false." }
            }
        }
    }

    fn run(&self, collector: &str, run: &Run) -> Markup {
        html! {
            table {
                caption {
                    "Collector " code { (collector) } ": " (duration(self.since(run.ended))) " ago, "
                    (run.collected) " of " (counted(run.configured, "test")) " in "
                    (run.milliseconds / 1000) "." (run.milliseconds % 1000 / 100) " s, "
                    @if run.failures == 0 { "nothing failed" } @else {
                        strong { (counted(run.failures, "failure")) } ": see the collector's log"
                    }
                    @if run.gap_tests > 0 { ", " (counted(run.gap_tests, "test")) " with results still missing" }
                    "."
                }
                thead { tr {
                    th scope="col" { "Test type" } th scope="col" { "Last results" }
                    th.number scope="col" { "Tests" } th.number scope="col" { "Lines" }
                } }
                tbody { @for (name, figures) in &run.types { tr {
                    th scope="row" { code { (name) } }
                    td {
                        (duration(self.since(figures.ended))) " ago"
                        @if figures.ended < run.ended || figures.tests == 0 { ", " strong { "none in the last run" } }
                    }
                    td.number { (count(figures.tests)) } td.number { (count(figures.lines)) }
                } } }
            }
        }
    }

    fn refused(&self) -> Markup {
        let of_reason = |reason: &Reason| (*reason, self.metrics.lines_rejected.get(reason.name()));
        let reasons = Reason::VARIANTS.iter().map(of_reason);
        let mut reasons: Vec<_> = reasons.filter(|(_, lines)| *lines > 0).collect();
        reasons.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
        html! {
            @if reasons.is_empty() {
                p { "None since the start." }
            } @else {
                p { "A refused line costs no other line of its post. More examples: " code { "rejected/lines.log" } " in the folder of the spool." }
            }
            ul { @for (reason, lines) in reasons { li {
                h3 { (counted(lines, "line")) ": " code { (reason.name()) } }
                p.soft { (with_code(reason.get_documentation().unwrap_or_default())) }
                @for example in self.past.refused.get(reason.name()).into_iter().flatten() {
                    p { code { (example) } }
                }
            } } }
        }
    }

    fn log(&self, recent: &[Recent]) -> Markup {
        html! {
            @if recent.is_empty() { p { "None since the start." } }
            ul { @for one in recent { li {
                h3 {
                    @if one.is_error { span.bad { "Error: " } } @else { span.warn { "Warning: " } }
                    (one.message)
                }
                @if let Some(hint) = hint(&one.message) { p { (with_code(hint)) } }
                p.soft {
                    (duration(self.since(one.last))) " ago (" (clock_time(one.last)) ")"
                    @if one.count > 1 { ", logged " (counted(one.count, "time")) " since the start" }
                }
                @if !one.fields.is_empty() { p.soft { code { (one.fields) } } }
            } } }
        }
    }

    fn since(&self, time: u64) -> u64 {
        self.now.saturating_sub(time)
    }
}

/// How many a minute in the last minutes.
fn rate(minutes: &[Minute], of: fn(&Minute) -> u64) -> f64 {
    let last = minutes.iter().rev().take(RATE_MINUTES);
    let sum: u64 = last.clone().map(of).sum();
    sum as f64 / last.count().max(1) as f64
}

fn a_minute(minutes: &[Minute], of: fn(&Minute) -> u64) -> String {
    match rate(minutes, of) {
        rate if 0.0 < rate && rate < 1.0 => "under 1 a minute".to_owned(),
        rate => format!("{} a minute", count(rate as u64)),
    }
}

/// A text of this source, with its parts between backticks as code.
fn with_code(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
