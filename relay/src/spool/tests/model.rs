//! The spool against a model of senders and carbon: whatever happens in whatever order, a value that
//! was answered is on carbon's disk in the end, the last one of each series at that; nothing
//! unconfirmed is ever deleted, and the files stay within their bounds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SERIES: u64 = 4;

#[derive(Debug, Clone)]
enum Op {
    /// Post so many posts at once, each with a key or without.
    Post(Vec<bool>),
    /// Post one of the posts with a key again.
    Repeat(usize),
    /// Deliver so many batches to carbon, which reads them; then the connection ends well, or not.
    Forward(usize, bool),
    /// The disk does not give the next batch, until the next such step.
    Unreadable,
    /// Time passes.
    Wait(u64),
    /// Carbon loses what it has not written yet, and the relay notices.
    RestartCarbon,
    /// Carbon closes an idle connection, and loses nothing.
    CloseIdle,
    /// The disk fails for the next post, after so many steps.
    FailDisk(u32),
    /// The relay is killed while it stores a post, after so many steps, and starts again.
    Kill(u32),
    /// The same, and the machine loses its power.
    CutPower(u32, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop::collection::vec(any::<bool>(), 1..4).prop_map(Op::Post),
        1 => any::<usize>().prop_map(Op::Repeat),
        6 => (1..4_usize, any::<bool>()).prop_map(|(batches, ends_well)| Op::Forward(batches, ends_well)),
        1 => Just(Op::Unreadable),
        2 => (1..1200_u64).prop_map(Op::Wait),
        1 => Just(Op::RestartCarbon),
        1 => Just(Op::CloseIdle),
        1 => (0..12_u32).prop_map(Op::FailDisk),
        1 => (0..12_u32).prop_map(Op::Kill),
        1 => (0..14_u32, any::<u64>()).prop_map(|(steps, seed)| Op::CutPower(steps, seed)),
    ]
}

/// So tight that keys are forgotten and replay windows cut short all the time.
const TIGHT: Limits = Limits {
    max_bytes: 12 * 4096,
    max_keys: 4,
    ..LIMITS
};

/// The last value of each series.
type Values = BTreeMap<String, u64>;

struct World {
    limits: Limits,
    dir: tempfile::TempDir,
    disk: SimDisk,
    spool: Option<Spool>,
    unreadable: Option<BatchName>,
    now: Instant,
    posts: u64,
    keyed: Vec<(Post, Answer)>,
    /// Lines that were answered with 202.
    answered: BTreeSet<String>,
    /// What carbon has in memory, and since when. It writes it before the replay window is over.
    memory: Vec<(Instant, String)>,
    written: Values,
    /// Lines whose connection ended well, as far as carbon still has them.
    confirmed: BTreeSet<String>,
}

/// The series and the value of each line.
fn values(lines: &str) -> impl Iterator<Item = (String, u64)> {
    lines.lines().map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        (fields[0].to_owned(), fields[1].parse().unwrap())
    })
}

fn split(lines: &str) -> impl Iterator<Item = String> {
    lines.split_inclusive('\n').map(str::to_owned)
}

fn text(post: &Post) -> String {
    String::from_utf8(post.lines.concat()).unwrap()
}

impl World {
    fn new(limits: Limits) -> Self {
        let (dir, disk, spool) = simulated(limits);
        Self {
            limits,
            dir,
            disk,
            spool: Some(spool),
            unreadable: None,
            now: Instant::now(),
            posts: 0,
            keyed: Vec::new(),
            answered: BTreeSet::new(),
            memory: Vec::new(),
            written: Values::new(),
            confirmed: BTreeSet::new(),
        }
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    fn start(&mut self) {
        drop(self.spool.take());
        self.spool = Some(open_on(self.dir.path(), self.limits, self.disk.clone()));
    }

    /// Values rise with time, so that an old one shows. One with a key may come again, and has a
    /// series of its own.
    fn new_post(&mut self, has_key: bool) -> Post {
        self.posts += 1;
        let value = self.posts;
        if has_key {
            let lines = format!("keyed{value} {value} 1700000000\n");
            keyed(&lines, &format!("key{}", value / 2))
        } else {
            post(&format!("s{} {value} 1700000000\n", value % SERIES))
        }
    }

    fn post(&mut self, posts: &[Post]) {
        for (post, result) in posts.iter().zip(self.spool().store(posts)) {
            let Ok(stored) = result else { continue };
            self.answered.insert(text(post));
            if post.key.is_some() {
                self.keyed.push((post.clone(), stored.answer()));
            }
        }
    }

    fn repeat(&mut self, which: usize) {
        let Some((post, answer)) = self.keyed.get(which % self.keyed.len().max(1)).cloned() else {
            return;
        };
        match &self.spool().store(std::slice::from_ref(&post))[0] {
            Ok(Stored::Before(again)) => assert_eq!(*again, answer),
            Ok(Stored::Now(again)) => {
                let again = again.clone();
                self.keyed.retain(|(other, _)| other.key != post.key);
                self.confirmed.remove(&text(&post));
                self.keyed.push((post, again));
            }
            Err(_) => {}
        }
    }

    fn forward(&mut self, batches: usize, ends_well: bool) {
        let mut sent = Vec::new();
        let mut last = None;
        while let Some(name) = self.spool().next(last)
            && sent.len() < batches
        {
            last = Some(name);
            let Some(lines) = read(self.spool(), name) else {
                assert_eq!(self.unreadable, Some(name), "no batch is ever damaged here");
                continue;
            };
            self.memory.push((self.now, lines.clone()));
            if ends_well {
                self.confirmed.extend(split(&lines));
            }
            sent.push(name);
        }
        if ends_well {
            self.spool().confirm(&sent, self.now);
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        let is_young = |(at, _): &(Instant, _)| self.now.saturating_duration_since(*at) < WINDOW;
        let young = self.memory.iter().position(is_young);
        let rest = self.memory.split_off(young.unwrap_or(self.memory.len()));
        for (_, lines) in std::mem::replace(&mut self.memory, rest) {
            self.written.extend(values(&lines));
        }
        // Before it would be given up.
        self.spool().retry_unreadable(Instant::now());
        self.spool().expire(self.now);
    }

    fn restart_carbon(&mut self) {
        for (_, lost) in std::mem::take(&mut self.memory) {
            for line in split(&lost) {
                self.confirmed.remove(&line);
            }
        }
        self.spool().rewind(RestartEvidence::Certain, self.now);
    }

    fn toggle_unreadable(&mut self) {
        if let Some(name) = self.unreadable.take() {
            self.disk.set_unreadable(&name.file(), false);
        } else if let Some(name) = self.spool().next(None) {
            self.disk.set_unreadable(&name.file(), true);
            self.unreadable = Some(name);
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Post(keys) => {
                let posts: Vec<_> = keys.iter().map(|key| self.new_post(*key)).collect();
                self.post(&posts);
            }
            Op::Repeat(which) => self.repeat(*which),
            Op::Forward(batches, ends_well) => self.forward(*batches, *ends_well),
            Op::Unreadable => self.toggle_unreadable(),
            Op::Wait(seconds) => self.wait(*seconds),
            Op::RestartCarbon => self.restart_carbon(),
            Op::CloseIdle => drop(self.spool().rewind(RestartEvidence::Uncertain, self.now)),
            Op::FailDisk(steps) => self.post_failing(*steps),
            Op::Kill(steps) => {
                self.post_failing(*steps);
                self.start();
            }
            Op::CutPower(steps, seed) => {
                self.post_failing(*steps);
                let mut random = fastrand::Rng::with_seed(*seed);
                self.disk.cut_power(|| random.bool());
                self.start();
            }
        }
    }

    fn post_failing(&mut self, steps: u32) {
        let posts = [self.new_post(true), self.new_post(false)];
        self.disk.fail_after(steps);
        self.post(&posts);
        self.disk.recover();
    }

    /// Whatever was answered and is not confirmed is still on the disk.
    fn check_kept(&self) {
        let files = ["batches", "damaged"].map(|folder| self.disk.contents(folder));
        let kept: BTreeSet<String> = files
            .concat()
            .iter()
            .flat_map(|batch| split(std::str::from_utf8(batch).unwrap()))
            .collect();
        for line in self.answered.difference(&self.confirmed) {
            assert!(kept.contains(line), "{line} was deleted unconfirmed");
        }
    }

    /// All files together keep within their bounds.
    fn check_room(&self) {
        let files = self.disk.batch_files();
        let room: u64 = files.values().map(|bytes| index::cost(*bytes)).sum();
        assert!(room <= self.limits.max_bytes, "{room}: {files:?}");
    }

    /// Lets everything come to its end.
    fn finish(&mut self) {
        if self.unreadable.is_some() {
            self.toggle_unreadable();
        }
        self.wait(10);
        for _ in 0..1000 {
            self.forward(3, true);
        }
        assert!(self.spool().content().is_sent());
    }

    /// Carbon has written of each series the last value that was answered, or one that was stored later,
    /// though its sender was not told so.
    fn check_values(&self) {
        for (series, value) in self.answered.iter().flat_map(|line| values(line)) {
            let last = self.written.get(&series);
            assert!(last >= Some(&value), "{series}: {last:?}, not {value}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn r04_the_last_value_answered_is_the_last_on_carbons_disk(
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut world = World::new(LIMITS);
        for op in &ops {
            world.apply(op);
            world.check_kept();
        }
        world.finish();
        world.wait(WINDOW.as_secs());
        world.check_values();
        let left = world.spool().content();
        let empty = Content { writable: left.writable, ..Content::default() };
        prop_assert_eq!(left, empty);
    }

    #[test]
    fn a_spool_with_little_room_keeps_within_it(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new(TIGHT);
        for op in &ops {
            match op {
                // What carbon loses here may be gone: its batches may have given way to posts.
                Op::RestartCarbon => drop(world.spool().rewind(RestartEvidence::Certain, world.now)),
                // A power cut may bring files back that were deleted.
                Op::CutPower(steps, _) => world.apply(&Op::Kill(*steps)),
                op => world.apply(op),
            }
            world.check_kept();
            world.check_room();
        }
        world.finish();
        world.check_room();
        world.wait(WINDOW.as_secs());
        prop_assert_eq!(world.disk.contents("batches").len(), 0);
    }
}
