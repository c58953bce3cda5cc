//! Ways in which a spool file can be wrong, beside those of the fault matrix. The others are delivered
//! each time.

use super::*;

/// What is done to the file of the second of three batches, what a reopened spool delivers, and how
/// many files it puts aside.
type Case = (&'static str, fn(&Path), &'static [&'static str], usize);

const ALL: &[&str] = &ABC;
const OTHERS: &[&str] = &["a 1 2\n", "c 1 2\n"];
const CASES: &[Case] = &[
    (
        "longer",
        |file| fs::write(file, "b 1 2\nb 1 3\n").unwrap(),
        OTHERS,
        1,
    ),
    (
        "a folder in its place",
        |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        },
        OTHERS,
        1,
    ),
    (
        "a foreign folder",
        |file| fs::create_dir(file.with_file_name("folder")).unwrap(),
        ALL,
        1,
    ),
    (
        "a name that does not fit the content",
        |file| {
            let other = file.with_file_name("0000000000000001-1-6-00000000.lines");
            fs::rename(file, other).unwrap();
        },
        OTHERS,
        1,
    ),
    (
        "both names of version 0.1 at once",
        |file| assert_eq!(fs::copy(file, file.with_extension("sent")).unwrap(), 6),
        ALL,
        0,
    ),
    (
        "both names at once, one of them cut",
        |file| fs::write(file.with_extension("sent"), "b").unwrap(),
        ALL,
        1,
    ),
];

#[test]
fn a_file_that_is_not_what_its_name_says_costs_itself_alone() {
    for (what, damage, delivered, aside) in CASES {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path());
        let batches = ABC.map(|lines| store(&spool, &[post(lines)])[0].batch.clone());
        drop(spool);
        damage(&dir.path().join(format!("batches/{}.lines", batches[1])));
        let spool = open(dir.path());
        assert_eq!(waiting(&spool), *delivered, "{what}");
        assert_eq!(files(dir.path(), "damaged").len(), *aside, "{what}");
        assert_eq!(spool.content().waiting.lines, delivered.len() as u64);
        let lost = ABC.len() - delivered.len();
        assert_eq!(spool.metrics.lines_lost.get(), lost as u64, "{what}");
    }
}

#[test]
fn r20_a_fifo_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let batch = store(&spool, &[keyed("a 1 2\n", "k")])[0].batch.clone();
    let file = dir.path().join(format!("batches/{batch}.lines"));
    fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(file).status();
    assert!(made.unwrap().success());
    assert_eq!(waiting(&spool), [""; 0]);
    assert_eq!(files(dir.path(), "damaged").len(), 1);
    // Its key is forgotten, so that its sender is heard when it posts again.
    let again = spool.store(&[keyed("a 1 2\n", "k")]);
    assert!(matches!(again[..], [Ok(Stored::Now(_))]));
}

#[test]
fn damage_while_the_relay_runs() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for (n, damage) in [Some("a 3 2\n"), Some("a 1"), None].into_iter().enumerate() {
        let lines = format!("a{n} 1 2\n");
        let batch = store(&spool, &[post(&lines)])[0].batch.clone();
        let file = dir.path().join(format!("batches/{batch}.lines"));
        match damage {
            Some(content) => fs::write(file, content).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
        store(&spool, &[post("b 1 2\n")]);
        assert_eq!(waiting(&spool).last().map(String::as_str), Some("b 1 2\n"));
        assert_eq!(spool.metrics.lines_lost.get(), n as u64 + 1);
    }
    assert_eq!(spool.content().waiting.batches, 3);
    assert_eq!(files(dir.path(), "damaged").len(), 2);
}

#[test]
fn batches_that_share_a_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let batch = store(&spool, &[post("a 1 2\n")])[0].batch.clone();
    drop(spool);
    let (sequence, _) = batch.split_once('-').unwrap();
    let name = format!("{sequence}-1-6-{:08x}.lines", crc32fast::hash(b"d 1 2\n"));
    fs::write(dir.path().join("batches").join(name), "d 1 2\n").unwrap();
    let mut all = waiting(&open(dir.path()));
    all.sort();
    assert_eq!(all, ["a 1 2\n", "d 1 2\n"]);
}
