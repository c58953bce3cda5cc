//! Disks and folders that fail while the relay runs.

use super::*;

#[test]
fn r14_a_disk_that_does_not_answer_is_not_writable() {
    let (_dir, spool) = new();
    let begun = Instant::now().checked_sub(HUNG_AFTER).unwrap();
    spool.state().operations.push(begun);
    assert!(!spool.content().writable);
    spool.report_hung_disk();
    assert!(!spool.state().hung_log.is_due(), "it is in the log");
    spool.state().operations.clear();
    assert!(spool.content().writable);
    spool.report_hung_disk();
    assert!(!spool.state().hung_log.is_over(), "its end is in the log");
}

#[test]
fn r15_nothing_is_lost_while_the_folder_is_away() {
    let root = tempfile::tempdir().unwrap();
    let (dir, away) = (root.path().join("spool"), root.path().join("away"));
    let spool = open(&dir);
    store(&spool, post("a 1 2\n"));
    let name = spool.next(None).unwrap();
    let check_away = || {
        assert!(matches!(spool.read(name), Err(ReadError::Away(_))));
        assert_eq!(spool.store(&[post("b 1 2\n")]), [Err(StoreError::Disk)]);
        spool.probe();
        assert!(!spool.content().writable);
        assert_eq!(spool.content().waiting.batches, 1);
    };
    fs::rename(&dir, &away).unwrap();
    check_away();
    // What lies below a mount point: another spool, with nobody in it.
    drop(open(&dir));
    check_away();
    fs::remove_dir_all(&dir).unwrap();
    fs::rename(&away, &dir).unwrap();
    assert_eq!(waiting(&spool), ["a 1 2\n"]);
    assert_eq!(spool.metrics.lines_lost.get(), 0);
    store(&spool, post("b 1 2\n"));
    assert!(spool.content().writable);
}

#[test]
fn r15_folders_that_are_deleted_are_made_again() {
    let (dir, spool) = new();
    fs::remove_dir(dir.path().join("tmp")).unwrap();
    let batch = store(&spool, post("a 1 2\n"));
    fs::remove_dir(dir.path().join("damaged")).unwrap();
    fs::write(dir.path().join(format!("batches/{batch}.lines")), "a").unwrap();
    assert_eq!(waiting(&spool), [""; 0]);
    assert_eq!(files(&dir, "damaged").len(), 1);
}

#[test]
fn r17_what_is_answered_after_a_kill_outlives_a_power_cut() {
    for steps in 0..12 {
        let (dir, disk, spool) = simulated(LIMITS);
        let repeated = || keyed("a 1 2\n", "k");
        disk.fail_after(steps);
        let _ = spool.store(&[repeated()]);
        disk.recover();
        drop(spool);
        let spool = open_on(dir.path(), LIMITS, disk.clone());
        store(&spool, repeated());
        drop(spool);
        disk.cut_power(|| false);
        let spool = open_on(dir.path(), LIMITS, disk.clone());
        assert!(waiting(&spool).contains(&"a 1 2\n".to_owned()), "{steps}");
    }
}

#[test]
fn r20_a_batch_that_cannot_be_read_lets_the_others_go_on_and_is_sent_in_its_place() {
    let (_dir, disk, spool) = simulated(LIMITS);
    for lines in ABC {
        store(&spool, post(lines));
    }
    let [a, b, c] = to_send(&spool)[..] else {
        panic!()
    };
    disk.set_unreadable(&b.file(), true);
    assert_eq!(waiting(&spool), ["a 1 2\n", "c 1 2\n"]);
    spool.confirm(&[a, c], Instant::now());
    assert_eq!(spool.content().unreadable, 1);
    assert!(!spool.content().is_sent());
    spool.retry_unreadable(Instant::now());
    spool.expire(Instant::now());
    assert_eq!(spool.next(None), None);
    disk.set_unreadable(&b.file(), false);
    spool.retry_unreadable(Instant::now());
    spool.expire(Instant::now());
    assert_eq!(waiting(&spool), ["b 1 2\n", "c 1 2\n"]);
    confirm_all(&spool, Instant::now());
    assert!(spool.content().is_sent());
    assert_eq!(spool.metrics.lines_lost.get(), 0);
}

#[test]
fn a_line_over_which_carbon_closes_is_set_aside_alone() {
    let (dir, spool) = new();
    store(&spool, post(&ABC.concat()));
    store(&spool, post("d 1 2\n"));
    let name = spool.next(None).unwrap();
    let lines = spool.read(name).unwrap();
    spool.set_line_aside(name, &lines, 6..12).unwrap();
    assert_eq!(waiting(&spool), ["a 1 2\nc 1 2\n", "d 1 2\n"]);
    assert_eq!(spool.metrics.lines_lost.get(), 1);
    let kept = dir.path().join(format!("damaged/{name}.6.line"));
    assert_eq!(fs::read_to_string(kept).unwrap(), "b 1 2\n");
    // The last line of a batch.
    let name = to_send(&spool)[1];
    spool.set_line_aside(name, b"d 1 2\n", 0..6).unwrap();
    assert_eq!(waiting(&spool), ["a 1 2\nc 1 2\n"]);
    drop(spool);
    assert_eq!(waiting(&open(dir.path())), ["a 1 2\nc 1 2\n"]);
}

#[test]
fn a_line_that_is_set_aside_outlives_a_power_cut() {
    for survivors in 0..64_u32 {
        let (_dir, disk, spool) = simulated(LIMITS);
        store(&spool, post("a 1 2\n"));
        let name = spool.next(None).unwrap();
        spool.set_line_aside(name, b"a 1 2\n", 0..6).unwrap();
        let mut change = 0;
        disk.cut_power(|| {
            change += 1;
            survivors >> change & 1 > 0
        });
        let damaged = disk.list(&spool.damaged()).unwrap();
        assert!(!damaged.is_empty() || !disk.contents("batches").is_empty());
    }
}

/// Not any sooner, and a pass in doubt, every quarter of an hour, does not give it a new hour.
#[test]
fn a_batch_that_cannot_be_read_for_an_hour_is_given_up() {
    let (_dir, disk, spool) = simulated(LIMITS);
    let start = Instant::now();
    store(&spool, post("a 1 2\n"));
    disk.set_unreadable(&spool.next(None).unwrap().file(), true);
    assert_eq!(waiting(&spool), [""; 0]);
    deliver(&spool, "b 1 2\n", start);
    assert_eq!(spool.rewind(RestartEvidence::Uncertain, start), 1);
    confirm_all(&spool, start);
    spool.expire(start + 3599 * SECOND);
    spool.retry_unreadable(start + 3599 * SECOND);
    assert_eq!(spool.content().confirmed.batches, 1, "what follows is kept");
    spool.retry_unreadable(start + 3601 * SECOND);
    assert_eq!(disk.contents("damaged"), [b"a 1 2\n"]);
    assert_eq!(spool.metrics.lines_lost.get(), 1);
    spool.expire(start + 3601 * SECOND);
    let content = spool.content();
    assert_eq!((content.unreadable, content.confirmed.batches), (0, 0));
}
