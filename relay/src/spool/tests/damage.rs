//! One test for each way a spool file can be wrong. The others are delivered each time.

use super::*;

/// Stores three batches, does something to the file of the second, and checks what a reopened
/// spool delivers and what it puts aside.
fn check(damage: impl Fn(&Path), delivered: &[&str], aside: usize) {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let batches = ABC.map(|lines| store(&spool, &[post(lines)])[0].batch.clone());
    drop(spool);
    damage(&dir.path().join(format!("batches/{}.lines", batches[1])));
    let spool = open(dir.path());
    assert_eq!(waiting(&spool), delivered);
    assert_eq!(files(dir.path(), "damaged").len(), aside);
    assert_eq!(spool.content().waiting.lines, delivered.len() as u64);
    let lost = 3_u64.saturating_sub(delivered.len() as u64);
    if aside > 0 {
        assert_eq!(spool.metrics.lines_lost.get(), lost);
    }
}

#[test]
fn truncated() {
    check(
        |file| fs::write(file, "b 1").unwrap(),
        &["a 1 2\n", "c 1 2\n"],
        1,
    );
}

#[test]
fn flipped_bit() {
    check(
        |file| fs::write(file, "b 3 2\n").unwrap(),
        &["a 1 2\n", "c 1 2\n"],
        1,
    );
}

#[test]
fn empty() {
    check(
        |file| fs::write(file, "").unwrap(),
        &["a 1 2\n", "c 1 2\n"],
        1,
    );
}

#[test]
fn longer() {
    check(
        |file| fs::write(file, "b 1 2\nb 1 3\n").unwrap(),
        &["a 1 2\n", "c 1 2\n"],
        1,
    );
}

#[test]
fn foreign() {
    let foreign = |file: &Path| {
        fs::write(file.with_file_name("notes.txt"), "b").unwrap();
        fs::create_dir(file.with_file_name("folder")).unwrap();
    };
    check(foreign, &["a 1 2\n", "b 1 2\n", "c 1 2\n"], 2);
}

#[test]
fn a_name_that_does_not_fit_the_content() {
    let rename = |file: &Path| {
        fs::rename(
            file,
            file.with_file_name("0000000000000001-1-6-00000000.lines"),
        )
        .unwrap()
    };
    check(rename, &["a 1 2\n", "c 1 2\n"], 1);
}

#[test]
fn both_names_at_once() {
    let copy = |file: &Path| assert_eq!(fs::copy(file, file.with_extension("sent")).unwrap(), 6);
    check(copy, &["a 1 2\n", "b 1 2\n", "c 1 2\n"], 0);
}

#[test]
fn both_names_at_once_one_of_them_cut() {
    let cut = |file: &Path| fs::write(file.with_extension("sent"), "b").unwrap();
    check(cut, &["a 1 2\n", "b 1 2\n", "c 1 2\n"], 1);
}

#[test]
fn a_folder_in_its_place() {
    let folder = |file: &Path| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    };
    check(folder, &["a 1 2\n", "c 1 2\n"], 1);
}

#[test]
fn r20_a_fifo_in_its_place() {
    let fifo = |file: &Path| {
        fs::remove_file(file).unwrap();
        let made = std::process::Command::new("mkfifo").arg(file).status();
        assert!(made.unwrap().success());
    };
    check(fifo, &["a 1 2\n", "c 1 2\n"], 1);
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let batch = store(&spool, &[keyed("a 1 2\n", "k")])[0].batch.clone();
    fifo(&dir.path().join(format!("batches/{batch}.lines")));
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
        let batch = store(&spool, &[post(&format!("a{n} 1 2\n"))])[0]
            .batch
            .clone();
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
    let copy = |file: &Path| {
        let (sequence, _) = file
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .split_once('-')
            .unwrap();
        let name = format!("{sequence}-1-6-{:08x}.lines", crc32fast::hash(b"d 1 2\n"));
        fs::write(file.with_file_name(name), "d 1 2\n").unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let batch = store(&spool, &[post("a 1 2\n")])[0].batch.clone();
    drop(spool);
    copy(&dir.path().join(format!("batches/{batch}.lines")));
    let mut all = waiting(&open(dir.path()));
    all.sort();
    assert_eq!(all, ["a 1 2\n", "d 1 2\n"]);
}
