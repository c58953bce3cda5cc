mod damage;
mod faults;
mod model;
mod room;
pub(crate) mod sim;

use std::collections::BTreeSet;
use std::fs;

use tempfile::TempDir;

use super::disk::OsDisk;
use super::store::{Post, StoreError, Stored};
use super::*;
use crate::answer::{Answer, Counts, Rejected};
use keys::Key;
use sim::SimDisk;

const MIB: u64 = 1 << 20;
const WINDOW: Duration = Duration::from_secs(900);
const SECOND: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits {
    max_bytes: 16 * MIB,
    replay_window: WINDOW,
    max_keys: 1000,
};
const ABC: [&str; 3] = ["a 1 2\n", "b 1 2\n", "c 1 2\n"];

/// With room for so many small batches.
fn room_for(blocks: u64) -> Limits {
    Limits {
        max_bytes: blocks * 4096,
        ..LIMITS
    }
}

fn open_on(dir: &Path, limits: Limits, disk: impl Disk) -> Spool {
    Spool::open(dir, limits, Arc::new(disk), Arc::default()).unwrap()
}

fn open(dir: &Path) -> Spool {
    open_on(dir, LIMITS, OsDisk)
}

/// An empty spool on the system's disk.
fn new() -> (TempDir, Spool) {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    (dir, spool)
}

/// An empty spool on a simulated disk.
fn simulated(limits: Limits) -> (TempDir, SimDisk, Spool) {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
    let spool = open_on(dir.path(), limits, disk.clone());
    (dir, disk, spool)
}

fn post(lines: &str) -> Post {
    Post {
        lines: vec![lines.to_owned().into()],
        counts: Counts {
            accepted: lines.lines().count() as u64,
            ..Counts::default()
        },
        ..Post::default()
    }
}

fn keyed(lines: &str, key: &str) -> Post {
    let mut post = post(lines);
    post.key = Some(Key::new(key.as_bytes(), lines.as_bytes()));
    post.counts.rejected_total = 1;
    post.counts.rejected.push(Rejected {
        line: 7,
        reason: "empty_line".to_owned(),
    });
    post
}

/// Stores a post, and gives the name of its batch.
fn store(spool: &Spool, post: Post) -> String {
    let stored = spool.store(&[post]).remove(0);
    stored.unwrap().answer().batch
}

/// Stores a post and confirms all that is to be sent.
fn deliver(spool: &Spool, lines: &str, now: Instant) {
    store(spool, post(lines));
    confirm_all(spool, now);
}

/// The batches behind the position that can be read, in order.
fn to_send(spool: &Spool) -> Vec<BatchName> {
    std::iter::successors(spool.next(None), |name| spool.next(Some(*name))).collect()
}

/// Their content. What is found damaged on the way is left out.
fn waiting(spool: &Spool) -> Vec<String> {
    let names = to_send(spool).into_iter();
    names.filter_map(|name| read(spool, name)).collect()
}

fn read(spool: &Spool, name: BatchName) -> Option<String> {
    Some(String::from_utf8(spool.read(name).ok()?).unwrap())
}

/// Confirms all that is to be sent.
fn confirm_all(spool: &Spool, now: Instant) {
    spool.confirm(&to_send(spool), now);
}

/// The files under a folder of the spool, with what follows the sequence in their names.
fn files(dir: &TempDir, folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(dir.path().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .map(|name| {
            name.split_once('-')
                .map_or(name.as_str(), |at| at.1)
                .to_owned()
        })
        .collect()
}

/// Puts a file of these lines among the batches.
fn put(dir: &TempDir, sequence: u64, kind: &str, lines: &str) {
    let checksum = crc32fast::hash(lines.as_bytes());
    let name = format!("{sequence:016}-1-{}-{checksum:08x}.{kind}", lines.len());
    fs::write(dir.path().join("batches").join(name), lines).unwrap();
}

#[test]
fn a_batch_is_one_file_of_lines_with_a_telling_name() {
    let (dir, spool) = new();
    let results = spool.store(&[post("a 1 2\n"), post("b 1 2\nc 1 2\n")]);
    let answers: Vec<_> = results
        .into_iter()
        .map(|one| one.unwrap().answer())
        .collect();
    let batch = &answers[0].batch;
    assert_eq!(
        *batch, answers[1].batch,
        "posts that come together share a batch"
    );
    assert_eq!(answers[1].counts.accepted, 2);
    let file = dir.path().join(format!("batches/{batch}.lines"));
    assert_eq!(fs::read_to_string(file).unwrap(), ABC.concat());
    let checksum = crc32fast::hash(ABC.concat().as_bytes());
    let name = format!("3-18-{checksum:08x}.lines");
    assert_eq!(files(&dir, "batches"), [name].into());
    assert_eq!(files(&dir, "tmp"), BTreeSet::new());
}

#[test]
fn a_batch_is_kept_until_it_is_confirmed_and_its_window_is_over() {
    let (dir, spool) = new();
    store(&spool, post("a 1 2\n"));
    let start = Instant::now();
    spool.expire(start + 10 * WINDOW);
    assert_eq!(spool.content().waiting.batches, 1, "not confirmed");
    confirm_all(&spool, start);
    spool.expire(start + WINDOW - SECOND);
    assert_eq!(files(&dir, "batches").len(), 1);
    spool.expire(start + WINDOW);
    assert_eq!(files(&dir, "batches"), BTreeSet::new());
    let empty = Content {
        writable: true,
        ..Content::default()
    };
    assert_eq!(spool.content(), empty);
}

#[test]
fn r04_after_a_restart_of_carbon_everything_goes_again_in_order() {
    let (_dir, spool) = new();
    let start = Instant::now();
    deliver(&spool, ABC[0], start);
    deliver(&spool, ABC[1], start);
    store(&spool, post(ABC[2]));
    assert_eq!(waiting(&spool), ["c 1 2\n"]);
    assert_eq!(spool.rewind(RestartEvidence::Certain, start), 2);
    assert_eq!(waiting(&spool), ABC);
    assert_eq!(spool.oldest_waiting(), Some(to_send(&spool)[2].sequence));
    spool.expire(start + 2 * WINDOW);
    assert_eq!(waiting(&spool), ABC, "not confirmed again");
    assert_eq!(spool.rewind(RestartEvidence::Certain, start), 0);
    // The windows begin anew.
    confirm_all(&spool, start + 2 * WINDOW);
    spool.expire(start + 3 * WINDOW - SECOND);
    assert_eq!(spool.content().confirmed.batches, 3);
    assert_eq!(spool.oldest_waiting(), None);
}

#[test]
fn r20_uncertain_evidence_sends_again_once_in_a_window_and_windows_go_on() {
    let (_dir, spool) = new();
    let start = Instant::now();
    deliver(&spool, "a 1 2\n", start);
    let mut sent = 0;
    for second in 1..=1800 {
        let now = start + second * SECOND;
        spool.rewind(RestartEvidence::Uncertain, now);
        spool.expire(now);
        sent += to_send(&spool).len();
        confirm_all(&spool, now);
    }
    assert_eq!(sent, 1);
    assert_eq!(spool.content().confirmed.batches, 0);
    // What comes meanwhile is sent again later.
    let later = start + 2000 * SECOND;
    deliver(&spool, "b 1 2\n", later);
    spool.rewind(RestartEvidence::Uncertain, later);
    confirm_all(&spool, later);
    deliver(&spool, "c 1 2\n", later + SECOND);
    spool.rewind(RestartEvidence::Uncertain, later + 2 * SECOND);
    assert_eq!(waiting(&spool), [""; 0]);
    spool.expire(later + WINDOW);
    assert_eq!(waiting(&spool), ["c 1 2\n"]);
}

#[test]
fn a_spool_of_version_0_1_opens() {
    let (dir, spool) = new();
    drop(spool);
    for (sequence, (lines, kind)) in (0..).zip(ABC.into_iter().zip(["sent", "lines", "sent"])) {
        put(&dir, sequence, kind, lines);
        put(&dir, sequence, "answers", lines);
    }
    assert_eq!(waiting(&open(dir.path())), ABC);
    let name = |lines: &str| format!("1-6-{:08x}.lines", crc32fast::hash(lines.as_bytes()));
    assert_eq!(files(&dir, "batches"), ABC.map(name).into());
}

#[test]
fn new_batches_come_after_old_ones_even_if_the_clock_was_set_back() {
    let (dir, spool) = new();
    drop(spool);
    // Of the year 2255, and of none.
    put(&dir, 9_000_000_000_000_000, "lines", "a 1 2\n");
    put(&dir, u64::MAX, "lines", "z 1 2\n");
    let spool = open(dir.path());
    confirm_all(&spool, Instant::now());
    store(&spool, post("b 1 2\n"));
    // What no clock gives is the last again.
    assert_eq!(waiting(&spool), ["b 1 2\n", "z 1 2\n"]);
    drop(spool);
    let all = waiting(&open(dir.path()));
    assert_eq!(all, ["a 1 2\n", "b 1 2\n", "z 1 2\n"]);
}

#[test]
fn r20_the_same_key_gets_the_same_answer_and_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_keys: 4,
        ..LIMITS
    };
    let spool = open_on(dir.path(), limits, OsDisk);
    let key = || keyed("a 1 2\n", "k");
    let answers = spool.store(&vec![key(); 250]);
    let Ok(Stored::Now(first)) = &answers[0] else {
        panic!("{answers:?}")
    };
    assert_eq!(first.counts.rejected_total, 1);
    let before = Ok(Stored::Before(first.clone()));
    assert!(answers[1..].iter().all(|answer| *answer == before));
    // Other lines under the same key are another post.
    let other = || keyed("other 1 2\n", "k");
    let mixed = spool.store(&[key(), other()]);
    assert_eq!(mixed[0], before);
    assert!(matches!(mixed[1], Ok(Stored::Now(_))));
    assert_eq!(spool.content().waiting.lines, 2);
    assert_eq!(files(&dir, "batches").len(), 2);
    // Each counts twice, since it lists a refused line: the third makes the first forgotten.
    store(&spool, keyed("c 1 2\n", "l"));
    assert!(matches!(spool.store(&[other()])[0], Ok(Stored::Before(_))));
    assert!(matches!(spool.store(&[key()])[0], Ok(Stored::Now(_))));
    drop(spool);
    let spool = open_on(dir.path(), limits, OsDisk);
    assert!(matches!(spool.store(&[key()])[0], Ok(Stored::Now(_))));
}
