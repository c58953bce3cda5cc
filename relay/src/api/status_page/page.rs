//! The page itself.

use std::time::SystemTime;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use strum::{EnumMessage as _, VariantArray as _};

use super::figures::{bytes, clock_time, count, counted, duration, sparkline};
use super::hints::hint;
use super::verdict::{Facts, verdict};
use super::{SCRIPT, STILL, STYLE};
use crate::api::status::{Carbon, Report};
use crate::carbon::delivery::DeliveryError;
use crate::history::{Minute, Past, Run};
use crate::host_node::host_node;
use crate::lines::Reason;
use crate::metrics::Metrics;
use crate::recent_log::{Recent, recent};

/// Minutes over which a rate is taken: a collector posts once in so many.
const RATE_MINUTES: usize = 15;

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
        let this_minute = self.past.this_minute(self.metrics);
        let minutes = self.past.minutes.iter().copied();
        let minutes: Vec<Minute> = minutes.chain([this_minute]).collect();
        let facts = Facts {
            report: self.report.clone(),
            waiting: this_minute.waiting,
            confirmed_a_minute: rate(&minutes, |minute| minute.confirmed) as u64,
            silent_for: self.past.last_arrival.map(|at| self.since(at)),
        };
        let (level, state, advice) = verdict(&facts);
        let level: &str = level.into();
        let host = host_node();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (state) " – relay on " (host) }
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
                            h1 { (state) }
                            p { (with_code(&advice)) }
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
            Carbon::Up => ("Up", "It confirmed the last delivery."),
            Carbon::Down => (
                "Down",
                "It did not confirm the last delivery. The relay tries again all the time.",
            ),
            Carbon::Unknown => ("Not known yet", "Nothing was delivered since the start."),
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
