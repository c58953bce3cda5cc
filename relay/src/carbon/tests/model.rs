//! The forwarder against a carbon that fails in many ways, in the time of the test: in the end
//! carbon has the last value of every series, and new values get through all the time.

use std::path::Path;
use std::time::Instant as StdInstant;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::fake::{Fake, Values, address};
use super::*;
use crate::spool::store::Post;
use crate::spool::{Limits, tests::sim::SimDisk};

const SECOND: Duration = Duration::from_secs(1);
const SERIES: u64 = 5;
const LIMITS: Limits = Limits {
    max_bytes: 64 << 20,
    replay_window: Duration::from_secs(900),
    max_keys: 100,
};

struct World {
    carbon: Fake,
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    disk: SimDisk,
    dir: TempDir,
    forwarder: JoinHandle<()>,
    _own_lines: mpsc::Sender<Vec<u8>>,
    phase: watch::Sender<Phase>,
    accepted: Values,
    last_value: u64,
}

fn open(dir: &Path, disk: &SimDisk, metrics: &Arc<Metrics>) -> Arc<Spool> {
    let disk = Arc::new(disk.clone());
    Arc::new(Spool::open(dir, LIMITS, disk, Arc::clone(metrics)).unwrap())
}

impl World {
    fn new() -> Self {
        let (carbon, disk) = (Fake::new(), SimDisk::default());
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::default();
        let spool = open(dir.path(), &disk, &metrics);
        let phase = watch::Sender::new(Phase::Running);
        let (own_lines, own_lines_out) = mpsc::channel(1);
        let forwarder = Forwarder::new(
            Arc::clone(&spool),
            carbon.clone(),
            Arc::clone(&metrics),
            Timing::default(),
            0,
            own_lines_out,
            phase.subscribe(),
        );
        Self {
            forwarder: tokio::spawn(forwarder.run()),
            _own_lines: own_lines,
            carbon,
            spool,
            metrics,
            disk,
            dir,
            phase,
            accepted: Values::new(),
            last_value: 0,
        }
    }

    /// Posts so many lines, with values that rise with time.
    fn post(&mut self, lines: u64) {
        let line = |number: u64| {
            let value = self.last_value + number;
            (format!("s{}", value % SERIES), value)
        };
        let values: Vec<_> = (1..=lines).map(line).collect();
        let text = |(series, value): &(String, u64)| format!("{series} {value} 1700000000\n");
        self.post_text(&values.iter().map(text).collect::<String>());
        self.accepted.extend(values);
        self.last_value += lines;
    }

    fn post_text(&self, text: &str) {
        let post = Post {
            lines: vec![text.to_owned().into()],
            accepted: text.lines().count() as u64,
            ..Post::default()
        };
        assert!(self.spool.store(&[post])[0].is_ok());
    }

    async fn wait_sent(&self) {
        let sent = async {
            while !self.spool.content().is_sent() {
                sleep(SECOND / 10).await;
            }
        };
        let sent = timeout(1000 * SECOND, sent).await;
        assert!(sent.is_ok(), "not sent: {:?}", self.spool.content());
    }

    /// Waits until carbon has got the last value, at most so long.
    async fn wait_fresh(&self, within: Duration) {
        let fresh = async {
            while self.carbon.state().got.values().max() != Some(&self.last_value) {
                sleep(SECOND / 10).await;
            }
        };
        assert!(timeout(within, fresh).await.is_ok(), "no new values");
    }

    fn replayed(&self) -> u64 {
        self.metrics.lines_replayed.get()
    }

    /// All is sent, and carbon has the last values.
    async fn check(&self) {
        self.wait_sent().await;
        assert_eq!(self.carbon.state().values(), self.accepted);
    }

    /// The relay is killed, and starts again.
    fn restart(&mut self) {
        self.forwarder.abort();
        let (_, own_lines) = mpsc::channel(1);
        // The lock goes with the spool.
        let (dir, disk, metrics) = (self.dir.path(), &self.disk, &self.metrics);
        let lock = dir.join("lock");
        std::fs::remove_file(lock).unwrap();
        self.spool = open(dir, disk, metrics);
        let forwarder = Forwarder::new(
            Arc::clone(&self.spool),
            self.carbon.clone(),
            Arc::clone(metrics),
            Timing::default(),
            0,
            own_lines,
            self.phase.subscribe(),
        );
        self.forwarder = tokio::spawn(forwarder.run());
    }
}

#[derive(Debug, Clone)]
enum Op {
    Post(u64),
    Wait(u64),
    /// Carbon is killed and is back after so many seconds: never at once.
    Kill(u64),
    /// Its machine loses its power, and is back after so many seconds: perhaps at once.
    CutPower(u64),
    CutCable(u64),
    NoName(u64),
    NoPorts(u64),
    RestartRelay,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..20_u64).prop_map(Op::Post),
        3 => (0..120_u64).prop_map(Op::Wait),
        1 => (1..60_u64).prop_map(Op::Kill),
        1 => (0..60_u64).prop_map(Op::CutPower),
        1 => (0..60_u64).prop_map(Op::CutCable),
        1 => (0..60_u64).prop_map(Op::NoName),
        1 => (0..60_u64).prop_map(Op::NoPorts),
        1 => Just(Op::RestartRelay),
    ]
}

async fn apply(world: &mut World, op: &Op) {
    let carbon = world.carbon.clone();
    // Posts go on while something is wrong.
    let mut wait = async |seconds: u64| {
        for second in 0..seconds {
            sleep(SECOND).await;
            if second % 7 == 6 {
                world.post(1);
            }
        }
    };
    match op {
        Op::Post(lines) => world.post(*lines),
        Op::Wait(seconds) => wait(*seconds).await,
        Op::Kill(seconds) => {
            carbon.kill();
            wait(*seconds).await;
            carbon.start();
        }
        Op::CutPower(seconds) => {
            carbon.cut_power();
            wait(*seconds).await;
            carbon.connect_again();
        }
        Op::CutCable(seconds) => {
            carbon.cut_cable();
            wait(*seconds).await;
            carbon.connect_again();
        }
        Op::NoName(seconds) => {
            carbon.state().resolves = false;
            wait(*seconds).await;
            carbon.state().resolves = true;
        }
        Op::NoPorts(seconds) => {
            carbon.state().no_ports = true;
            wait(*seconds).await;
            carbon.state().no_ports = false;
        }
        Op::RestartRelay => world.restart(),
    }
}

fn paused<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn r04_carbon_has_the_last_values_in_the_end(
        ops in prop::collection::vec(op(), 1..25),
        closes_idle in prop::option::weighted(0.3, Just(50 * SECOND)),
    ) {
        paused(async {
            let mut world = World::new();
            world.carbon.state().idle_timeout = closes_idle;
            for op in &ops {
                apply(&mut world, op).await;
            }
            if world.last_value == 0 {
                world.post(1);
            }
            // Whatever is dead is found, and all passes are done.
            sleep(30 * SECOND).await;
            world.check().await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn r01_what_a_machine_had_in_memory_when_it_lost_power_is_sent_again() {
    for outage in 0..25 {
        let mut world = World::new();
        for _ in 0..5 {
            world.post(10);
            sleep(SECOND).await;
        }
        world.check().await;
        world.carbon.cut_power();
        sleep(outage * SECOND).await;
        world.carbon.connect_again();
        sleep(2 * SECOND).await;
        world.post(1);
        sleep(30 * SECOND).await;
        world.check().await;
    }
}

#[tokio::test(start_paused = true)]
async fn r01_a_name_that_moves_to_another_address_sends_again() {
    let mut world = World::new();
    world.post(10);
    world.check().await;
    world.carbon.state().addresses = vec![address(2)];
    world.post(1);
    world.check().await;
    assert_eq!(world.replayed(), 10);
    // A name that lists its addresses in turn moves nothing.
    for n in 0..20 {
        world.carbon.state().addresses = vec![address(1 + n % 2)];
        world.post(1);
        world.check().await;
    }
    assert!(world.replayed() <= 50, "{}", world.replayed());
}

#[tokio::test(start_paused = true)]
async fn r02_only_a_dead_carbon_sends_again() {
    let mut world = World::new();
    world.post(10);
    world.check().await;
    for round in 0..30 {
        world.carbon.state().resolves = round % 2 == 0;
        world.carbon.state().no_ports = round % 3 == 0;
        world.post(1);
        sleep(10 * SECOND).await;
    }
    world.carbon.state().resolves = true;
    world.carbon.state().no_ports = false;
    world.carbon.cut_cable();
    world.post(1);
    sleep(8 * SECOND).await;
    world.carbon.connect_again();
    world.check().await;
    assert_eq!(world.replayed(), 0);
    assert!(world.metrics.deliveries_failed.sum() > 10);
}

#[tokio::test(start_paused = true)]
async fn r03_many_small_batches_take_few_connections() {
    let mut world = World::new();
    for _ in 0..6000 {
        world.post(1);
        sleep(SECOND / 100).await;
    }
    world.check().await;
    let connects = world.carbon.state().connects;
    assert!(connects < 700, "{connects} connections in a minute");
}

#[tokio::test(start_paused = true)]
async fn new_values_get_through_a_peer_that_closes_idle_connections() {
    let mut world = World::new();
    world.carbon.state().idle_timeout = Some(50 * SECOND);
    for _ in 0..60 {
        world.post(100);
        world.wait_fresh(5 * SECOND).await;
        sleep(55 * SECOND).await;
    }
    world.check().await;
    let sent = world.carbon.state().lines;
    assert!(sent <= 3 * 6000, "{sent} lines for 6000");
}

#[tokio::test(start_paused = true)]
async fn new_values_get_through_a_carbon_that_is_killed_again_and_again() {
    let mut world = World::new();
    for _ in 0..100 {
        world.post(10);
        world.wait_fresh(40 * SECOND).await;
        world.carbon.kill();
        sleep(SECOND).await;
        world.carbon.start();
    }
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_line_over_which_carbon_closes_is_set_aside() {
    let mut world = World::new();
    let bad = "bad 1 1700000000";
    world.carbon.state().bad_line = Some(bad.to_owned());
    for part in 0..20 {
        world.post(10);
        if part == 7 {
            world.post_text(&format!("x 1 1700000000\n{bad}\ny 1 1700000000\n"));
        }
    }
    world
        .accepted
        .extend(["x", "y"].map(|series| (series.to_owned(), 1)));
    world.check().await;
    assert_eq!(world.metrics.lines_lost.get(), 1);
    // A carbon that is killed is no reason to suspect a batch.
    world.carbon.state().bad_line = None;
    for _ in 0..20 {
        world.post(1);
        world.carbon.kill();
        sleep(SECOND).await;
        world.carbon.start();
        sleep(SECOND).await;
    }
    world.check().await;
    assert_eq!(world.metrics.lines_lost.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn r15_batches_wait_while_the_folder_is_away() {
    let mut world = World::new();
    world.carbon.kill();
    world.post(10);
    let lock = world.dir.path().join("lock");
    let away = world.dir.path().join("away");
    std::fs::rename(&lock, &away).unwrap();
    world.disk.set_all_missing(true);
    world.carbon.start();
    sleep(100 * SECOND).await;
    assert_eq!(world.metrics.lines_lost.get(), 0);
    std::fs::rename(&away, &lock).unwrap();
    world.disk.set_all_missing(false);
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn r20_many_unreadable_batches_take_little_time() {
    let mut world = World::new();
    world.carbon.kill();
    for _ in 0..2000 {
        world.post(1);
    }
    for file in world.disk.batch_files().into_keys() {
        world.disk.set_unreadable(&file, true);
    }
    world.post(5);
    world.carbon.start();
    let begun = StdInstant::now();
    world.wait_fresh(60 * SECOND).await;
    sleep(600 * SECOND).await;
    assert!(begun.elapsed() < 20 * SECOND, "{:?}", begun.elapsed());
    assert_eq!(world.spool.content().unreadable, 2000);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_when_all_is_sent_and_does_not_wait_for_a_pause() {
    let mut world = World::new();
    world.carbon.kill();
    world.post(1);
    sleep(100 * SECOND).await;
    world.carbon.start();
    world.phase.send_replace(Phase::Draining);
    let stopped = timeout(3 * SECOND, &mut world.forwarder).await;
    assert!(stopped.is_ok());
    world.check().await;
}
