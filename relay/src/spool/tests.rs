mod damage;
mod faults;
mod model;
mod room;
pub(crate) mod sim;

use std::collections::BTreeSet;
use std::fs;

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
        reason: crate::lines::Reason::EmptyLine,
    });
    post
}

fn store(spool: &Spool, posts: &[Post]) -> Vec<Answer> {
    let results = spool.store(posts);
    results
        .into_iter()
        .map(|result| result.unwrap().answer())
        .collect()
}

/// The batches behind the position that can be read, in order.
fn to_send(spool: &Spool) -> Vec<BatchName> {
    let next = |last: &Option<BatchName>| Some(spool.next(*last));
    std::iter::successors(next(&None), next)
        .map_while(|name| name)
        .collect()
}

/// Their content.
fn waiting(spool: &Spool) -> Vec<String> {
    let mut all = Vec::new();
    let mut last = None;
    while let Some(name) = spool.next(last) {
        last = Some(name);
        all.extend(read(spool, name));
    }
    all
}

fn read(spool: &Spool, name: BatchName) -> Option<String> {
    Some(String::from_utf8(spool.read(name).ok()?).unwrap())
}

/// Confirms all that is to be sent.
fn confirm_all(spool: &Spool, now: Instant) {
    spool.confirm(&to_send(spool), now);
}

/// The files under a folder of the spool, with what follows the sequence in their names.
fn files(dir: &Path, folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(dir.join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| {
            name.split_once('-')
                .map_or(name.clone(), |(_, rest)| rest.to_owned())
        })
        .collect()
}

#[test]
fn a_batch_is_one_file_of_lines_with_a_telling_name() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let answers = store(&spool, &[post("a 1 2\n"), post("b 1 2\nc 1 2\n")]);
    assert_eq!(
        answers[0].batch, answers[1].batch,
        "posts that come together share a batch"
    );
    assert_eq!(
        (answers[0].counts.accepted, answers[1].counts.accepted),
        (1, 2)
    );
    let file = dir
        .path()
        .join("batches")
        .join(format!("{}.lines", answers[0].batch));
    assert_eq!(fs::read_to_string(file).unwrap(), ABC.concat());
    let checksum = crc32fast::hash(ABC.concat().as_bytes());
    assert_eq!(
        files(dir.path(), "batches"),
        [format!("3-18-{checksum:08x}.lines")].into()
    );
    assert_eq!(files(dir.path(), "tmp"), BTreeSet::new());
}

#[test]
fn a_batch_is_kept_until_it_is_confirmed_and_its_window_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    store(&spool, &[post("a 1 2\n")]);
    let start = Instant::now();
    spool.expire(start + 10 * WINDOW);
    assert_eq!(spool.content().waiting.batches, 1, "not confirmed");
    confirm_all(&spool, start);
    spool.expire(start + WINDOW - SECOND);
    assert_eq!(files(dir.path(), "batches").len(), 1);
    spool.expire(start + WINDOW);
    assert_eq!(files(dir.path(), "batches"), BTreeSet::new());
    let empty = Content {
        writable: true,
        ..Content::default()
    };
    assert_eq!(spool.content(), empty);
}

#[test]
fn r04_after_a_restart_of_carbon_everything_goes_again_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let start = Instant::now();
    for lines in ABC {
        store(&spool, &[post(lines)]);
        if !lines.starts_with('c') {
            confirm_all(&spool, start);
        }
    }
    assert_eq!(waiting(&spool), ["c 1 2\n"]);
    assert_eq!(spool.rewind(RestartEvidence::Certain, start), 2);
    assert_eq!(waiting(&spool), ABC);
    spool.expire(start + 2 * WINDOW);
    assert_eq!(waiting(&spool), ABC, "not confirmed again");
    assert_eq!(spool.rewind(RestartEvidence::Certain, start), 0);
    // The windows begin anew.
    confirm_all(&spool, start + 2 * WINDOW);
    spool.expire(start + 3 * WINDOW - SECOND);
    assert_eq!(spool.content().confirmed.batches, 3);
}

#[test]
fn r20_uncertain_evidence_sends_again_once_in_a_window_and_windows_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let start = Instant::now();
    store(&spool, &[post("a 1 2\n")]);
    confirm_all(&spool, start);
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
    store(&spool, &[post("b 1 2\n")]);
    confirm_all(&spool, later);
    spool.rewind(RestartEvidence::Uncertain, later);
    confirm_all(&spool, later);
    store(&spool, &[post("c 1 2\n")]);
    confirm_all(&spool, later + SECOND);
    spool.rewind(RestartEvidence::Uncertain, later + 2 * SECOND);
    assert_eq!(waiting(&spool), [""; 0]);
    spool.expire(later + WINDOW);
    assert_eq!(waiting(&spool), ["c 1 2\n"]);
}

#[test]
fn a_spool_of_version_0_1_opens() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let checksum = |lines: &str| crc32fast::hash(lines.as_bytes());
    for (number, (lines, kind)) in ABC.into_iter().zip(["sent", "lines", "sent"]).enumerate() {
        let stem = format!("170000000000000{number}-1-6-{:08x}", checksum(lines));
        let path = |kind| dir.path().join(format!("batches/{stem}.{kind}"));
        fs::write(path(kind), lines).unwrap();
        fs::write(path("answers"), "{}\n").unwrap();
    }
    assert_eq!(waiting(&open(dir.path())), ABC);
    let expect = ABC.map(|lines| format!("1-6-{:08x}.lines", checksum(lines)));
    assert_eq!(files(dir.path(), "batches"), expect.into());
}

#[test]
fn new_batches_come_after_old_ones_even_if_the_clock_was_set_back() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    // Of the year 2255, and of none.
    for (sequence, lines) in [(9_000_000_000_000_000, "a 1 2\n"), (u64::MAX, "z 1 2\n")] {
        let name = format!(
            "{sequence}-1-6-{:08x}.lines",
            crc32fast::hash(lines.as_bytes())
        );
        fs::write(dir.path().join("batches").join(name), lines).unwrap();
    }
    let spool = open(dir.path());
    confirm_all(&spool, Instant::now());
    store(&spool, &[post("b 1 2\n")]);
    // What no clock gives is the last again.
    assert_eq!(waiting(&spool), ["b 1 2\n", "z 1 2\n"]);
    drop(spool);
    assert_eq!(
        waiting(&open(dir.path())),
        ["a 1 2\n", "b 1 2\n", "z 1 2\n"]
    );
}

#[test]
fn the_same_key_gets_the_same_answer_and_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_keys: 4,
        ..LIMITS
    };
    let spool = open_on(dir.path(), limits, OsDisk);
    let key = || keyed("a 1 2\n", "k");
    let answers = spool.store(&[key(), post("b 1 2\n"), key()]);
    let Ok(Stored::Now(first)) = &answers[0] else {
        panic!("{answers:?}")
    };
    assert_eq!(first.counts.rejected_total, 1);
    let before = Ok(Stored::Before(first.clone()));
    assert_eq!(answers[2], before);
    // Other lines under the same key are another post.
    let other = || keyed("other 1 2\n", "k");
    let mixed = spool.store(&[key(), other()]);
    assert_eq!(mixed[0], before);
    assert!(matches!(mixed[1], Ok(Stored::Now(_))));
    assert_eq!(spool.content().waiting.lines, 3);
    // Each counts twice, since it lists a refused line: the third makes the first forgotten.
    store(&spool, &[keyed("c 1 2\n", "l")]);
    assert!(matches!(spool.store(&[other()])[0], Ok(Stored::Before(_))));
    assert!(matches!(spool.store(&[key()])[0], Ok(Stored::Now(_))));
    drop(spool);
    let spool = open_on(dir.path(), limits, OsDisk);
    assert!(matches!(spool.store(&[key()])[0], Ok(Stored::Now(_))));
}

#[test]
fn r20_repeats_of_one_key_share_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let results = spool.store(&vec![keyed("a 1 2\n", "k"); 250]);
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(spool.content().waiting.lines, 1);
    assert_eq!(files(dir.path(), "batches").len(), 1);
}
