//! `/metrics`: figures of the runs, in Prometheus' text form.

use crate::api::Report;
use catchpoint_graphite_host::app::App;
use chrono::{DateTime, Utc};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of this process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Scheduled runs that began.
    pub runs: AtomicU64,
    /// Those that the runner had to stop, or that crashed.
    pub broken: AtomicU64,
}

/// The page; `last` is the report of the last run.
pub fn page(app: &App, counters: &Counters, last: Option<&Report>) -> String {
    let counts = app.traffic().counts();
    let runs = counters.runs.load(Ordering::Relaxed) as f64;
    let broken = counters.broken.load(Ordering::Relaxed) as f64;
    let seconds = |time: DateTime<Utc>| time.timestamp_millis() as f64 / 1000.0;
    let last_is = |outcome: &str| last.map(|last| f64::from(u8::from(last.outcome == outcome)));
    let took = last.and_then(|last| Some(seconds(last.ended?) - seconds(last.started?)));
    let next = app.manifest().cron.as_ref();
    let next = next.and_then(|schedule| schedule.next_after(Utc::now()));
    let memory = app.peak_memory() as f64;
    let of_last = |figure: fn(&Report) -> f64| last.map(figure);
    let metrics = [
        ("runs_total", "Runs that the schedule began.", Some(runs)),
        (
            "runs_broken_total",
            "Runs that crashed or exceeded a limit.",
            Some(broken),
        ),
        (
            "catchpoint_requests_total",
            "Requests to Catchpoint.",
            Some(counts.calls as f64),
        ),
        (
            "relay_requests_total",
            "Requests to the relay.",
            Some(counts.posts as f64),
        ),
        (
            "memory_peak_bytes",
            "Most memory that a run has had.",
            Some(memory),
        ),
        (
            "next_run_timestamp_seconds",
            "Time of the next scheduled run.",
            next.map(seconds),
        ),
        (
            "last_run_timestamp_seconds",
            "End of the last run.",
            last.and_then(|last| last.ended).map(seconds),
        ),
        (
            "last_run_duration_seconds",
            "Duration of the last run.",
            took,
        ),
        (
            "last_run_samples",
            "Values that it fetched.",
            of_last(|last| last.samples as f64),
        ),
        (
            "last_run_lines_accepted",
            "Lines of it that the relay stored.",
            of_last(|last| last.lines_accepted as f64),
        ),
        (
            "last_run_lines_rejected",
            "Lines of it that the relay refused.",
            of_last(|last| last.lines_rejected as f64),
        ),
        (
            "last_run_failures",
            "Its failures.",
            of_last(|last| last.failures.len() as f64),
        ),
        ("last_run_ok", "1 if all of it succeeded.", last_is("ok")),
        (
            "last_run_partial",
            "1 if a part of it failed.",
            last_is("partial"),
        ),
        (
            "last_run_failed",
            "1 if it delivered nothing.",
            last_is("failed"),
        ),
    ];
    let mut page = String::new();
    for (name, help, value) in metrics {
        let Some(value) = value else { continue };
        let kind = if name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        let name = format!("catchpoint_graphite_{name}");
        page += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    page
}
