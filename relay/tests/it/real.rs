//! The faults that only a real carbon has: it confirms what it then loses from its memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use catchpoint_testbed::graphite::Range;
use catchpoint_testbed::{Graphite, Options, Signal, Venv, wait};

use crate::common::*;

const SERIES: usize = 50;
/// Carbon and graphite-web take a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A real Graphite, and what was sent to it.
struct World {
    graphite: Graphite,
    relay: Inner,
    start: i64,
    /// Points of each series that were answered with 202.
    answered: BTreeMap<String, BTreeSet<i64>>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(carbon_runs: bool) -> Self {
        let venv = Venv::ensure_default().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            retention: Some("1s:2h".to_owned()),
            // Slow enough that points are still in memory when carbon is killed.
            max_updates_per_second: Some(500),
            ..Options::default()
        };
        let mut graphite = Graphite::start(&venv, &dir.path().join("graphite"), &options).unwrap();
        if !carbon_runs {
            graphite.stop_carbon(Signal::KILL).unwrap();
        }
        let relay = Inner::start(settings(dir.path(), graphite.carbon_addr()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            graphite,
            relay,
            start: i64::try_from(now.as_secs()).unwrap() - 3600,
            answered: BTreeMap::new(),
            _dir: dir,
        }
    }

    /// One point for each series, at the second with this number.
    fn points(&self, second: i64) -> (Vec<String>, i64) {
        let time = self.start + second;
        let line = |series: usize| format!("relay.fault;series=s{series} {second} {time}");
        ((0..SERIES).map(line).collect(), time)
    }

    fn post(&mut self, second: i64) {
        let (lines, time) = self.points(second);
        assert_eq!(post(self.relay.addr, body(&lines)).status, 202);
        self.note(time);
    }

    fn note(&mut self, time: i64) {
        for series in 0..SERIES {
            let name = format!("relay.fault;series=s{series}");
            self.answered.entry(name).or_default().insert(time);
        }
    }

    fn wait_confirmed(&self) {
        let deadline = Instant::now() + PATIENCE;
        // Without the pause of a poll: carbon is to be killed as early as can be.
        while self.relay.content().waiting.batches > 0 {
            assert!(
                Instant::now() < deadline,
                "not confirmed: {:?}",
                self.relay.content()
            );
            std::thread::yield_now();
        }
    }

    fn restart(&mut self, signal: Signal) {
        self.graphite.stop_carbon(signal).unwrap();
        self.graphite.start_carbon().unwrap();
    }

    /// Reads what is on the disk, with carbon killed, until it is all there.
    fn expect_all_on_disk(&mut self, fault: &str) {
        self.wait_confirmed();
        let lost = wait::until("all points on the disk", PATIENCE, || {
            self.graphite.stop_carbon(Signal::KILL)?;
            let lost = self.missing()?;
            if lost == 0 {
                return Ok(Some(lost));
            }
            // The relay notices, and sends again; then carbon has time to write.
            self.graphite.start_carbon()?;
            self.wait_confirmed();
            std::thread::sleep(Duration::from_secs(3));
            Ok(None)
        });
        let points: usize = self.answered.values().map(BTreeSet::len).sum();
        let replayed = self.relay.relay().metrics().lines_replayed.get();
        println!(
            "| R {fault:<43} | {points:>6} points | {} lost | {replayed} sent again |",
            lost.unwrap()
        );
    }

    fn missing(&self) -> Result<usize, catchpoint_testbed::Error> {
        let range = Range {
            from: self.start - 1,
            until: self.start + 3600,
        };
        let series = self
            .graphite
            .render("seriesByTag('name=relay.fault')", range)?;
        let found: BTreeMap<_, BTreeSet<_>> = series
            .into_iter()
            .map(|one| {
                (
                    one.target,
                    one.datapoints.iter().map(|point| point.0).collect(),
                )
            })
            .collect();
        let missing = |(name, times): (&String, &BTreeSet<i64>)| match found.get(name) {
            Some(there) => times.difference(there).count(),
            None => times.len(),
        };
        Ok(self.answered.iter().map(missing).sum())
    }
}

#[test]
fn carbon_down_at_start() {
    let mut world = World::new(false);
    for second in 0..20 {
        world.post(second);
    }
    world.graphite.start_carbon().unwrap();
    world.expect_all_on_disk("carbon down at start");
}

#[test]
fn carbon_killed_right_after_it_confirmed() {
    let mut world = World::new(true);
    for second in 0..40 {
        world.post(second);
        world.wait_confirmed();
        let signal = if second % 2 == 0 {
            Signal::TERM
        } else {
            Signal::KILL
        };
        world.restart(signal);
    }
    assert!(world.relay.relay().metrics().lines_replayed.get() > 0);
    world.expect_all_on_disk("carbon SIGTERMed and SIGKILLed, 20 times each");
}

#[test]
fn carbon_restarted_50_times_during_load() {
    let mut world = World::new(true);
    let over = AtomicBool::new(false);
    let addr = world.relay.addr;
    let start = world.start;
    let posted = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut second = 0;
            while !over.load(Ordering::Relaxed) {
                let time = start + second;
                let lines: Vec<_> = (0..SERIES)
                    .map(|series| format!("relay.fault;series=s{series} {second} {time}"))
                    .collect();
                assert_eq!(post(addr, body(&lines)).status, 202);
                second += 1;
                std::thread::sleep(Duration::from_millis(30));
            }
            second
        });
        for n in 0..50 {
            // In the middle of whatever is on its way.
            std::thread::sleep(Duration::from_millis(fastrand::u64(0..50)));
            world.restart(if n % 2 == 0 {
                Signal::TERM
            } else {
                Signal::KILL
            });
        }
        over.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    for second in 0..posted {
        world.note(start + second);
    }
    world.expect_all_on_disk("carbon restarted 50 times during load");
}
