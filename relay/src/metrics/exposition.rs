//! The metrics as Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use super::histogram::Histogram;
use super::{Counter, Family, Metrics};
use crate::clock;
use crate::spool::{Content, Limits};

/// What every name begins with.
const PREFIX: &str = "catchpoint_graphite_relay_";

/// The text of `/metrics`.
#[must_use]
pub fn render(metrics: &Metrics, content: Content, limits: Limits) -> String {
    let mut page = Page::default();
    page.family(
        "posts_total",
        "Posts by outcome.",
        "outcome",
        &metrics.posts,
    );
    page.counter(
        "lines_accepted_total",
        "Lines stored.",
        &metrics.lines_accepted,
    );
    page.family(
        "lines_rejected_total",
        "Lines refused, by reason.",
        "reason",
        &metrics.lines_rejected,
    );
    page.counter(
        "lines_lost_total",
        "Stored lines lost with a damaged or vanished batch.",
        &metrics.lines_lost,
    );
    page.counter(
        "batches_damaged_total",
        "Batches found damaged or missing.",
        &metrics.batches_damaged,
    );
    page.counter(
        "disk_errors_total",
        "Failed writes to the spool.",
        &metrics.disk_errors,
    );
    page.counter(
        "connections_total",
        "Inlet connections.",
        &metrics.connections,
    );
    page.counter(
        "connections_evicted_total",
        "Inlet connections closed to make room.",
        &metrics.connections_evicted,
    );
    page.counter(
        "tls_failures_total",
        "Failed TLS handshakes.",
        &metrics.tls_failures,
    );
    page.counter(
        "carbon_connects_total",
        "Connections made to carbon.",
        &metrics.carbon_connects,
    );
    page.counter(
        "batches_confirmed_total",
        "Batches confirmed by carbon, those sent again included.",
        &metrics.batches_confirmed,
    );
    page.counter(
        "lines_confirmed_total",
        "Lines confirmed by carbon, those sent again included.",
        &metrics.lines_confirmed,
    );
    page.family(
        "deliveries_failed_total",
        "Deliveries that carbon did not confirm, by doubt; they are sent again.",
        "doubt",
        &metrics.deliveries_failed,
    );
    page.counter(
        "carbon_restarts_total",
        "Times that carbon was gone while it had confirmed batches.",
        &metrics.carbon_restarts,
    );
    page.counter(
        "replays_in_doubt_total",
        "Times that carbon may have restarted: it could not be reached, or closed an idle connection.",
        &metrics.replays_in_doubt,
    );
    page.counter(
        "lines_replayed_total",
        "Confirmed lines put up to be sent again.",
        &metrics.lines_replayed,
    );
    page.counter(
        "replay_cut_short_total",
        "Confirmed batches deleted before the end of their replay window, for room.",
        &metrics.replay_cut_short,
    );
    // Not known before the first delivery, and an alert on 0 is not to fire at each start.
    if let Some(up) = metrics.carbon_up.get() {
        page.gauge(
            "carbon_up",
            "Whether carbon confirmed the last delivery.",
            u8::from(up),
        );
    }
    page.gauge(
        "connections",
        "Open inlet connections.",
        metrics.connections_open.get(),
    );
    page.spool(content, limits);
    page.histogram(
        "post_seconds",
        "From the head of a post to its answer.",
        &metrics.post_seconds,
    );
    page.histogram("store_seconds", "Storing a batch.", &metrics.store_seconds);
    page.histogram(
        "confirm_seconds",
        "From the connect to carbon to its confirmation.",
        &metrics.confirm_seconds,
    );
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(
            self.text,
            "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{PREFIX}{name}{labels} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.head(name, help, "counter");
        self.sample(name, "", counter.get());
    }

    fn family(&mut self, name: &str, help: &str, label: &str, family: &Family) {
        self.head(name, help, "counter");
        for (value, count) in family.iter() {
            self.sample(name, &format!("{{{label}=\"{value}\"}}"), count);
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, help, "gauge");
        self.sample(name, "", value);
    }

    fn spool(&mut self, content: Content, limits: Limits) {
        let Content {
            waiting,
            replaying,
            confirmed,
            ..
        } = content;
        self.gauge(
            "spool_batches",
            "Batches that carbon has not confirmed yet.",
            waiting.batches,
        );
        self.gauge("spool_lines", "Lines in them.", waiting.lines);
        self.gauge("spool_bytes", "Their bytes, in disk blocks.", waiting.bytes);
        self.gauge(
            "spool_max_bytes",
            "Most bytes that they may take.",
            limits.max_bytes,
        );
        self.gauge(
            "spool_oldest_age_seconds",
            "Age of the oldest of them.",
            age_seconds(content.oldest),
        );
        self.gauge(
            "spool_writable",
            "Whether the last write succeeded.",
            u8::from(content.writable),
        );
        self.gauge(
            "replay_batches",
            "Confirmed batches that are kept.",
            replaying.batches + confirmed.batches,
        );
        self.gauge(
            "replay_bytes",
            "Their bytes, in disk blocks.",
            replaying.bytes + confirmed.bytes,
        );
        self.gauge(
            "replay_waiting_batches",
            "Those of them that wait to be sent again.",
            replaying.batches,
        );
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            self.sample(&bucket, &format!("{{le=\"{bound}\"}}"), count);
        }
        let count = histogram.count();
        self.sample(&bucket, "{le=\"+Inf\"}", count);
        self.sample(&format!("{name}_sum"), "", histogram.sum_seconds());
        self.sample(&format!("{name}_count"), "", count);
    }
}

/// The age of something that arrived so many microseconds after 1970; 0 for nothing.
#[must_use]
pub fn age_seconds(arrival_micros: Option<u64>) -> u64 {
    let now = clock::now();
    arrival_micros.map_or(0, |micros| now.saturating_sub(micros / 1_000_000))
}
