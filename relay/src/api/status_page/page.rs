//! The page itself.

use std::cmp::Reverse;
use std::time::SystemTime;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use strum::{EnumMessage as _, VariantArray as _};

use super::figures::{bytes, clock_time, count, counted, duration, sparkline};
use super::headline::headline;
use crate::api::status::{Carbon, Report};
use crate::history::{Minute, Past, Run};
use crate::host_node::host_node;
use crate::lines::Reason;
use crate::metrics::Metrics;
use crate::recent_log::{Recent, recent};

pub const STYLE: &str = include_str!("style.css");
pub const SCRIPT: &str = include_str!("refresh.js");
/// The query of a page that stays as it is.
pub const STILL: &str = "refresh=no";

/// Minutes over which a rate is taken: a collector posts once in so many.
const RATE_MINUTES: usize = 15;

/// A figure of a minute.
type OfMinute = fn(&Minute) -> u64;

/// What the page is made of.
pub struct Page<'a> {
    /// The relay's state.
    pub report: Report,
    /// What it counts; the gauges are up to date.
    pub metrics: &'a Metrics,
    /// What was.
    pub past: &'a Past,
    /// Seconds since 1970.
    pub now: u64,
    /// Whether it refreshes itself.
    pub refreshes: bool,
}

impl Page<'_> {
    /// The whole page.
    pub fn render(&self) -> Markup {
        let minutes = self.past.minutes(self.metrics);
        let state = headline(
            &self.report,
            self.metrics.spool_lines.get(),
            rate(&minutes, |minute| minute.confirmed) as u64,
            self.past.last_arrival.map(|at| self.since(at)),
        );
        let host = host_node();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (state.title) " – relay on " (host) }
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
                        div.state.warn #stale role="alert" hidden {
                            strong { "The relay does not answer, or refuses. " }
                            "This is what it said before."
                        }
                        p.unseen #spoken role="status" {}
                    }
                    main {
                        div class={ "state " (state.level) } {
                            h1 { (state.title) }
                            p { (with_code(&state.advice)) }
                        }
                        div.cards { (self.cards(&minutes)) }
                        (section("runs", "Last run by test type", &self.runs()))
                        (section("refused", "Refused lines", &self.refused()))
                        (section("log", "Recent warnings and errors", &self.log(&recent())))
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
        // What the chart is about, a value of each minute, the figure above, and the text below.
        let card = |what, of: OfMinute, figure: String, text: Markup| {
            let values: Vec<u64> = minutes.iter().map(of).collect();
            html! { p.big { (figure) } (sparkline(what, &values)) p.soft { (text) } }
        };
        let stored: OfMinute = |minute| minute.stored;
        let confirmed: OfMinute = |minute| minute.confirmed;
        let mean = format!("On average over {} min. ", minutes.len().min(RATE_MINUTES));
        let lines_in = html! {
            (mean) (counted(metrics.lines_accepted.get(), "line")) " stored since the start"
            @if let Some(at) = self.past.last_arrival { ", the last " (duration(self.since(at))) " ago" }
            "."
        };
        let lines_out = html! {
            (mean) (counted(metrics.lines_confirmed.get(), "line"))
            " confirmed since the start, those sent again included."
        };
        let waiting = html! {
            (bytes(report.spool_bytes)) " of " (bytes(report.spool_max_bytes))
            @if report.spool_batches > 0 { ", the oldest for " (duration(report.spool_oldest_age_seconds)) }
            ". Confirmed batches kept in case carbon restarts: " (count(metrics.replay_batches.get())) "."
        };
        let lines = counted(metrics.spool_lines.get(), "line");
        html! {
            (section("in", "Lines in", &card("Lines stored a minute", stored, a_minute(minutes, stored), lines_in)))
            (section("out", "Lines to carbon", &card("Lines confirmed a minute", confirmed, a_minute(minutes, confirmed), lines_out)))
            (section("waiting", "Waiting", &card("Lines waiting", |minute| minute.waiting, lines, waiting)))
            (section("carbon", "Carbon", &self.carbon()))
        }
    }

    fn carbon(&self) -> Markup {
        let metrics = self.metrics;
        let (word, sentence) = match self.report.carbon {
            Carbon::Up => ("Up", "It confirmed the last delivery."),
            Carbon::Down => (
                "Down",
                "It did not confirm the last delivery. The relay tries again all the time.",
            ),
            Carbon::Unknown => ("Not known yet", "The first delivery has not ended yet."),
        };
        let failed = metrics.deliveries_failed.sum();
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
            @if failed > 0 {
                p.soft { (counted(failed, "failed delivery attempt")) " since the start." }
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
        let (failures, gap_tests) = (run.figure("run.failures"), run.figure("gaps.open_tests"));
        html! {
            table {
                caption {
                    "Collector " code { (collector) } ": " (duration(self.since(run.ended))) " ago, "
                    (run.figure("tests.collected")) " of " (counted(run.figure("tests.configured"), "test")) " in "
                    (format!("{:.1}", run.figure("run.milliseconds") as f64 / 1000.0)) " s, "
                    @if failures == 0 { "nothing failed" } @else {
                        strong { (counted(failures, "failure")) } ": see the collector's log"
                    }
                    @if gap_tests > 0 { ", " (counted(gap_tests, "test")) " with results still missing" }
                    "."
                }
                thead { tr {
                    th scope="col" { "Test type" } th scope="col" { "Last results" }
                    th.number scope="col" { "Tests" } th.number scope="col" { "Lines" }
                } }
                tbody { @for of_type in run.types() { tr {
                    th scope="row" { code { (of_type.name) } }
                    td {
                        (duration(self.since(of_type.ended))) " ago"
                        @if of_type.ended < run.ended || of_type.tests == 0 { ", " strong { "none in the last run" } }
                    }
                    td.number { (count(of_type.tests)) } td.number { (count(of_type.lines)) }
                } } }
            }
        }
    }

    fn refused(&self) -> Markup {
        let of_reason = |reason: &Reason| (*reason, self.metrics.lines_rejected.get(reason.into()));
        let reasons = Reason::VARIANTS.iter().map(of_reason);
        let mut reasons: Vec<_> = reasons.filter(|(_, lines)| *lines > 0).collect();
        reasons.sort_by_key(|(_, lines)| Reverse(*lines));
        html! {
            @if reasons.is_empty() {
                p { "None since the start." }
            } @else {
                p { "A refused line costs no other line of its post. More examples: " code { "rejected/lines.log" } " in the folder of the spool." }
            }
            ul { @for (reason, lines) in reasons { li {
                h3 { (counted(lines, "line")) ": " code { (reason) } }
                p.soft { (with_code(reason.get_documentation().unwrap_or_default())) }
                @for example in self.past.refused.get(&reason).into_iter().flatten() {
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
                    (with_code(&one.message))
                }
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

/// A part of the page with a heading.
fn section(id: &str, heading: &str, content: &Markup) -> Markup {
    html! { section aria-labelledby=(id) { h2 id=(id) { (heading) } (content) } }
}

/// How many a minute in the last minutes.
fn rate(minutes: &[Minute], of: OfMinute) -> f64 {
    let last = minutes.iter().rev().take(RATE_MINUTES);
    let sum: u64 = last.clone().map(of).sum();
    sum as f64 / last.count().max(1) as f64
}

fn a_minute(minutes: &[Minute], of: OfMinute) -> String {
    match rate(minutes, of) {
        rate if 0.0 < rate && rate < 1.0 => "under 1 a minute".to_owned(),
        rate => format!("{} a minute", count(rate as u64)),
    }
}

/// A text with its parts between backticks as code.
fn with_code(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
