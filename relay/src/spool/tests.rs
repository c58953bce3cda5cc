mod damage;
mod model;
mod room;
mod sim;

use std::collections::BTreeSet;
use std::fs;

use super::disk::OsDisk;
use super::store::{Post, StoreError, Stored};
use super::*;
use crate::answer::{Answer, Rejected};
use keys::Key;

const MIB: u64 = 1 << 20;
const WINDOW: Duration = Duration::from_secs(900);
const LIMITS: Limits = Limits {
    max_bytes: 16 * MIB,
    replay_window: WINDOW,
    replay_max_bytes: 16 * MIB,
    max_keys: 1000,
};

fn open_with(dir: &Path, limits: Limits) -> Spool {
    Spool::open(dir, limits, Arc::new(OsDisk), Arc::default()).unwrap()
}

fn open(dir: &Path) -> Spool {
    open_with(dir, LIMITS)
}

fn post(lines: &str) -> Post {
    Post {
        lines: vec![lines.to_owned().into()],
        accepted: lines.lines().count() as u64,
        ..Post::default()
    }
}

fn keyed(lines: &str, key: &str) -> Post {
    Post {
        key: Some(Key::new(key.as_bytes(), lines.as_bytes())),
        rejected: vec![Rejected {
            line: 7,
            reason: "empty_line".to_owned(),
        }],
        rejected_total: 1,
        ..post(lines)
    }
}

fn store(spool: &Spool, posts: &[Post]) -> Vec<Answer> {
    let results = spool.store(posts);
    results
        .into_iter()
        .map(|result| result.unwrap().answer())
        .collect()
}

/// All batches of a end, read from the disk.
fn waiting(spool: &Spool, end: End) -> Vec<String> {
    let names = spool.next(end, u64::MAX, usize::MAX, Instant::now());
    names
        .into_iter()
        .filter_map(|name| read(spool, name))
        .collect()
}

fn read(spool: &Spool, name: BatchName) -> Option<String> {
    let mut text = String::new();
    spool.read(name).ok()?.read_to_string(&mut text).unwrap();
    Some(text)
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
    assert_eq!((answers[0].accepted, answers[1].accepted), (1, 2));
    let file = dir
        .path()
        .join("batches")
        .join(format!("{}.lines", answers[0].batch));
    assert_eq!(fs::read_to_string(file).unwrap(), "a 1 2\nb 1 2\nc 1 2\n");
    let checksum = crc32fast::hash(b"a 1 2\nb 1 2\nc 1 2\n");
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
    store(&spool, &[keyed("a 1 2\n", "k")]);
    let [name] = spool.next(End::Newest, 0, 1, Instant::now())[..] else {
        panic!()
    };
    let start = Instant::now();
    spool.expire(start + 10 * WINDOW);
    assert_eq!(
        spool.content().waiting.batches,
        1,
        "not confirmed, never deleted"
    );
    spool.confirm(&[name], start);
    let names = |suffixes: &[&str]| {
        suffixes
            .iter()
            .map(|s| format!("1-6-{:08x}.{s}", name.checksum))
            .collect()
    };
    assert_eq!(files(dir.path(), "batches"), names(&["sent", "answers"]));
    spool.expire(start + WINDOW - Duration::from_millis(1));
    assert_eq!(files(dir.path(), "batches"), names(&["sent", "answers"]));
    spool.expire(start + WINDOW);
    assert_eq!(files(dir.path(), "batches"), BTreeSet::new());
    assert_eq!(
        spool.content(),
        Content {
            writable: true,
            ..Content::default()
        }
    );
}

#[test]
fn confirmed_batches_are_sent_again_after_a_restart_of_carbon() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    store(&spool, &[post("a 1 2\n")]);
    let start = Instant::now();
    let names = spool.next(End::Newest, 0, 1, start);
    spool.confirm(&names, start);
    assert_eq!(spool.replay(true).lines, 1);
    assert_eq!(waiting(&spool, End::Oldest), ["a 1 2\n"]);
    spool.expire(start + 2 * WINDOW);
    assert_eq!(
        waiting(&spool, End::Oldest),
        ["a 1 2\n"],
        "waits, so it is kept"
    );
    // A certain restart begins the window anew, an uncertain one does not.
    let later = start + 2 * WINDOW;
    spool.confirm(&names, later);
    spool.replay(false);
    spool.confirm(&names, later + WINDOW / 2);
    spool.expire(later + WINDOW);
    assert_eq!(spool.content().confirmed.batches, 0);
}

#[test]
fn a_reopened_spool_sends_everything_again() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    store(&spool, &[post("a 1 2\n")]);
    spool.confirm(
        &spool.next(End::Newest, 0, 1, Instant::now()),
        Instant::now(),
    );
    store(&spool, &[post("b 1 2\n")]);
    drop(spool);
    fs::write(dir.path().join("tmp/half"), "c 1").unwrap();
    let spool = open(dir.path());
    assert_eq!(waiting(&spool, End::Oldest), ["a 1 2\n", "b 1 2\n"]);
    assert_eq!(files(dir.path(), "tmp"), BTreeSet::new());
}

#[test]
fn new_batches_come_after_old_ones_even_if_the_clock_was_set_back() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    // Of the year 2255.
    let name = format!(
        "9000000000000000-1-6-{:08x}.lines",
        crc32fast::hash(b"a 1 2\n")
    );
    fs::write(dir.path().join("batches").join(name), "a 1 2\n").unwrap();
    let spool = open(dir.path());
    store(&spool, &[post("b 1 2\n")]);
    assert_eq!(waiting(&spool, End::Oldest), ["a 1 2\n", "b 1 2\n"]);
}

#[test]
fn the_same_key_gets_the_same_answer_and_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let first = store(&spool, &[keyed("a 1 2\n", "k"), post("b 1 2\n")])[0].clone();
    assert_eq!(first.rejected_total, 1);
    let again = keyed("a 1 2\n", "k");
    assert_eq!(
        spool.store(std::slice::from_ref(&again)),
        [Ok(Stored::Before(first.clone()))]
    );
    drop(spool);
    let spool = open(dir.path());
    let mixed = spool.store(&[again.clone(), keyed("c 1 2\n", "l")]);
    assert_eq!(mixed[0], Ok(Stored::Before(first.clone())));
    assert!(matches!(mixed[1], Ok(Stored::Now(_))));
    assert_eq!(spool.content().waiting.lines, 3);
    // Other lines under the same key are another post, and the answers to both stay apart.
    let other = store(&spool, &[keyed("other 1 2\n", "k")])[0].clone();
    assert_eq!(spool.content().waiting.lines, 4);
    assert_eq!(
        spool.store(&[again.clone(), keyed("other 1 2\n", "k")]),
        [Ok(Stored::Before(first)), Ok(Stored::Before(other))]
    );
    // The key lives as long as its batch.
    let names = spool.next(End::Oldest, u64::MAX, 9, Instant::now());
    spool.confirm(&names, Instant::now());
    spool.expire(Instant::now() + WINDOW);
    assert!(matches!(spool.store(&[again])[..], [Ok(Stored::Now(_))]));
}

#[test]
fn the_newest_end_takes_nothing_that_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for lines in ["a 1 2\n", "b 1 2\n"] {
        store(&spool, &[post(lines)]);
    }
    let start = Instant::now();
    spool.confirm(&spool.next(End::Oldest, u64::MAX, 9, start), start);
    store(&spool, &[post("c 1 2\n")]);
    let check = |spool: &Spool| {
        assert_eq!(waiting(spool, End::Newest), ["c 1 2\n"]);
        assert_eq!(
            waiting(spool, End::Oldest),
            ["a 1 2\n", "b 1 2\n", "c 1 2\n"]
        );
    };
    spool.replay(true);
    check(&spool);
    drop(spool);
    check(&open(dir.path()));
}

#[test]
fn a_batch_that_fails_by_itself_lets_the_others_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for lines in ["a 1 2\n", "b 1 2\n", "c 1 2\n"] {
        store(&spool, &[post(lines)]);
    }
    let now = Instant::now();
    let first = spool.next(End::Oldest, 0, 1, now)[0];
    spool.hold(first, now, |failures| {
        assert_eq!(failures, 1);
        Duration::from_secs(3600)
    });
    assert_eq!(waiting(&spool, End::Oldest), ["b 1 2\n", "c 1 2\n"]);
    let later = now + Duration::from_secs(3600);
    assert_eq!(spool.next(End::Oldest, u64::MAX, 9, later).len(), 3);
}

#[test]
fn batches_are_taken_from_both_ends_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for n in 0..5 {
        store(&spool, &[post(&format!("a{n} 1 2\n"))]);
    }
    let check = |end, max_bytes, max_batches, expect: &[&str]| {
        let names = spool.next(end, max_bytes, max_batches, Instant::now());
        let lines: Vec<_> = names
            .into_iter()
            .filter_map(|name| read(&spool, name))
            .collect();
        let lines: Vec<_> = lines
            .iter()
            .map(|lines| lines.trim_end_matches(" 1 2\n"))
            .collect();
        assert_eq!(lines, expect);
    };
    check(End::Oldest, 0, 9, &["a0"]);
    check(End::Newest, 0, 9, &["a4"]);
    check(End::Oldest, 21, 9, &["a0", "a1", "a2"]);
    check(End::Newest, 21, 9, &["a2", "a3", "a4"]);
    check(End::Oldest, 100, 2, &["a0", "a1"]);
    check(End::Newest, 100, 2, &["a3", "a4"]);
    check(End::Newest, 100, 9, &["a0", "a1", "a2", "a3", "a4"]);
}

#[test]
fn a_second_relay_is_told_that_the_spool_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let second = Spool::open(dir.path(), LIMITS, Arc::new(OsDisk), Arc::default());
    let Err(error) = second else {
        panic!("opened twice")
    };
    let expected = format!(
        "the spool {} is in use by another relay, stop that one or give this one its own with --spool",
        dir.path().display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_batch_that_cannot_be_deleted_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = sim::SimDisk::default();
    let spool = Spool::open(dir.path(), LIMITS, Arc::new(disk.clone()), Arc::default()).unwrap();
    store(&spool, &[keyed("a 1 2\n", "k")]);
    let start = Instant::now();
    spool.confirm(&spool.next(End::Oldest, 0, 1, start), start);
    disk.fail_after(0);
    spool.expire(start + WINDOW);
    assert_eq!(
        spool.content().confirmed.batches,
        1,
        "it still takes its room"
    );
    disk.mend();
    spool.expire(start + WINDOW);
    assert_eq!(spool.content().confirmed.batches, 0);
    assert_eq!(disk.batches().len(), 0);
}
