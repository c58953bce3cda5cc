//! The values of one result.
//!
//! A plot of them should look like the real thing: a node far away is slow, the working day of the
//! node's city is slower than its night and the week slower than the weekend, everything wavers, and
//! now and then a test has an outage, in which it is several times slower and many runs fail. The
//! metrics of one result fit together: phases add up to the response time, a failed run has no
//! response time and an availability of 0.

use crate::metrics::{FAILURES, Kind, Metric, Phase};
use crate::noise::{bell, between, mix, unit};
use crate::results::Item;
use crate::stamp::epoch_seconds;

/// The share of values that are null for no reason that the API gives.
const NULLS: f64 = 0.02;
/// The share of runs that fail outside of outages, and within.
const FAILING: (f64, f64) = (0.003, 0.4);
/// In each stretch of so many seconds a test may have an outage.
const STRETCH: i64 = 8 * 3600;
/// The share of stretches that have one.
const OUTAGES: f64 = 0.1;

/// What all metrics of one result have in common. Times are in milliseconds.
pub(crate) struct Curve {
    /// The seed of this test.
    test: u64,
    /// The seed of this result.
    key: u64,
    day: u64,
    failed: bool,
    round_trip: f64,
    dns: f64,
    connect: f64,
    tls: f64,
    wait: f64,
    load: f64,
}

impl Curve {
    pub fn of(item: &Item) -> Self {
        let (test, time) = (item.test.seed, epoch_seconds(item.time()));
        let run = mix(test, &[item.node.id, item.run.cast_unsigned()]);
        let key = mix(run, &[u64::from(item.part)]);
        let outage = outage(test, time);
        let strain =
            (1.0 + 0.45 * load(time, item.node.utc_offset)) * outage * (1.0 + 0.12 * bell(key));
        // A hop on the way is nearer than the goal.
        let way = item
            .hop()
            .map_or(1.0, |hop| f64::from(hop) / f64::from(item.test.parts));
        let round_trip = item.node.round_trip * way * (1.0 + (strain - 1.0) * 0.5);
        // What the service needs, and how much it sends, differs by test and step.
        let work = between(40.0, 260.0, test, &[1, u64::from(item.part)]);
        let size = between(1.0, 6.0, test, &[2, u64::from(item.part)]);
        let failing = if outage > 1.0 { FAILING.1 } else { FAILING.0 };
        Self {
            test,
            key,
            day: time.div_euclid(86_400).cast_unsigned(),
            failed: unit(run, &[4]) < failing,
            round_trip,
            dns: (3.0 + round_trip * 0.4).round(),
            connect: round_trip.round(),
            tls: (2.0 + round_trip * 1.7).round(),
            wait: (round_trip + work * strain).round(),
            load: (round_trip * size + work * strain * 0.3).round(),
        }
    }

    /// The value of a metric; `index` is its place in the answer. `None` is the API's null.
    pub fn value(&self, index: usize, metric: &Metric) -> Option<f64> {
        let index = index as u64;
        if unit(self.key, &[5, index]) < NULLS {
            return None;
        }
        match metric.kind {
            Kind::Phase(phase) => self.good(self.phase(phase)),
            Kind::Page(share) => self.good((self.response() * share).round()),
            Kind::Count(about) => self.good((about * self.fashion(index)).round()),
            Kind::Bytes(about) => {
                let noise = 1.0 + 0.02 * bell(mix(self.key, &[11, index]));
                self.good((about * self.fashion(index) * noise).round())
            }
            Kind::Availability => Some(if self.failed { 0.0 } else { 100.0 }),
            Kind::Downtime => Some(if self.failed { 100.0 } else { 0.0 }),
            Kind::Failure(way) => Some(f64::from(self.failed && self.key % FAILURES == way)),
            Kind::AnyFailure => Some(f64::from(self.failed)),
            Kind::RoundTrip(share) => self.good((self.round_trip * share * 100.0).round() / 100.0),
            Kind::Fixed(value) => Some(value),
        }
    }

    /// A failed run has no such value.
    fn good(&self, value: f64) -> Option<f64> {
        (!self.failed).then_some(value)
    }

    fn phase(&self, phase: Phase) -> f64 {
        match phase {
            Phase::Dns => self.dns,
            Phase::Connect => self.connect,
            Phase::Tls => self.tls,
            Phase::Send => 1.0,
            Phase::Wait => self.wait,
            Phase::FirstByte => self.dns + self.connect + self.tls + 1.0 + self.wait,
            Phase::Load => self.load,
            Phase::Response => self.response(),
        }
    }

    fn response(&self) -> f64 {
        self.phase(Phase::FirstByte) + self.load
    }

    /// What the makers of the tested site change from day to day, within 15 %.
    fn fashion(&self, index: u64) -> f64 {
        between(0.85, 1.15, self.test, &[10, index, self.day])
    }
}

/// How busy the network is, 0 to 1: least at 4 in the morning, most at 4 in the afternoon, and half
/// as much at the weekend.
fn load(time: i64, utc_offset: f64) -> f64 {
    let local = time as f64 + utc_offset * 3600.0;
    let day = (local / 86_400.0).floor();
    let hour = (local / 3600.0).rem_euclid(24.0);
    let wave = (1.0 - ((hour - 4.0) / 24.0 * std::f64::consts::TAU).cos()) / 2.0;
    // 1970 began on a Thursday: days 2 and 3 were a weekend.
    let weekend = (2.0..4.0).contains(&day.rem_euclid(7.0));
    if weekend { wave * 0.5 } else { wave }
}

/// How many times slower a test is: 1 outside of outages.
fn outage(test: u64, time: i64) -> f64 {
    let stretch = time.div_euclid(STRETCH).cast_unsigned();
    if unit(test, &[20, stretch]) >= OUTAGES {
        return 1.0;
    }
    let length = between(600.0, 2400.0, test, &[21, stretch]);
    let start = between(0.0, STRETCH as f64 - length, test, &[22, stretch]);
    let since = time.rem_euclid(STRETCH) as f64 - start;
    if (0.0..length).contains(&since) {
        between(2.0, 5.0, test, &[23, stretch])
    } else {
        1.0
    }
}
