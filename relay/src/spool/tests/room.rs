//! What the spool takes from the disk.

use super::*;

fn small(lines: &str) -> [Post; 1] {
    [post(lines)]
}

#[test]
fn a_full_spool_refuses_a_post_as_a_whole_and_takes_what_fits() {
    let (_dir, _, spool) = simulated(room_for(3));
    let large = || post(&"a 1 1700000000\n".repeat(300));
    let results = spool.store(&[large(), large(), post("b 1 2\n")]);
    assert!(matches!(results[..], [Ok(_), Err(StoreError::Full), Ok(_)]));
    let full = [Err(StoreError::Full), Err(StoreError::Full)];
    assert_eq!(spool.store(&[large(), large()]), full);
    assert_eq!(spool.content().waiting.lines, 301);
    confirm_all(&spool, Instant::now());
    // A confirmed batch gives way.
    store(&spool, large());
    assert_eq!(spool.content().confirmed.batches, 0);
}

#[test]
fn confirmed_batches_give_way_oldest_first_and_no_earlier_than_needed() {
    let (dir, disk, spool) = simulated(room_for(8));
    let start = Instant::now();
    for n in 0..9 {
        deliver(&spool, &format!("a{n} 1 2\n"), start);
    }
    // An eighth stays free of them.
    assert_eq!(spool.content().confirmed.batches, 7);
    assert_eq!(spool.metrics.replay_cut_short.get(), 2);
    spool.rewind(RestartEvidence::Certain, start);
    assert_eq!(waiting(&spool)[..2], ["a2 1 2\n", "a3 1 2\n"]);
    // What is to be sent again does not give way. So it is after a start.
    drop(spool);
    let spool = open_on(dir.path(), room_for(8), disk);
    store(&spool, post("b 1 2\n"));
    assert_eq!(spool.store(&small("c 1 2\n")), [Err(StoreError::Full)]);
}

#[test]
fn a_spool_whose_files_cannot_be_deleted_does_not_outgrow_its_bound() {
    let (_dir, disk, spool) = simulated(room_for(8));
    let start = Instant::now();
    disk.sim().undeletable = true;
    for _ in 0..20 {
        let _ = spool.store(&small("a 1 2\n"));
        confirm_all(&spool, start);
    }
    assert_eq!(disk.contents("batches").len(), 8);
    assert_eq!(spool.store(&small("a 1 2\n")), [Err(StoreError::Disk)]);
    spool.expire(start + WINDOW);
    assert_eq!(spool.content().confirmed.batches, 8, "they take their room");
    disk.sim().undeletable = false;
    store(&spool, post("a 1 2\n"));
    assert_eq!(disk.contents("batches").len(), 7);
    spool.expire(start + WINDOW);
    assert_eq!(spool.content().confirmed.batches, 0);
    assert_eq!(disk.contents("batches"), [b"a 1 2\n"]);
}

/// Nothing behind it may be deleted. Posts are refused until it is read or given up.
#[test]
fn a_batch_that_cannot_be_read_in_a_full_spool_does_not_let_it_outgrow_its_bound() {
    let (_dir, disk, spool) = simulated(room_for(8));
    let start = Instant::now();
    deliver(&spool, "a 1 2\n", start);
    store(&spool, post("b 1 2\n"));
    disk.set_unreadable(&spool.next(None).unwrap().file(), true);
    for _ in 0..5 {
        assert_eq!(waiting(&spool), [""; 0]);
        deliver(&spool, "c 1 2\n", start);
    }
    // Two blocks: that of the first batch, and one that is free.
    let post_of = |bytes: usize| spool.store(&small(&"d 1 2\n".repeat(bytes / 6)));
    assert_eq!(post_of(3 * 4096), [Err(StoreError::Full)]);
    assert!(post_of(2 * 4096)[0].is_ok());
    confirm_all(&spool, start);
    assert_eq!(post_of(6), [Err(StoreError::Full)]);
    spool.retry_unreadable(Instant::now() + 3600 * SECOND);
    assert!(post_of(6)[0].is_ok());
}
