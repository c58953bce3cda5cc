//! `/metrics`: figures of the runs, in Prometheus' text form.

use crate::api::Report;
use catchpoint_graphite_host::app::App;
use chrono::{DateTime, Utc};

/// Name and help of each figure, in the order of the values in [`page`].
const HELP: [(&str, &str); 15] = [
    ("runs_total", "Runs that the schedule began."),
    (
        "runs_broken_total",
        "Runs that crashed or exceeded a limit.",
    ),
    ("catchpoint_requests_total", "Requests to Catchpoint."),
    ("relay_requests_total", "Requests to the relay."),
    ("memory_peak_bytes", "Most memory that a run has had."),
    (
        "next_run_timestamp_seconds",
        "Time of the next scheduled run.",
    ),
    ("last_run_timestamp_seconds", "End of the last run."),
    ("last_run_duration_seconds", "Duration of the last run."),
    ("last_run_samples", "Values that the last run fetched."),
    (
        "last_run_lines_accepted",
        "Lines of the last run that the relay stored.",
    ),
    (
        "last_run_lines_rejected",
        "Lines of the last run that the relay refused.",
    ),
    ("last_run_failures", "Failures of the last run."),
    ("last_run_ok", "1 if all of the last run succeeded."),
    ("last_run_partial", "1 if a part of the last run failed."),
    ("last_run_failed", "1 if the last run delivered nothing."),
];

/// The page; `last` is the report of the last run.
pub fn page(app: &App, last: Option<&Report>) -> String {
    let now = app.figures();
    let cron = app.manifest().trigger.cron.as_ref();
    let next = cron.and_then(|cron| cron.schedule.next_after(Utc::now()));
    let seconds = |time: DateTime<Utc>| time.timestamp_millis() as f64 / 1000.0;
    let ended = last.and_then(|last| last.ended);
    let started = last.and_then(|last| last.started);
    let took = ended.zip(started).map(|(ended, started)| ended - started);
    let count = |figure: fn(&Report) -> u64| last.map(|last| figure(last) as f64);
    let is = |outcome| last.map(|last| f64::from(u8::from(last.outcome == outcome)));
    let values = [
        Some(now.runs as f64),
        Some(now.broken as f64),
        Some(now.calls as f64),
        Some(now.posts as f64),
        Some(now.peak_memory as f64),
        next.map(seconds),
        ended.map(seconds),
        took.map(|took| took.num_milliseconds() as f64 / 1000.0),
        count(|last| last.samples),
        count(|last| last.lines_accepted),
        count(|last| last.lines_rejected),
        count(|last| last.failures.len() as u64),
        is("ok"),
        is("partial"),
        is("failed"),
    ];
    let mut page = String::new();
    for ((name, help), value) in HELP.into_iter().zip(values) {
        let Some(value) = value else { continue };
        let kind = match name.ends_with("_total") {
            true => "counter",
            false => "gauge",
        };
        let name = format!("catchpoint_graphite_{name}");
        page += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    page
}
