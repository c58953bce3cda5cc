//! Disks and folders that fail while the relay runs.

use super::*;

#[test]
fn a_batch_that_cannot_be_deleted_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let spool = open_on(dir.path(), LIMITS, disk.clone());
    store(&spool, &[keyed("a 1 2\n", "k")]);
    let start = Instant::now();
    confirm_all(&spool, start);
    disk.fail_after(0);
    spool.expire(start + WINDOW);
    assert_eq!(
        spool.content().confirmed.batches,
        1,
        "it still takes its room"
    );
    disk.recover();
    spool.expire(start + WINDOW);
    assert_eq!(spool.content().confirmed.batches, 0);
    assert_eq!(disk.contents("batches").len(), 0);
}

#[test]
fn r14_a_disk_that_does_not_answer_is_not_writable() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let begun = Instant::now().checked_sub(HUNG_AFTER).unwrap();
    spool.state().operations.push(begun);
    assert!(!spool.content().writable);
    spool.report_hung_disk();
    assert!(spool.state().is_hung);
    spool.state().operations.clear();
    assert!(spool.content().writable);
    spool.report_hung_disk();
    assert!(!spool.state().is_hung);
}

#[test]
fn r15_nothing_is_lost_while_the_folder_is_away() {
    let root = tempfile::tempdir().unwrap();
    let (dir, away) = (root.path().join("spool"), root.path().join("away"));
    let spool = open(&dir);
    store(&spool, &[post("a 1 2\n")]);
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
    store(&spool, &[post("b 1 2\n")]);
    assert!(spool.content().writable);
}

#[test]
fn r15_folders_that_are_deleted_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    fs::remove_dir(dir.path().join("tmp")).unwrap();
    let batch = store(&spool, &[post("a 1 2\n")])[0].batch.clone();
    fs::remove_dir(dir.path().join("damaged")).unwrap();
    fs::write(dir.path().join(format!("batches/{batch}.lines")), "a").unwrap();
    assert_eq!(waiting(&spool), [""; 0]);
    assert_eq!(files(dir.path(), "damaged").len(), 1);
}

#[test]
fn r17_what_is_answered_after_a_kill_outlives_a_power_cut() {
    for steps in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let disk = SimDisk::default();
        let spool = open_on(dir.path(), LIMITS, disk.clone());
        let repeated = || keyed("a 1 2\n", "k");
        disk.fail_after(steps);
        let _ = spool.store(&[repeated()]);
        disk.recover();
        drop(spool);
        let spool = open_on(dir.path(), LIMITS, disk.clone());
        store(&spool, &[repeated()]);
        drop(spool);
        disk.cut_power(|| false);
        let spool = open_on(dir.path(), LIMITS, disk.clone());
        assert!(waiting(&spool).contains(&"a 1 2\n".to_owned()), "{steps}");
    }
}

#[test]
fn r20_a_batch_that_cannot_be_read_lets_the_others_go_on_and_is_sent_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let spool = open_on(dir.path(), LIMITS, disk.clone());
    for lines in ABC {
        store(&spool, &[post(lines)]);
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
    spool.resume();
    assert_eq!(spool.next(None), None);
    disk.set_unreadable(&b.file(), false);
    spool.retry_unreadable(Instant::now());
    spool.resume();
    assert_eq!(waiting(&spool), ["b 1 2\n", "c 1 2\n"]);
    confirm_all(&spool, Instant::now());
    assert!(spool.content().is_sent());
    assert_eq!(spool.metrics.lines_lost.get(), 0);
}

#[test]
fn a_line_over_which_carbon_closes_is_set_aside_alone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    store(&spool, &[post(&ABC.concat())]);
    store(&spool, &[post("d 1 2\n")]);
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
        let (dir, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
        let spool = open_on(dir.path(), LIMITS, disk.clone());
        store(&spool, &[post("a 1 2\n")]);
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

#[tokio::test(start_paused = true)]
async fn a_batch_that_stays_unreadable_is_given_up_before_newer_ones_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let spool = open_on(dir.path(), room_for(8), disk.clone());
    let start = Instant::now();
    let hour = 3600 * SECOND;
    let unreadable = |lines| {
        store(&spool, &[post(lines)]);
        let name = spool.next(None).unwrap();
        disk.set_unreadable(&name.file(), true);
        store(&spool, &[post("b 1 2\n")]);
        assert_eq!(waiting(&spool), ["b 1 2\n"]);
        confirm_all(&spool, start);
    };
    unreadable("a 1 2\n");
    spool.expire(start + 2 * hour);
    spool.retry_unreadable(start + hour / 2);
    assert_eq!(spool.content().confirmed.batches, 1, "what follows is kept");
    spool.retry_unreadable(start + 2 * hour);
    spool.expire(start + 2 * hour);
    assert_eq!(
        (
            spool.content().unreadable,
            spool.content().confirmed.batches
        ),
        (0, 0)
    );
    assert_eq!(disk.contents("damaged"), [b"a 1 2\n"]);
    assert_eq!(spool.metrics.lines_lost.get(), 1);
    // So it is when a post needs the room of what follows.
    unreadable("c 1 2\n");
    let fill = || {
        for _ in 0..8 {
            let _ = spool.store(&[post("d 1 2\n")]);
            confirm_all(&spool, Instant::now());
        }
        let full = spool.store(&[post("d 1 2\n")]) == [Err(StoreError::Full)];
        (
            full,
            spool.content().unreadable,
            spool.metrics.lines_lost.get(),
        )
    };
    assert_eq!(fill(), (true, 1, 1), "the disk may only be slow");
    tokio::time::advance(PATIENCE).await;
    assert_eq!(fill(), (false, 0, 2));
}

/// Uncertain evidence begins a pass every quarter of an hour; that must not give the batch a new hour.
#[test]
fn a_pass_in_doubt_does_not_give_an_unreadable_batch_more_time() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let spool = open_on(dir.path(), LIMITS, disk.clone());
    store(&spool, &[post("a 1 2\n")]);
    disk.set_unreadable(&spool.next(None).unwrap().file(), true);
    store(&spool, &[post("b 1 2\n")]);
    assert_eq!(waiting(&spool), ["b 1 2\n"]);
    let start = Instant::now();
    confirm_all(&spool, start);
    assert_eq!(spool.rewind(RestartEvidence::Uncertain, start), 1);
    spool.retry_unreadable(start + 3601 * SECOND);
    assert_eq!(disk.contents("damaged"), [b"a 1 2\n"]);
    assert_eq!(waiting(&spool), ["b 1 2\n"]);
}

#[test]
fn a_spool_whose_files_cannot_be_deleted_does_not_outgrow_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let spool = open_on(dir.path(), room_for(8), disk.clone());
    disk.set_undeletable(true);
    for _ in 0..20 {
        let _ = spool.store(&[post("a 1 2\n")]);
        confirm_all(&spool, Instant::now());
    }
    assert_eq!(disk.contents("batches").len(), 8);
    assert_eq!(spool.store(&[post("a 1 2\n")]), [Err(StoreError::Disk)]);
    disk.set_undeletable(false);
    store(&spool, &[post("a 1 2\n")]);
    assert_eq!(disk.contents("batches").len(), 7);
}
