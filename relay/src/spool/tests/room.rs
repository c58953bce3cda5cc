//! What the spool takes from the disk.

use super::*;

fn open_with_blocks(dir: &Path, blocks: u64) -> Spool {
    open_on(dir, room_for(blocks), OsDisk)
}

#[test]
fn a_full_spool_refuses_a_post_as_a_whole_and_takes_what_fits() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open_with_blocks(dir.path(), 3);
    let large = post(&"a 1 1700000000\n".repeat(300));
    let small = post("b 1 2\n");
    let results = spool.store(&[large.clone(), large.clone(), small]);
    assert!(
        matches!(results[..], [Ok(_), Err(StoreError::Full), Ok(_)]),
        "{results:?}"
    );
    assert_eq!(
        spool.store(&[large.clone(), large.clone()]),
        [Err(StoreError::Full), Err(StoreError::Full)]
    );
    assert_eq!(spool.content().waiting.lines, 301);
    confirm_all(&spool, Instant::now());
    assert!(
        spool.store(&[large])[0].is_ok(),
        "a confirmed batch gives way"
    );
    assert_eq!(spool.content().confirmed.batches, 0);
}

#[test]
fn confirmed_batches_give_way_oldest_first_and_no_earlier_than_needed() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open_with_blocks(dir.path(), 8);
    let start = Instant::now();
    for n in 0..9 {
        store(&spool, &[post(&format!("a{n} 1 2\n"))]);
        confirm_all(&spool, start);
    }
    // An eighth stays free of them.
    assert_eq!(spool.content().confirmed.batches, 7);
    assert_eq!(spool.metrics.replay_cut_short.get(), 2);
    spool.rewind(RestartEvidence::Certain, start);
    assert_eq!(waiting(&spool)[..2], ["a2 1 2\n", "a3 1 2\n"]);
    assert_eq!(spool.content().oldest, None);
    // What is to be sent again does not give way.
    store(&spool, &[post("b 1 2\n")]);
    assert_eq!(spool.store(&[post("c 1 2\n")]), [Err(StoreError::Full)]);
}

#[test]
fn a_spool_full_of_confirmed_batches_takes_posts_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open_with_blocks(dir.path(), 8);
    for n in 0..20 {
        store(&spool, &[post(&format!("a{n} 1 2\n"))]);
        confirm_all(&spool, Instant::now());
    }
    drop(spool);
    let spool = open_with_blocks(dir.path(), 8);
    assert_eq!(spool.content().waiting.batches, 7);
    assert!(spool.store(&[post("b 1 2\n")])[0].is_ok());
}
