//! What the relay counts, in the OpenMetrics format for Prometheus.
//!
//! Everything that is refused, dropped or lost is counted with its reason. A label's values are
//! the business of the modules that count; [`Family::init`] shows them all from the start, so that
//! an alert on one finds it.

use std::fmt;
use std::sync::atomic::AtomicU64;

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

/// The same of the age of a result: from a push at once to the last try of a sender.
const AGES: [f64; 8] = [1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// A number that only goes up.
pub type Counter = counter::Counter;
/// A number that goes up and down.
pub type Gauge = gauge::Gauge<u64, AtomicU64>;
/// How long something took, in seconds, each time it happened.
pub type Histogram = histogram::Histogram;

/// What is registered of a metric; its clones share the values.
trait Registered {
    fn registered(&self) -> impl Metric;
}

impl<M: Metric + Clone> Registered for M {
    fn registered(&self) -> impl Metric {
        self.clone()
    }
}

/// A gauge of 0 or 1 that is not shown before it is known, so that an alert on 0 does not fire at
/// each start.
#[derive(Debug, Default)]
pub struct Fact(family::Family<[(&'static str, &'static str); 0], gauge::Gauge>);

impl Registered for Fact {
    fn registered(&self) -> impl Metric {
        self.0.clone()
    }
}

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
    counters: family::Family<[(&'static str, &'static str); 1], Counter>,
    sum: Counter,
}

impl Registered for Family {
    fn registered(&self) -> impl Metric {
        self.counters.clone()
    }
}

impl Family {
    fn new(label: &'static str) -> Self {
        Self {
            label,
            counters: family::Family::default(),
            sum: Counter::default(),
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
        self.counters
            .get_or_create(&[(self.label, value)])
            .inc_by(count);
        self.sum.inc_by(count);
    }

    /// The counter of this value.
    #[must_use]
    pub fn get(&self, value: &'static str) -> u64 {
        self.counters
            .get(&[(self.label, value)])
            .map_or(0, |counter| counter.get())
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// Declares all metrics: the name, its kind, how it is made if not by default, and what it means.
macro_rules! metrics {
    ($($name:ident: $kind:ident $(($new:expr))? = $help:literal,)+) => {
        /// Everything the relay counts.
        #[derive(Debug)]
        pub struct Metrics {
            $(
                #[doc = concat!($help, ".")]
                pub $name: $kind,
            )+
            registry: Registry,
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut all = Registry::default();
                all.register_collector(Box::new(Process));
                let registry = all.sub_registry_with_prefix(PREFIX);
                $(
                    let $name: $kind = metrics!(@new $($new)?);
                    registry.register(stringify!($name), $help, $name.registered());
                )+
                Self { $($name,)+ registry: all }
            }
        }
    };
    (@new) => { Default::default() };
    (@new $new:expr) => { $new };
}

metrics! {
    posts: Family(Family::new("outcome")) = "Posts",
    lines_accepted: Counter = "Lines stored, to be delivered",
    result_lines: Counter = "Lines stored of posts about a single result, which have a Result-Time",
    lines_rejected: Family(Family::new("reason")) = "Lines refused",
    lines_lost: Counter = "Stored lines lost with a damaged or missing batch",
    batches_damaged: Counter = "Batches found damaged or missing",
    disk_errors: Counter = "Failed writes to the spool",
    connections: Counter = "Connections from senders",
    connections_open: Gauge = "Open connections from senders",
    connections_evicted: Counter = "Connections closed, or posts refused, to make room for others",
    tls_failures: Counter = "Failed TLS handshakes",
    carbon_connects: Counter = "Connections made to carbon",
    batches_confirmed: Counter = "Batches confirmed by carbon, those sent again included",
    lines_confirmed: Counter = "Lines confirmed by carbon, those sent again included",
    deliveries_failed: Family(Family::new("reason")) =
        "Deliveries that carbon did not confirm; they are sent again",
    carbon_restarts: Counter = "Times that carbon was gone; what it may have lost is sent again",
    replays_in_doubt: Counter =
        "Times that carbon may have restarted: confirmed batches are sent again",
    lines_replayed: Counter = "Confirmed lines that are sent again",
    replay_cut_short: Counter =
        "Confirmed batches deleted before the end of their replay window, for room",
    carbon_up: Fact = "Whether carbon confirmed the last delivery",
    confirmation_weak: Fact =
        "Whether a restart of carbon may go unnoticed: something between relay and carbon closes connections",
    spool_batches: Gauge = "Batches that carbon has not confirmed",
    spool_lines: Gauge = "Lines that carbon has not confirmed",
    spool_bytes: Gauge = "Bytes that carbon has not confirmed, in disk blocks",
    spool_max_bytes: Gauge = "Most bytes that the spool may take",
    spool_oldest_age_seconds: Gauge = "Age of the oldest batch that carbon has not confirmed",
    spool_writable: Gauge = "Whether the disk takes data",
    replay_batches: Gauge = "Confirmed batches that are kept",
    replay_bytes: Gauge = "Bytes of the confirmed batches that are kept, in disk blocks",
    replay_waiting_batches: Gauge = "Confirmed batches that wait to be sent again",
    post_seconds: Histogram(Histogram::new(SECONDS)) = "From the head of a post to its answer",
    store_seconds: Histogram(Histogram::new(SECONDS)) = "Storing a batch",
    result_age_seconds: Histogram(Histogram::new(AGES)) = "From a single result to its storing",
    confirm_seconds: Histogram(Histogram::new(SECONDS)) = "From the connect to carbon to its confirmation",
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
            let open = ConstGauge::new(open.count() as u64);
            show("process_open_fds", "Open file descriptors", &open)?;
        }
        if let Ok((most, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let most = ConstGauge::new(most);
            show("process_max_fds", "Most open file descriptors", &most)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}
