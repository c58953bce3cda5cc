//! Any bytes as lines: what is accepted is what carbon reads as three sound fields, written down
//! here a second time and independently, as Python sees a line.
#![no_main]

use std::collections::HashSet;
use std::io::Write as _;

use catchpoint_graphite_relay::lines::Checker;
use catchpoint_graphite_relay::lines::validate::{TimeBound, check_line};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_790_000_000;

/// What carbon, whisper and graphite-web do with an accepted line.
fn digest(line: &str) {
    assert!(line.len() <= 16_384);
    assert!(!line.chars().any(|c| c.is_control() && c != '\t'));
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [name, value, timestamp] = fields[..] else {
        panic!("{} fields", fields.len());
    };
    assert!(value.parse::<f64>().expect("a number").is_finite());
    let timestamp = timestamp.parse::<f64>().expect("a number");
    assert!((946_684_800.0..=4_294_967_296.0).contains(&timestamp));
    let mut parts = name.split(';');
    let plain = parts.next().expect("a name");
    assert!(!plain.is_empty() && !plain.starts_with('~'));
    assert!(!(name.contains('{') && name.ends_with("\"}")));
    let mut keys = HashSet::new();
    for tag in parts {
        let (key, value) = tag.split_once('=').expect("a tag with `=`");
        assert!(!key.is_empty() && !key.contains(['!', '^']) && key != "name");
        assert!(!value.is_empty() && !value.starts_with('~'));
        assert!(key.chars().count() <= 191 && value.chars().count() <= 191);
        assert!(keys.insert(key), "twice");
    }
    if keys.is_empty() {
        let nodes: Vec<&str> = plain.split('.').collect();
        assert!(
            nodes
                .iter()
                .all(|node| !node.is_empty() && node.len() <= 255)
        );
        assert!(!plain.contains('/') && nodes[0] != "_tagged");
        assert!(nodes.last().expect("a leaf").len() + 4 <= 255);
    } else {
        assert!(plain.chars().count() <= 191);
    }
}

fuzz_target!(|input: &[u8]| {
    let bound = TimeBound::new(NOW, None, 300);
    let body = [input, b"\n"].concat();
    let mut checker = Checker::new(bound, body.len());
    checker.write_all(&body).expect("it fits");
    let checked = checker.finish();
    let good = checked.good.concat();
    let mut kept = good.split_inclusive(|byte| *byte == b'\n');
    let mut refused = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").expect("ended");
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if check_line(line, bound).is_ok() {
            assert_eq!(kept.next(), Some([line, b"\n"].concat().as_slice()));
            digest(std::str::from_utf8(line).expect("UTF-8"));
        } else {
            refused += 1;
        }
    }
    assert_eq!(kept.next(), None);
    assert_eq!(checked.counts.rejected_total, refused);
});
