//! Ways in which a spool file can be wrong, beside those of the fault matrix. The others are delivered
//! each time.

use std::process::Command;

use super::*;

/// What is done to the file of the second of three batches, and what the spool delivers, at once and
/// when it is opened again; and how many files it then has put aside.
type Case = (&'static str, fn(&Path), [&'static [&'static str]; 2], usize);

const ALL: &[&str] = &ABC;
const OTHERS: &[&str] = &["a 1 2\n", "c 1 2\n"];
const CASES: &[Case] = &[
    (
        "flipped",
        |file| fs::write(file, "b 3 2\n").unwrap(),
        [OTHERS; 2],
        1,
    ),
    (
        "shorter",
        |file| fs::write(file, "b 1").unwrap(),
        [OTHERS; 2],
        1,
    ),
    (
        "longer",
        |file| fs::write(file, "b 1 2\nb 1 3\n").unwrap(),
        [OTHERS; 2],
        1,
    ),
    (
        "missing",
        |file| fs::remove_file(file).unwrap(),
        [OTHERS; 2],
        0,
    ),
    (
        "a folder in its place",
        |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        },
        [OTHERS; 2],
        1,
    ),
    (
        "R20: a FIFO in its place",
        |file| {
            fs::remove_file(file).unwrap();
            assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
        },
        [OTHERS; 2],
        1,
    ),
    (
        "a foreign folder",
        |file| fs::create_dir(file.with_file_name("folder")).unwrap(),
        [ALL; 2],
        1,
    ),
    (
        "a name that does not fit the content",
        |file| {
            let other = file.with_file_name("0000000000000001-1-6-00000000.lines");
            fs::rename(file, other).unwrap();
        },
        [OTHERS; 2],
        1,
    ),
    (
        "both names of version 0.1 at once",
        |file| assert_eq!(fs::copy(file, file.with_extension("sent")).unwrap(), 6),
        [ALL; 2],
        0,
    ),
    (
        "both names at once, one of them cut",
        |file| fs::write(file.with_extension("sent"), "b").unwrap(),
        [ALL; 2],
        1,
    ),
    (
        "another one with its sequence",
        |file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            let (sequence, _) = name.split_once('-').unwrap();
            let name = format!("{sequence}-1-9-{:08x}.lines", crc32fast::hash(b"another 1"));
            fs::write(file.with_file_name(name), "another 1").unwrap();
        },
        [ALL, &["a 1 2\n", "b 1 2\n", "another 1", "c 1 2\n"]],
        0,
    ),
];

#[test]
fn a_file_that_is_not_what_its_name_says_costs_itself_alone() {
    for (what, damage, delivered, aside) in CASES {
        for (opened_again, delivered) in [false, true].into_iter().zip(delivered) {
            let (dir, mut spool) = new();
            let posts = ABC.map(|lines| keyed(lines, "k"));
            let batches = posts.clone().map(|post| store(&spool, post));
            if opened_again {
                drop(spool);
                damage(&dir.path().join(format!("batches/{}.lines", batches[1])));
                spool = open(dir.path());
            } else {
                damage(&dir.path().join(format!("batches/{}.lines", batches[1])));
            }
            assert_eq!(waiting(&spool), **delivered, "{what}");
            assert_eq!(spool.content().waiting.lines, delivered.len() as u64);
            let lost = ABC.len().saturating_sub(delivered.len()) as u64;
            if !opened_again {
                assert_eq!(spool.metrics.lines_lost.get(), lost, "{what}");
                // The key of what is lost is forgotten, so that its sender is heard when it posts again.
                let again = matches!(spool.store(&posts[1..2])[..], [Ok(Stored::Now(_))]);
                assert_eq!(again, lost > 0, "{what}");
                drop(spool);
                drop(waiting(&open(dir.path())));
            }
            assert_eq!(files(&dir, "damaged").len(), *aside, "{what}");
        }
    }
}
