//! What the spool takes from the disk: posts have their room, and confirmed batches theirs.

use super::*;

#[test]
fn a_full_spool_refuses_a_post_as_a_whole_and_takes_what_fits() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open_with(
        dir.path(),
        Limits {
            max_bytes: 3 * 4096,
            ..LIMITS
        },
    );
    let large = post(&"a 1 1700000000\n".repeat(300));
    let small = post("b 1 2\n");
    let results = spool.store(&[large.clone(), large.clone(), small.clone()]);
    assert!(
        matches!(results[..], [Ok(_), Err(StoreError::Full), Ok(_)]),
        "{results:?}"
    );
    assert_eq!(
        spool.store(&[large.clone(), large.clone()]),
        [Err(StoreError::Full), Err(StoreError::Full)]
    );
    assert_eq!(spool.content().waiting.lines, 301);
    let names = spool.next(End::Newest, u64::MAX, 9, Instant::now());
    spool.confirm(&names, Instant::now());
    assert!(
        spool.store(&[large])[0].is_ok(),
        "confirmed batches have room of their own"
    );
}

#[test]
fn answers_are_counted_before_they_are_stored() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_bytes: MIB,
        ..LIMITS
    };
    let spool = open_with(dir.path(), limits);
    let refused = Rejected {
        line: u64::MAX,
        reason: "timestamp_not_a_number".to_owned(),
    };
    for n in 0.. {
        let long = Post {
            rejected: vec![refused.clone(); crate::answer::MAX_LISTED],
            rejected_total: u64::MAX,
            ..keyed("a 1 2\n", &format!("{n}"))
        };
        let stored = spool.store(&[long]);
        let bytes = spool.content().waiting.bytes;
        assert!(bytes <= MIB, "{bytes}");
        if stored[0].is_err() {
            assert!(bytes > MIB / 2, "{bytes}");
            return;
        }
    }
}

#[test]
fn confirmed_batches_beyond_their_room_go_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open_with(
        dir.path(),
        Limits {
            replay_max_bytes: 2 * 4096,
            ..LIMITS
        },
    );
    let start = Instant::now();
    for n in 0..5 {
        store(&spool, &[post(&format!("a{n} 1 2\n"))]);
        spool.confirm(
            &spool.next(End::Newest, 0, 1, start),
            start + Duration::from_secs(n),
        );
    }
    assert_eq!(spool.content().confirmed.batches, 2);
    assert_eq!(spool.metrics.replay_cut_short.get(), 3);
    spool.replay(true);
    assert_eq!(waiting(&spool, End::Oldest), ["a3 1 2\n", "a4 1 2\n"]);
}

#[test]
fn what_is_sent_again_takes_no_room_from_new_posts() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_bytes: 2 * 4096,
        replay_max_bytes: 3 * 4096,
        ..LIMITS
    };
    let spool = open_with(dir.path(), limits);
    let start = Instant::now();
    for n in 0..2 {
        store(&spool, &[post(&format!("a{n} 1 2\n"))]);
    }
    spool.confirm(&spool.next(End::Oldest, u64::MAX, 9, start), start);
    spool.replay(true);
    let content = spool.content();
    assert_eq!((content.waiting.batches, content.replaying.batches), (0, 2));
    assert_eq!(content.oldest, None);
    for n in 0..2 {
        store(&spool, &[post(&format!("b{n} 1 2\n"))]);
    }
    assert_eq!(spool.store(&[post("c 1 2\n")]), [Err(StoreError::Full)]);
    assert!(spool.content().oldest.is_some());
    // But of the room of confirmed batches.
    for name in spool.next(End::Newest, u64::MAX, 9, start) {
        spool.confirm(&[name], start);
    }
    let content = spool.content();
    assert_eq!(
        (content.replaying.batches, content.confirmed.batches),
        (2, 1)
    );
    assert_eq!(waiting(&spool, End::Oldest), ["a0 1 2\n", "a1 1 2\n"]);
}

#[test]
fn answers_are_deleted_with_their_batch_even_if_the_keys_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_keys: 1,
        ..LIMITS
    };
    let spool = open_with(dir.path(), limits);
    let mut batches = Vec::new();
    for lines in ["a 1 2\n", "b 1 2\n", "c 1 2\n"] {
        batches.push(store(&spool, &[keyed(lines, lines)])[0].batch.clone());
    }
    // One of them is lost.
    let file = dir.path().join(format!("batches/{}.lines", batches[0]));
    fs::write(file, "a").unwrap();
    assert_eq!(waiting(&spool, End::Oldest), ["b 1 2\n", "c 1 2\n"]);
    assert_eq!(files(dir.path(), "batches").len(), 4);
    let start = Instant::now();
    spool.confirm(&spool.next(End::Oldest, u64::MAX, 9, start), start);
    spool.expire(start + WINDOW);
    assert_eq!(files(dir.path(), "batches"), BTreeSet::new());
}
