//! What the relay counts, in the OpenMetrics format for Prometheus.
//!
//! Everything that is refused, dropped or lost is counted with its reason. A label's values are
//! the business of the modules that count; [`Family::init`] shows them all from the start, so that
//! an alert on one finds it.

use std::fmt;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{self, ConstCounter};
use prometheus_client::metrics::gauge::{self, ConstGauge};
use prometheus_client::metrics::{family, histogram};
use prometheus_client::registry::{Metric, Registry};

/// What the name of each metric of the relay begins with.
const PREFIX: &str = "catchpoint_graphite_relay";
/// The type of [`Metrics::render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Upper bounds of a histogram's buckets in seconds: from a cheap fsync to a carbon at its limits.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0,
];

/// A number that only goes up.
#[derive(Debug, Default)]
pub struct Counter(counter::Counter);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.inc_by(count);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(gauge::Gauge);

impl Gauge {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.inc_by(signed(count));
    }

    /// Takes away what was added before.
    pub fn subtract(&self, count: u64) {
        self.0.dec_by(signed(count));
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.set(signed(value));
    }

    /// Its value; 0 if that is negative.
    #[must_use]
    pub fn get(&self) -> u64 {
        u64::try_from(self.0.get()).unwrap_or(0)
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A gauge of 0 or 1 that is not shown before it is known, so that an alert on 0 does not fire at
/// each start.
#[derive(Debug, Default)]
pub struct Fact(family::Family<[(&'static str, &'static str); 0], gauge::Gauge>);

impl Fact {
    /// Sets it.
    pub fn set(&self, is_so: bool) {
        self.0.get_or_create(&[]).set(is_so.into());
    }

    /// Whether it is so, once that is known.
    #[must_use]
    pub fn get(&self) -> Option<bool> {
        self.0.get(&[]).map(|gauge| gauge.get() != 0)
    }
}

/// Counters of one name, one for each value of a label.
#[derive(Debug)]
pub struct Family {
    label: &'static str,
    counters: family::Family<[(&'static str, &'static str); 1], counter::Counter>,
    sum: counter::Counter,
}

impl Family {
    fn new(label: &'static str) -> Self {
        Self {
            label,
            counters: family::Family::default(),
            sum: counter::Counter::default(),
        }
    }

    /// Shows the counters of these values with 0.
    pub fn init(&self, values: &[&'static str]) {
        for value in values {
            self.add(value, 0);
        }
    }

    /// Adds to the counter of this value.
    pub fn add(&self, value: &'static str, count: u64) {
        self.counters.get_or_create(&[(self.label, value)]).inc_by(count);
        self.sum.inc_by(count);
    }

    /// The counter of this value.
    #[must_use]
    pub fn get(&self, value: &'static str) -> u64 {
        self.counters.get(&[(self.label, value)]).map_or(0, |counter| counter.get())
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// How long something took, each time it happened.
#[derive(Debug)]
pub struct Histogram(histogram::Histogram);

impl Histogram {
    /// Notes one duration.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

/// Everything the relay counts.
#[derive(Debug)]
pub struct Metrics {
    /// Posts, by outcome.
    pub posts: Family,
    /// Lines stored, and so promised to be delivered.
    pub lines_accepted: Counter,
    /// Lines refused, by reason.
    pub lines_rejected: Family,
    /// Lines lost after they were promised: their batch was damaged or has vanished.
    pub lines_lost: Counter,
    /// Batches that were damaged or have vanished.
    pub batches_damaged: Counter,
    /// Failed attempts to write to the spool.
    pub disk_errors: Counter,
    /// Connections from senders.
    pub connections: Counter,
    /// Those of them that are open.
    pub connections_open: Gauge,
    /// Those of them that were closed, or whose post was refused, to make room for others.
    pub connections_evicted: Counter,
    /// TLS handshakes that failed.
    pub tls_failures: Counter,
    /// Connections made to carbon.
    pub carbon_connects: Counter,
    /// Batches that carbon has confirmed, those sent again included.
    pub batches_confirmed: Counter,
    /// Lines in them.
    pub lines_confirmed: Counter,
    /// Deliveries that carbon did not confirm, by reason. They are sent again.
    pub deliveries_failed: Family,
    /// Times that carbon was gone while it had confirmed batches.
    pub carbon_restarts: Counter,
    /// Times that confirmed batches were sent again because carbon may have restarted: it could
    /// not be reached, or closed an idle connection.
    pub replays_in_doubt: Counter,
    /// Confirmed lines that are sent again.
    pub lines_replayed: Counter,
    /// Confirmed batches that were deleted before the end of their replay window, for room.
    pub replay_cut_short: Counter,
    /// Whether carbon has confirmed the last delivery.
    pub carbon_up: Fact,
    /// Whether a restart of carbon may go unnoticed: something before it closes connections.
    pub confirmation_weak: Fact,
    /// Batches that carbon has not confirmed.
    pub spool_batches: Gauge,
    /// Lines in them.
    pub spool_lines: Gauge,
    /// Their bytes, in disk blocks.
    pub spool_bytes: Gauge,
    /// Most bytes that these may be.
    pub spool_max_bytes: Gauge,
    /// Age of the oldest of them.
    pub spool_oldest_age_seconds: Gauge,
    /// Whether the disk takes data: 0 or 1.
    pub spool_writable: Gauge,
    /// Confirmed batches that are kept.
    pub replay_batches: Gauge,
    /// Their bytes, in disk blocks.
    pub replay_bytes: Gauge,
    /// Those of them that wait to be sent again.
    pub replay_waiting_batches: Gauge,
    /// From the head of a post to its answer.
    pub post_seconds: Histogram,
    /// Of storing a batch.
    pub store_seconds: Histogram,
    /// From the connect to carbon to its confirmation.
    pub confirm_seconds: Histogram,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(Process));
        let r = all.sub_registry_with_prefix(PREFIX);
        Self {
            posts: family(r, "posts", "Posts by outcome", "outcome"),
            lines_accepted: counter(r, "lines_accepted", "Lines stored"),
            lines_rejected: family(r, "lines_rejected", "Lines refused, by reason", "reason"),
            lines_lost: counter(
                r,
                "lines_lost",
                "Stored lines lost with a damaged or vanished batch",
            ),
            batches_damaged: counter(r, "batches_damaged", "Batches found damaged or missing"),
            disk_errors: counter(r, "disk_errors", "Failed writes to the spool"),
            connections: counter(r, "connections", "Connections from senders"),
            connections_open: gauge(r, "connections_open", "Open connections from senders"),
            connections_evicted: counter(
                r,
                "connections_evicted",
                "Connections closed, or posts refused, to make room for others",
            ),
            tls_failures: counter(r, "tls_failures", "Failed TLS handshakes"),
            carbon_connects: counter(r, "carbon_connects", "Connections made to carbon"),
            batches_confirmed: counter(
                r,
                "batches_confirmed",
                "Batches confirmed by carbon, those sent again included",
            ),
            lines_confirmed: counter(
                r,
                "lines_confirmed",
                "Lines confirmed by carbon, those sent again included",
            ),
            deliveries_failed: family(
                r,
                "deliveries_failed",
                "Deliveries that carbon did not confirm; they are sent again",
                "reason",
            ),
            carbon_restarts: counter(
                r,
                "carbon_restarts",
                "Times that carbon was gone while it had confirmed batches",
            ),
            replays_in_doubt: counter(
                r,
                "replays_in_doubt",
                "Times that carbon may have restarted: it could not be reached, or closed an idle connection",
            ),
            lines_replayed: counter(r, "lines_replayed", "Confirmed lines that are sent again"),
            replay_cut_short: counter(
                r,
                "replay_cut_short",
                "Confirmed batches deleted before the end of their replay window, for room",
            ),
            carbon_up: fact(r, "carbon_up", "Whether carbon confirmed the last delivery"),
            confirmation_weak: fact(
                r,
                "confirmation_weak",
                "Whether a restart of carbon may go unnoticed",
            ),
            spool_batches: gauge(r, "spool_batches", "Batches that carbon has not confirmed"),
            spool_lines: gauge(r, "spool_lines", "Lines in them"),
            spool_bytes: gauge(r, "spool_bytes", "Their bytes, in disk blocks"),
            spool_max_bytes: gauge(r, "spool_max_bytes", "Most bytes that they may take"),
            spool_oldest_age_seconds: gauge(
                r,
                "spool_oldest_age_seconds",
                "Age of the oldest of them",
            ),
            spool_writable: gauge(r, "spool_writable", "Whether the last write succeeded"),
            replay_batches: gauge(r, "replay_batches", "Confirmed batches that are kept"),
            replay_bytes: gauge(r, "replay_bytes", "Their bytes, in disk blocks"),
            replay_waiting_batches: gauge(
                r,
                "replay_waiting_batches",
                "Those of them that wait to be sent again",
            ),
            post_seconds: seconds(r, "post_seconds", "From the head of a post to its answer"),
            store_seconds: seconds(r, "store_seconds", "Storing a batch"),
            confirm_seconds: seconds(
                r,
                "confirm_seconds",
                "From the connect to carbon to its confirmation",
            ),
            registry: all,
        }
    }
}

impl Metrics {
    /// All of them as text, of the type [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Registers what `of` takes out of a metric, which shares its value, and gives the metric.
fn register<M, R: Metric>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
    of: impl FnOnce(&M) -> R,
) -> M {
    registry.register(name, help, of(&metric));
    metric
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    register(registry, name, help, Counter::default(), |one| one.0.clone())
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    register(registry, name, help, Gauge::default(), |one| one.0.clone())
}

fn fact(registry: &mut Registry, name: &str, help: &str) -> Fact {
    register(registry, name, help, Fact::default(), |one| one.0.clone())
}

fn family(registry: &mut Registry, name: &str, help: &str, label: &'static str) -> Family {
    register(registry, name, help, Family::new(label), |one| {
        one.counters.clone()
    })
}

fn seconds(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram(histogram::Histogram::new(SECONDS));
    register(registry, name, help, histogram, |one| one.0.clone())
}

/// The process itself, under the names that Prometheus' own libraries use. Read at each scrape; what
/// the system does not tell is left out.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut show = |name, help, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let micros = (usage.user_time() + usage.system_time()).num_microseconds();
            let seconds = ConstCounter::new(micros as f64 / 1e6);
            show("process_cpu_seconds", "CPU time used", &seconds)?;
        }
        if let Some(bytes) = resident_bytes() {
            let bytes = ConstGauge::new(bytes);
            show("process_resident_memory_bytes", "Memory in use", &bytes)?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            let open = ConstGauge::new(signed(open.count() as u64));
            show("process_open_fds", "Open file descriptors", &open)?;
        }
        if let Ok((most, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let most = ConstGauge::new(signed(most));
            show("process_max_fds", "Most open file descriptors", &most)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}
