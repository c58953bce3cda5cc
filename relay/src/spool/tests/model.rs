//! The spool against a model of senders and carbon: whatever happens in whatever order, a line
//! that was answered is on carbon's disk in the end, nothing unconfirmed is ever deleted, and the
//! files stay within their bounds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::sim::SimDisk;
use super::*;

#[derive(Debug, Clone)]
enum Op {
    /// Post so many posts at once, each with a key or without. Other posts have the same keys.
    Post(Vec<bool>),
    /// Post one of the posts with a key again.
    Repeat(usize),
    /// Deliver what is next to carbon, which reads it; then the connection ends well, or not.
    Forward { newest: bool, confirmed: bool },
    /// One batch fails by itself.
    Hold,
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
        4 => any::<(bool, bool)>().prop_map(|(newest, confirmed)| Op::Forward { newest, confirmed }),
        1 => Just(Op::Hold),
        2 => (1..1200_u64).prop_map(Op::Wait),
        1 => Just(Op::RestartCarbon),
        1 => Just(Op::CloseIdle),
        1 => (0..10_u32).prop_map(Op::FailDisk),
        1 => (0..10_u32).prop_map(Op::Kill),
        1 => (0..12_u32, any::<u64>()).prop_map(|(steps, seed)| Op::CutPower(steps, seed)),
    ]
}

/// So tight that keys are forgotten and replay windows cut short all the time.
const TIGHT: Limits = Limits {
    max_bytes: 12 * 4096,
    replay_window: WINDOW,
    replay_max_bytes: 3 * 4096,
    max_keys: 2,
};

struct World {
    limits: Limits,
    dir: tempfile::TempDir,
    disk: SimDisk,
    spool: Option<Spool>,
    now: Instant,
    posts: u64,
    keyed: Vec<(Post, Option<Answer>)>,
    /// Lines that were answered with 202.
    answered: BTreeSet<String>,
    /// Lines in carbon's memory, and since when. It writes them before the window is over.
    memory: BTreeMap<String, Instant>,
    written: BTreeSet<String>,
    /// Batches whose connection ended well, as far as carbon still has them.
    confirmed: BTreeSet<String>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = SimDisk::default();
        let mut world = Self {
            limits,
            dir,
            disk,
            spool: None,
            now: Instant::now(),
            posts: 0,
            keyed: Vec::new(),
            answered: BTreeSet::new(),
            memory: BTreeMap::new(),
            written: BTreeSet::new(),
            confirmed: BTreeSet::new(),
        };
        world.start();
        world
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    fn start(&mut self) {
        drop(self.spool.take());
        let disk = Arc::new(self.disk.clone());
        self.spool = Some(Spool::open(self.dir.path(), self.limits, disk, Arc::default()).unwrap());
    }

    fn new_post(&mut self, has_key: bool) -> Post {
        self.posts += 1;
        let line = format!("line{} 1 1700000000\n", self.posts);
        if has_key {
            // Each key comes with two bodies: no sender's data is lost over another's key.
            keyed(&line, &format!("key{}", self.posts / 2))
        } else {
            post(&line)
        }
    }

    fn post(&mut self, posts: &[Post]) {
        for (post, result) in posts.iter().zip(self.spool().store(posts)) {
            let Ok(stored) = result else { continue };
            self.answered
                .insert(String::from_utf8(post.lines.concat()).unwrap());
            if post.key.is_some() {
                self.keyed.push((post.clone(), Some(stored.answer())));
            }
        }
    }

    fn forward(&mut self, end: End, confirmed: bool) {
        let names = self.spool().next(end, 60, 3, self.now);
        for name in &names {
            let lines = read(self.spool(), *name).expect("no batch is ever damaged here");
            for line in lines.lines() {
                let now = self.now;
                self.memory.entry(format!("{line}\n")).or_insert(now);
                if confirmed {
                    self.confirmed.insert(format!("{line}\n"));
                }
            }
        }
        if confirmed {
            self.spool().confirm(&names, self.now);
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        let (now, written) = (self.now, &mut self.written);
        self.memory.retain(|line, since| {
            let young = now.saturating_duration_since(*since) < WINDOW;
            if !young {
                written.insert(line.clone());
            }
            young
        });
        self.spool().expire(self.now);
    }

    fn restart_carbon(&mut self) {
        let (memory, written) = (&self.memory, &self.written);
        self.confirmed
            .retain(|line| written.contains(line) || !memory.contains_key(line));
        self.memory.clear();
        self.spool().replay(true);
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Post(keys) => {
                let posts: Vec<_> = keys.iter().map(|key| self.new_post(*key)).collect();
                self.post(&posts);
            }
            Op::Repeat(which) => {
                if let Some((post, answer)) =
                    self.keyed.get(which % self.keyed.len().max(1)).cloned()
                {
                    let again = self.spool().store(std::slice::from_ref(&post));
                    let lines = String::from_utf8(post.lines.concat()).unwrap();
                    // While its batch is there, the same answer; stored again at worst after. Of a
                    // post that was forgotten and stored again it may be any of its answers.
                    if self.posts <= self.limits.max_keys as u64 {
                        if let Ok(Stored::Before(again)) = &again[0] {
                            assert_eq!(Some(again), answer.as_ref());
                        }
                        if self.answered.contains(&lines) && !self.confirmed.contains(&lines) {
                            assert!(matches!(again[0], Ok(Stored::Before(_))), "{again:?}");
                        }
                    }
                    if let Ok(Stored::Now(answer)) = &again[0] {
                        self.keyed.retain(|(other, _)| other.key != post.key);
                        self.keyed.push((post, Some(answer.clone())));
                        self.confirmed.remove(&lines);
                    }
                }
            }
            Op::Forward { newest, confirmed } => {
                let end = if *newest { End::Newest } else { End::Oldest };
                self.forward(end, *confirmed);
            }
            Op::Hold => {
                if let [name, ..] = self.spool().next(End::Oldest, 0, 1, self.now)[..] {
                    self.spool()
                        .hold(name, self.now, |_| Duration::from_secs(5));
                }
            }
            Op::Wait(seconds) => self.wait(*seconds),
            Op::RestartCarbon => self.restart_carbon(),
            Op::CloseIdle => drop(self.spool().replay(false)),
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
        self.disk.mend();
    }

    /// Whatever was answered and is not confirmed is still on the disk.
    fn check_kept(&self) {
        let kept: BTreeSet<String> = self
            .disk
            .batches()
            .iter()
            .flat_map(|batch| {
                String::from_utf8_lossy(batch)
                    .lines()
                    .map(|line| format!("{line}\n"))
                    .collect::<Vec<_>>()
            })
            .collect();
        for line in self.answered.difference(&self.confirmed) {
            assert!(kept.contains(line), "{line} was deleted unconfirmed");
        }
    }

    /// The files of no batch.
    fn left_overs(&self) -> Vec<String> {
        let files = self.disk.batch_files();
        let parsed = || files.keys().filter_map(|file| BatchName::parse_file(file));
        let batches: BTreeSet<_> = parsed()
            .filter(|(_, kind)| *kind != Kind::Answers)
            .map(|(name, _)| name)
            .collect();
        let left = parsed().filter(|(name, _)| !batches.contains(name));
        left.map(|(name, kind)| name.file(kind)).collect()
    }

    /// All files together keep within their bounds, and none is of no batch.
    fn check_room(&self) {
        assert_eq!(self.left_overs(), [""; 0]);
        let files = self.disk.batch_files();
        let room: u64 = files.values().map(|bytes| index::cost(*bytes)).sum();
        let most = self.limits.max_bytes + self.limits.replay_max_bytes;
        assert!(room <= most, "{room} of {most}: {files:?}");
    }

    /// Lets everything come to its end.
    fn finish(&mut self) {
        self.wait(10);
        while !self.spool().content().is_sent() {
            self.forward(End::Newest, true);
            self.forward(End::Oldest, true);
        }
        self.wait(WINDOW.as_secs());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_answered_is_on_carbons_disk_in_the_end(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new(LIMITS);
        for op in &ops {
            world.apply(op);
            world.check_kept();
        }
        world.finish();
        let lost: Vec<_> = world.answered.difference(&world.written).collect();
        prop_assert!(lost.is_empty(), "lost: {lost:?}");
        prop_assert_eq!(world.spool().content(), Content { writable: world.spool().content().writable, ..Content::default() });
    }

    #[test]
    fn a_spool_with_little_room_keeps_within_it(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new(TIGHT);
        for op in &ops {
            match op {
                // What carbon loses here may be gone: that is what `replay_max_bytes` is for.
                Op::RestartCarbon => drop(world.spool().replay(true)),
                // A power cut may bring files back that were deleted.
                Op::CutPower(steps, _) => world.apply(&Op::Kill(*steps)),
                op => world.apply(op),
            }
            if let Op::FailDisk(_) = op && !world.left_overs().is_empty() {
                // A file that a failing disk does not delete goes at the next start.
                world.start();
            }
            world.check_kept();
            world.check_room();
        }
        world.finish();
        world.check_room();
        prop_assert_eq!(world.disk.batches().len(), 0);
    }
}
