//! `/metrics`: figures of the runs, in Prometheus' text form.

use crate::api::Report;
use catchpoint_graphite_host::app::App;
use std::fmt::Write;
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
    let mut page = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: f64| {
        let name = format!("catchpoint_graphite_{name}");
        // Writing into a String does not fail.
        let _ = write!(
            page,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        );
    };
    let counter = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let counts = app.traffic().counts();
    add(
        "runs_total",
        "counter",
        "Runs that the schedule began.",
        counter(&counters.runs),
    );
    add(
        "runs_broken_total",
        "counter",
        "Runs that crashed or exceeded a limit.",
        counter(&counters.broken),
    );
    add(
        "catchpoint_requests_total",
        "counter",
        "Requests to Catchpoint.",
        counts.calls as f64,
    );
    add(
        "relay_requests_total",
        "counter",
        "Requests to the relay.",
        counts.posts as f64,
    );
    add(
        "memory_peak_bytes",
        "gauge",
        "Most memory that a run has had.",
        app.peak_memory() as f64,
    );
    if let Some(next) = next(app) {
        add(
            "next_run_timestamp_seconds",
            "gauge",
            "Time of the next scheduled run.",
            next,
        );
    }
    let Some(last) = last else { return page };
    if let Some(ended) = last.ended {
        let ended = ended.timestamp_millis() as f64 / 1000.0;
        add(
            "last_run_timestamp_seconds",
            "gauge",
            "End of the last run.",
            ended,
        );
    }
    if let (Some(started), Some(ended)) = (last.started, last.ended) {
        let took = (ended - started).num_milliseconds() as f64 / 1000.0;
        add(
            "last_run_duration_seconds",
            "gauge",
            "Duration of the last run.",
            took,
        );
    }
    add(
        "last_run_samples",
        "gauge",
        "Values that the last run fetched.",
        last.samples as f64,
    );
    add(
        "last_run_lines_accepted",
        "gauge",
        "Lines of the last run that the relay stored.",
        last.lines_accepted as f64,
    );
    add(
        "last_run_lines_rejected",
        "gauge",
        "Lines of the last run that the relay refused.",
        last.lines_rejected as f64,
    );
    add(
        "last_run_failures",
        "gauge",
        "Failures of the last run.",
        last.failures.len() as f64,
    );
    for outcome in ["ok", "partial", "failed"] {
        let is = f64::from(u8::from(last.outcome == outcome));
        let help = format!("1 if the outcome of the last run is {outcome}.");
        add(&format!("last_run_{outcome}"), "gauge", &help, is);
    }
    page
}

fn next(app: &App) -> Option<f64> {
    let schedule = app.manifest().cron.as_ref()?;
    let next = schedule.next_after(chrono::Utc::now())?;
    Some(next.timestamp() as f64)
}
