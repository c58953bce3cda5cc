//! The store against a map, over restarts, by two at once, and what is on disk.

use super::{LONGEST_NAME, Store, StoreError, escape, unescape};
use proptest::prelude::*;
use std::collections::HashMap;
use std::fs;

#[derive(Debug, Clone)]
enum Step {
    Set(String, Vec<u8>),
    Delete(String),
    Get(String),
    Restart,
}

/// Few keys, so that steps meet; odd ones, so that names are put to the test.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            ".",
            "..",
            "a",
            "A",
            "a/b",
            "../x",
            "%61",
            "tmp",
            "lock",
            "cursor/v1:17",
            "ü\0",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,20}",
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        4 => (key(), value).prop_map(|(key, value)| Step::Set(key, value)),
        2 => key().prop_map(Step::Delete),
        4 => key().prop_map(Step::Get),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn is_a_map_that_survives(steps in prop::collection::vec(step(), 0..40)) {
        let state = tempfile::tempdir().unwrap();
        let open = || Store::open(state.path(), "default").unwrap();
        let mut store = open();
        let mut model = HashMap::new();
        for step in steps {
            match step {
                Step::Set(key, value) => {
                    store.set(&key, &value).unwrap();
                    model.insert(key, value);
                }
                Step::Delete(key) => {
                    store.delete(&key).unwrap();
                    model.remove(&key);
                }
                Step::Get(key) => {
                    prop_assert_eq!(store.get(&key).unwrap(), model.get(&key).cloned());
                    prop_assert_eq!(store.exists(&key).unwrap(), model.contains_key(&key));
                }
                Step::Restart => store = open(),
            }
        }
        let mut keys = store.keys().unwrap();
        let mut expect: Vec<String> = model.keys().cloned().collect();
        keys.sort();
        expect.sort();
        prop_assert_eq!(keys, expect);
    }

    #[test]
    fn names_are_reversible(key in ".*") {
        let name = escape(&key);
        prop_assert!(name.bytes().all(|b| !b.is_ascii_uppercase() && b != b'/' && b != 0));
        prop_assert_eq!(unescape(&name), Some(key));
    }
}

#[test]
fn two_that_write_the_same_key_leave_one_whole_value() {
    let state = tempfile::tempdir().unwrap();
    let values = [vec![b'a'; 100_000], vec![b'b'; 100_000]];
    std::thread::scope(|scope| {
        for value in &values {
            // Each opens the store itself, as two processes do.
            scope.spawn(|| {
                for _ in 0..20 {
                    let store = Store::open(state.path(), "default").unwrap();
                    store.set("key", value).unwrap();
                    let read = store.get("key").unwrap().unwrap();
                    assert!(values.contains(&read));
                }
            });
        }
    });
}

#[test]
fn leftovers_are_swept_and_strangers_are_no_keys() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::open(state.path(), "default").unwrap();
    store.set("a", b"1").unwrap();
    let folder = state.path().join("key_value/default");
    fs::write(folder.join("tmp/left"), b"x").unwrap();
    fs::write(folder.join("README"), b"x").unwrap();
    fs::write(folder.join("%zz.value"), b"x").unwrap();
    let store = Store::open(state.path(), "default").unwrap();
    assert_eq!(store.keys().unwrap(), ["a"]);
    assert!(!folder.join("tmp/left").exists());
    assert_eq!(fs::read(folder.join("a.value")).unwrap(), b"1");
}

#[test]
fn long_keys_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::open(state.path(), "default").unwrap();
    let longest = "k".repeat(LONGEST_NAME - ".value".len());
    store.set(&longest, b"1").unwrap();
    assert_eq!(store.get(&longest).unwrap().as_deref(), Some(&b"1"[..]));
    let error = store.set(&format!("{longest}k"), b"1").unwrap_err();
    assert!(
        matches!(error, StoreError::LongKey { length: 256 }),
        "{error}"
    );
}

#[test]
fn a_failing_disk_is_told_with_its_path() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::open(state.path(), "default").unwrap();
    let path = state.path().join("key_value/default/a.value");
    fs::create_dir(&path).unwrap();
    let error = store.get("a").unwrap_err().to_string();
    assert!(error.contains("cannot read"), "{error}");
    assert!(error.contains(path.to_str().unwrap()), "{error}");
}
