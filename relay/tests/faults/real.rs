//! The faults that only a real carbon has: it confirms what it then loses from its memory. Every
//! point that was answered is read back from whisper's files, with carbon killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use catchpoint_graphite_relay::config::Settings;
use catchpoint_graphite_relay::spool::disk::{Disk, OsDisk};
pub use catchpoint_testbed::Signal;
use catchpoint_testbed::{Error, Graphite, Options, Venv, graphite, wait};

use crate::common::*;
use crate::table::Tally;

const SERIES: usize = 50;
/// Two hours of a point a second, 12 bytes each, and a head before them.
const FILE_BYTES: u64 = 12 * 7200;
const KILLS_MID_BATCH: i64 = 10;
/// Carbon and graphite-web take a while on a busy machine.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How often carbon is killed until it has written everything; it has twice the time each time.
const KILLS_AT_END: u32 = 6;

/// A real Graphite, and what was sent to it.
struct World {
    graphite: Graphite,
    relay: Inner,
    settings: Settings,
    start: i64,
    /// Points of each series that were answered with 202.
    answered: BTreeMap<String, BTreeSet<i64>>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let venv = Venv::ensure_default().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            retention: Some("1s:2h".to_owned()),
            // Slow enough that points are still in memory when carbon is killed.
            max_updates_per_second: Some(500),
        };
        let graphite = Graphite::start(&venv, &dir.path().join("graphite"), &options).unwrap();
        let mut settings = settings(dir.path(), graphite.carbon_addr());
        change(&mut settings);
        let relay = Inner::start(settings.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut world = Self {
            graphite,
            relay,
            settings,
            start: i64::try_from(now.as_secs()).unwrap() - 3600,
            answered: BTreeMap::new(),
            _dir: dir,
        };
        world.make_series();
        world
    }

    /// Makes the series before anything goes wrong. A carbon that is killed while it makes a file
    /// leaves an empty one behind, into which it never writes again (`CorruptWhisperFile`), however
    /// often it gets the points; no sender can help that.
    fn make_series(&mut self) {
        self.post(3599..3600);
        let folder = self.graphite.folder().join("storage/whisper/_tagged");
        wait::until("the files of all series", LONGEST_WAIT, || {
            Ok::<_, Error>((whole_files(&folder) == SERIES).then_some(()))
        })
        .unwrap();
    }

    /// Posts one point for each series at each of these seconds.
    fn post(&mut self, seconds: Range<i64>) {
        let start = self.start;
        assert_eq!(
            post(self.relay.addr, points(start, seconds.clone())).status,
            202
        );
        self.note(seconds);
    }

    /// Posts, and waits until the relay has connected to carbon because of it.
    fn begin_delivery(&mut self, seconds: Range<i64>) {
        let connects = |world: &Self| world.relay.relay().metrics().carbon_connects.get();
        let before = connects(self);
        self.post(seconds);
        until("a delivery", || (connects(self) > before).then_some(()));
    }

    fn note(&mut self, seconds: Range<i64>) {
        for series in 0..SERIES {
            let times = self.answered.entry(name(series)).or_default();
            times.extend(seconds.clone().map(|second| self.start + second));
        }
    }

    fn wait_confirmed(&self) {
        let deadline = Instant::now() + LONGEST_WAIT;
        // Without the pause of a poll: carbon is to be killed as early as can be.
        while !self.relay.content().is_sent() {
            assert!(
                Instant::now() < deadline,
                "not confirmed: {:?}",
                self.relay.content()
            );
            std::thread::yield_now();
        }
    }

    /// Stops the relay, does something to Graphite, and starts a relay on the same spool.
    fn restart_relay(&mut self, between: impl FnOnce(&mut Graphite)) {
        let stopped = self.relay.relay.take().unwrap();
        self.relay.runtime.block_on(stopped.stop());
        between(&mut self.graphite);
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let relay = start_relay(&self.relay.runtime, &self.settings, &disk);
        self.relay.addr = relay.address();
        self.relay.relay = Some(relay);
    }

    fn restart(&mut self, signal: Signal) {
        self.graphite.stop_carbon(signal).unwrap();
        self.graphite.start_carbon().unwrap();
    }

    /// Reads what is on the disk, with carbon killed, until it is all there, and counts what is
    /// not.
    fn tally(&mut self) -> Tally {
        self.wait_confirmed();
        let mut lost = usize::MAX;
        for kill in 0..KILLS_AT_END {
            self.graphite.stop_carbon(Signal::KILL).unwrap();
            lost = self.missing().unwrap();
            if lost == 0 {
                break;
            }
            // The relay notices, and sends again; then carbon has time to write.
            self.graphite.start_carbon().unwrap();
            self.wait_confirmed();
            std::thread::sleep(Duration::from_secs(3) * 2_u32.pow(kill));
        }
        let replayed = self.relay.relay().metrics().lines_replayed.get();
        Tally {
            answered: self.answered.values().map(BTreeSet::len).sum(),
            lost,
            note: format!("{replayed} lines put up to be sent again"),
        }
    }

    fn missing(&self) -> Result<usize, Error> {
        let range = graphite::Range {
            from: self.start - 1,
            until: self.start + 3600,
        };
        let series = self
            .graphite
            .render("seriesByTag('name=relay.fault')", range)?;
        let mut missing = self.answered.clone();
        for one in series {
            if let Some(times) = missing.get_mut(&one.target) {
                for (time, _) in &one.datapoints {
                    times.remove(time);
                }
            }
        }
        Ok(missing.values().map(BTreeSet::len).sum())
    }
}

/// How many files of series in a folder and those below it have their full length.
fn whole_files(dir: &Path) -> usize {
    // Carbon makes the folder with the first series.
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let whole = |entry: DirEntry| match entry.metadata().unwrap() {
        about if about.is_dir() => whole_files(&entry.path()),
        about => usize::from(about.len() >= FILE_BYTES),
    };
    entries.map(Result::unwrap).map(whole).sum()
}

fn name(series: usize) -> String {
    format!("relay.fault;series=s{series}")
}

/// The body of a post with one point for each series at each of these seconds after `start`.
fn points(start: i64, seconds: Range<i64>) -> String {
    seconds
        .flat_map(|second| {
            (0..SERIES).map(move |series| format!("{} {second} {}\n", name(series), start + second))
        })
        .collect()
}

pub fn down_at_start() -> Tally {
    let mut world = World::new(|_| {});
    world.restart_relay(|graphite| {
        graphite.stop_carbon(Signal::KILL).unwrap();
    });
    for second in 0..20 {
        world.post(second..second + 1);
    }
    let ready = get(world.relay.addr, "/readyz").json();
    assert_ne!(ready["carbon"], "up");
    world.graphite.start_carbon().unwrap();
    world.tally()
}

/// Each batch takes 0.3 s, and carbon is killed somewhere in these; now and then only after them,
/// when the machine is busy.
pub fn killed_mid_batch() -> Tally {
    let mut world = World::new(|settings| settings.max_lines_per_second = 20_000);
    let (mut kills, mut batch) = (0, 0);
    while kills < KILLS_MID_BATCH {
        assert!(batch < 2 * KILLS_MID_BATCH, "hardly ever in the middle");
        world.begin_delivery(batch * 160..(batch + 1) * 160);
        std::thread::sleep(Duration::from_millis(fastrand::u64(50..300)));
        kills += i64::from(!world.relay.content().is_sent());
        batch += 1;
        world.restart(Signal::KILL);
    }
    let failed = &world.relay.relay().metrics().deliveries_failed;
    let cut = failed.sum() - failed.get("refused") - failed.get("unreachable");
    let tally = world.tally();
    tally.noting(format!("{cut} deliveries cut in {KILLS_MID_BATCH} kills"))
}

pub fn stopped_then_killed() -> Tally {
    let mut world = World::new(|settings| settings.timing.stall_timeout = LONGEST_WAIT);
    for round in 0..5 {
        world.post(round * 20..round * 20 + 10);
        world.wait_confirmed();
        world.graphite.signal_carbon(Signal::STOP).unwrap();
        // The lines are in the kernel, and nobody reads them.
        world.begin_delivery(round * 20 + 10..round * 20 + 20);
        world.restart(Signal::KILL);
    }
    world.tally()
}

pub fn stopped_after_confirming(signal: Signal) -> Tally {
    let mut world = World::new(|_| {});
    for second in 0..20 {
        world.post(second..second + 1);
        world.wait_confirmed();
        world.restart(signal);
    }
    let tally = world.tally();
    assert!(world.relay.relay().metrics().lines_replayed.get() > 0);
    tally
}

pub fn restarted_during_load() -> Tally {
    let mut world = World::new(|_| {});
    let over = AtomicBool::new(false);
    let (addr, start) = (world.relay.addr, world.start);
    let posted = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut second = 0;
            // However slow the machine is, no point is of the future.
            while !over.load(Ordering::Relaxed) && second < 3599 {
                assert_eq!(post(addr, points(start, second..second + 1)).status, 202);
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
    world.note(0..posted);
    world.tally()
}
