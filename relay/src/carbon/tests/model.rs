//! The forwarder against a carbon that fails in many ways, in the time of the test: in the end
//! carbon has the last value of every series, and new values get through all the time.

use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::fake::{Fake, Values};
use super::*;
use crate::answer::Counts;
use crate::spool::store::Post;
use crate::spool::{Limits, tests::sim::SimDisk};

pub const SECOND: Duration = Duration::from_secs(1);
const SERIES: u64 = 5;
const LIMITS: Limits = Limits {
    max_bytes: 64 << 20,
    replay_window: Duration::from_secs(900),
    max_keys: 100,
};

pub struct World {
    pub carbon: Fake,
    pub spool: Arc<Spool>,
    pub metrics: Arc<Metrics>,
    pub disk: SimDisk,
    pub dir: TempDir,
    pub forwarder: JoinHandle<()>,
    pub phase: watch::Sender<Phase>,
    pub accepted: Values,
    last_value: u64,
}

fn open(dir: &Path, disk: &SimDisk, metrics: &Arc<Metrics>) -> Arc<Spool> {
    let disk = Arc::new(disk.clone());
    Arc::new(Spool::open(dir, LIMITS, disk, Arc::clone(metrics)).unwrap())
}

fn forward(spool: &Arc<Spool>, carbon: &Fake, phase: &watch::Sender<Phase>) -> JoinHandle<()> {
    let forwarder = Forwarder::new(
        Arc::clone(spool),
        carbon.clone(),
        Timing::default(),
        0,
        mpsc::channel(1).1,
        phase.subscribe(),
    );
    tokio::spawn(forwarder.run())
}

impl World {
    pub fn new() -> Self {
        let (carbon, disk) = (Fake::new(), SimDisk::default());
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::default();
        let spool = open(dir.path(), &disk, &metrics);
        let phase = watch::Sender::new(Phase::Running);
        Self {
            forwarder: forward(&spool, &carbon, &phase),
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
    pub fn post(&mut self, lines: u64) {
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

    pub fn post_text(&self, text: &str) {
        let post = Post {
            lines: vec![text.to_owned().into()],
            counts: Counts {
                accepted: text.lines().count() as u64,
                ..Counts::default()
            },
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
    pub async fn wait_fresh(&self, within: Duration) {
        let fresh = async {
            while self.carbon.state().got.values().max() != Some(&self.last_value) {
                sleep(SECOND / 10).await;
            }
        };
        assert!(timeout(within, fresh).await.is_ok(), "no new values");
    }

    pub fn replayed(&self) -> u64 {
        self.metrics.lines_replayed.get()
    }

    /// All is sent, and carbon has the last values.
    pub async fn check(&self) {
        self.wait_sent().await;
        assert_eq!(self.carbon.state().values(), self.accepted);
    }

    /// The relay is killed, and starts again.
    fn restart(&mut self) {
        self.forwarder.abort();
        // The lock goes with the spool.
        std::fs::remove_file(self.dir.path().join("lock")).unwrap();
        self.spool = open(self.dir.path(), &self.disk, &self.metrics);
        self.forwarder = forward(&self.spool, &self.carbon, &self.phase);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

/// A fault: its name, how it begins and how it ends.
type Fault = (&'static str, fn(&Fake), fn(&Fake));

const FAULTS: [Fault; 5] = [
    ("killed", Fake::kill, Fake::start),
    ("no power", Fake::cut_power, Fake::connect_again),
    ("no cable", Fake::cut_cable, Fake::connect_again),
    (
        "no name",
        |carbon| carbon.state().resolves = false,
        |carbon| carbon.state().resolves = true,
    ),
    (
        "no ports",
        |carbon| carbon.state().no_ports = true,
        |carbon| carbon.state().no_ports = false,
    ),
];

#[derive(Debug, Clone)]
enum Op {
    Post(u64),
    Wait(u64),
    /// For so many seconds. A carbon that was killed is never back at once.
    Fault(Fault, u64),
    RestartRelay,
}

fn op() -> impl Strategy<Value = Op> {
    let fault = (prop::sample::select(&FAULTS), 0..60_u64);
    prop_oneof![
        4 => (1..20_u64).prop_map(Op::Post),
        3 => (0..120_u64).prop_map(Op::Wait),
        5 => fault.prop_map(|(fault, seconds)| {
            let least = u64::from(fault.0 == "killed");
            Op::Fault(fault, seconds.max(least))
        }),
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
        Op::Fault((_, begin, end), seconds) => {
            begin(&carbon);
            wait(*seconds).await;
            end(&carbon);
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
