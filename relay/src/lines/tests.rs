use std::io::Write as _;

use proptest::prelude::*;
use strum::VariantArray as _;

use super::validate::{MAX_TAG_CHARS, MAX_TAGS, check_line};
use super::*;
use crate::clock::CERTAINLY_PAST;

const NOW: u64 = 1_790_000_000;
const MAX_AHEAD: u64 = 300;

fn bound() -> TimeBound {
    TimeBound::new(NOW, Some(NOW), MAX_AHEAD)
}

/// Checks a body that comes in pieces of this size.
fn checked(body: &[u8], piece: usize) -> CheckedLines {
    let mut checker = Checker::new(bound(), body.len());
    for piece in body.chunks(piece) {
        checker.write_all(piece).unwrap();
    }
    checker.finish()
}

/// The refused lines by number, as an answer lists them.
fn listed(lines: &CheckedLines) -> Vec<(u64, Reason)> {
    let rejected = lines.counts.rejected.iter();
    rejected.map(|one| (one.line, one.reason)).collect()
}

fn check(line: impl AsRef<[u8]>, expect: Result<(), Reason>) {
    let line = line.as_ref();
    let shown = String::from_utf8_lossy(line);
    assert_eq!(check_line(line, bound()), expect, "{shown}");
    // The same line among good ones is treated the same, whether these are clean or not.
    for neighbour in ["good 1 1700000000", "gööd 1 1700000000"] {
        let neighbour = neighbour.as_bytes();
        let body = [neighbour, line, neighbour].join(&b'\n');
        let lines = checked(&body, 7);
        let expected: Vec<_> = expect.err().map(|reason| (2, reason)).into_iter().collect();
        assert_eq!(listed(&lines), expected, "{shown} between good lines");
        assert_eq!(lines.counts.accepted, 3 - expected.len() as u64);
    }
}

#[test]
fn lines_that_graphite_stores_well_are_accepted() {
    for name in [
        "a",
        "system.cp.testdata.DNS(ms);testId=81093;nodeId=11",
        "system.cp.testdata.#Items(Total);testId=1;nodeId=2;stepNumber=0",
        "%Availability",
        "a.{b}[c]*?'\"d",
        "größe.温度;ort=Köln",
        "a;t=x=y",
        // The file of a tagged series is named by a hash.
        "a..b/../c.;t=x",
        ".a;t=x/../y",
        "_tagged.a;t=x",
        "a;t=x~y",
        "a;names=1",
        "tag@odd,chars;a:b=c",
        "a~;b~=c~",
        r#"a;b={"c":"d"}e"#,
        r#"a;b="c"}"#,
    ] {
        check(format!("{name} 1 1700000000"), Ok(()));
    }
    for value in "0 -0 +1 835 0.1 1. .5 1e5 1E-5 2.5e+10 -3.25 1e308 1e-400 12345678901234567890"
        .split_whitespace()
    {
        check(format!("a {value} 1700000000"), Ok(()));
    }
    for timestamp in "1700000000 1700000000.0 1700000000.9 1700000000. 946684800".split_whitespace()
    {
        check(format!("a 1 {timestamp}"), Ok(()));
    }
    check("a\t1 \t 1700000000", Ok(()));
    check("  a 1 1700000000  ", Ok(()));
}

#[test]
fn lines_that_harm_carbon_or_vanish_in_it_are_refused() {
    use Reason::*;
    let chars = "ö".repeat(MAX_TAG_CHARS);
    let long_node = "n".repeat(256);
    let long_leaf = "n".repeat(252);
    let long_name = "node.".repeat(800) + "leaf";
    let many_tags: String = (0..=MAX_TAGS).map(|n| format!(";t{n}=1")).collect();
    let refused = |before: &str, words: &str, after: &str, reason: Reason| {
        for word in words.split(' ') {
            check(format!("{before}{word}{after}"), Err(reason));
        }
    };
    for (names, reason) in [
        (";a=b", EmptyName),
        ("~;a=b ~a;b=c ~a", NameTilde),
        (r#"a;b={"c":"d"} a{b="c"} a.{b"}"#, OpenMetricsName),
        (
            &format!("{chars}n;a=b a;{chars}n=b a;b={chars}n"),
            TagTooLong,
        ),
        ("a; a;b a;b=c;", TagWithoutEquals),
        ("a;=c", EmptyTagName),
        ("a;b=", EmptyTagValue),
        ("a;b=~c", TagValueTilde),
        ("a;b!=c a;b^=c", TagNameCharacter),
        ("a;b=c;b=c a;b=c;d=e;b=f", DuplicateTag),
        ("a;name=b", ReservedTag),
        (&format!("a{many_tags}"), TooManyTags),
        (&format!("a.{long_leaf} {long_node}.a"), NodeTooLong),
        (&long_name, NameTooLong),
        ("a\u{a0}b a;b=c\u{2028}d", UnicodeBlank),
        ("a\u{b}b a\0b a\u{85}b a\rb a\u{7f}b", ControlCharacter),
    ] {
        refused("", names, " 1 1700000000", reason);
    }
    let nines = "9".repeat(400);
    let infinite = format!("nan NaN inf -Infinity 1e400 {nines}");
    refused("a ", &infinite, " 1700000000", ValueNotFinite);
    let no_numbers = "None 0x10 1,5 1_000 --1 1e .";
    refused("a ", no_numbers, " 1700000000", ValueNotANumber);
    for (timestamps, reason) in [
        ("nan inf N 1.7e9 17:00 .5", TimestampNotANumber),
        ("0 -1 946684799", TimestampTooOld),
        ("1790000301 4294967295", TimestampInFuture),
        (
            "4294967296 1700000000000 99999999999999999999999",
            TimestampTooLarge,
        ),
    ] {
        refused("a 1 ", timestamps, "", reason);
    }
    check("", Err(EmptyLine));
    check(" \t ", Err(EmptyLine));
    check("a", Err(NotThreeFields));
    check("a 1", Err(NotThreeFields));
    check("a  1700000000", Err(NotThreeFields));
    check("a 1 1700000000 4", Err(NotThreeFields));
    check(b"a\xff 1 1700000000", Err(InvalidUtf8));
}

#[test]
fn the_limits_are_exact() {
    let padded = |bytes: usize| format!("a 1 {}1700000000", " ".repeat(bytes - 14));
    check(padded(MAX_LINE_BYTES), Ok(()));
    check(padded(MAX_LINE_BYTES + 1), Err(Reason::LineTooLong));
    check("a 1 1790000300", Ok(()));
    check(format!("a.{} 1 1700000000", "n".repeat(251)), Ok(()));
    check(format!("{}.a 1 1700000000", "n".repeat(255)), Ok(()));
    let tags: String = (0..MAX_TAGS).map(|n| format!(";t{n}=1")).collect();
    check(format!("a{tags} 1 1700000000"), Ok(()));
    let chars = "ö".repeat(MAX_TAG_CHARS);
    check(format!("{chars};{chars}={chars} 1 1700000000"), Ok(()));
}

#[test]
fn r10_r19_untagged_names_that_share_a_file_are_refused() {
    use Reason::*;
    for (names, reason) in [
        ("a..b .a.b .o o. o..b .", EmptyNode),
        ("a/b /o o/x ../../o", SlashInName),
        ("_tagged.abc.def.x", ReservedName),
    ] {
        for name in names.split(' ') {
            check(format!("{name} 1 1700000000"), Err(reason));
        }
    }
    check("_tagged2.a 1 1700000000", Ok(()));
}

#[test]
fn r07_r16_a_time_is_held_against_both_clocks() {
    const HOURS: u64 = 3600;
    let check = |ours: u64, senders: Option<u64>, time: u64, expect: Result<(), Reason>| {
        let bound = TimeBound::new(ours, senders, MAX_AHEAD);
        let line = format!("a 1 {time}");
        let shown = format!("{time} by {ours} and {senders:?}");
        assert_eq!(check_line(line.as_bytes(), bound), expect, "{shown}");
    };
    let too_far = Err(Reason::TimestampInFuture);
    let unclear = Err(Reason::ClocksDiffer);
    for senders in [Some(NOW), None] {
        check(NOW, senders, NOW + MAX_AHEAD, Ok(()));
        check(NOW, senders, NOW + MAX_AHEAD + 1, too_far);
        check(NOW, senders, NOW + 11 * HOURS, too_far);
    }
    // Our clock is 13 hours slow: what is new may come again when it is right.
    check(NOW - 13 * HOURS, Some(NOW), NOW, unclear);
    check(NOW - 13 * HOURS, Some(NOW), NOW - 14 * HOURS, Ok(()));
    check(NOW - 13 * HOURS, Some(NOW), NOW + HOURS, too_far);
    // It is two years fast, or the sender's clock is slow: nothing is lost.
    check(NOW + 17_520 * HOURS, Some(NOW), NOW, Ok(()));
    check(NOW + 17_520 * HOURS, Some(NOW), NOW + HOURS, unclear);
    // It is certainly wrong, and says nothing.
    check(CERTAINLY_PAST - 1, Some(NOW), NOW, Ok(()));
    check(CERTAINLY_PAST - 1, Some(NOW), NOW + HOURS, too_far);
    check(0, None, u64::from(u32::MAX), Ok(()));
    check(0, None, 1 << 32, Err(Reason::TimestampTooLarge));
}

fn check_body(body: &str, good: &str, refused: &[(u64, Reason)]) {
    for piece in [1, 5, 1000] {
        let lines = checked(body.as_bytes(), piece);
        assert_eq!(String::from_utf8_lossy(&lines.good.concat()), good);
        assert_eq!(lines.counts.accepted, good.lines().count() as u64);
        assert_eq!(listed(&lines), refused);
    }
}

#[test]
fn good_lines_are_kept_in_order_and_ended_by_a_newline() {
    use Reason::*;
    check_body("", "", &[]);
    check_body("\n", "", &[(1, EmptyLine)]);
    check_body("a 1 1700000000\n", "a 1 1700000000\n", &[]);
    check_body("a 1 1700000000", "a 1 1700000000\n", &[]);
    check_body(
        "x\na 1 1700000000\nb 2",
        "a 1 1700000000\n",
        &[(1, NotThreeFields), (3, NotThreeFields)],
    );
    check_body(
        "a 1 1700000000\r\nb nan 1700000000\nc 3 1700000000\r\n\r\nd 4 1700000000\n",
        "a 1 1700000000\nc 3 1700000000\nd 4 1700000000\n",
        &[(2, ValueNotFinite), (4, EmptyLine)],
    );
}

#[test]
fn a_line_longer_than_a_block_is_refused_once() {
    let long = "x".repeat(5 * BLOCK_BYTES);
    check_body(
        &format!("a 1 1700000000\n{long}\nb 2 1700000000\n{long}"),
        "a 1 1700000000\nb 2 1700000000\n",
        &[(2, Reason::LineTooLong), (4, Reason::LineTooLong)],
    );
}

#[test]
fn a_body_beyond_the_limit_is_not_taken() {
    let mut checker = Checker::new(bound(), 20);
    assert_eq!(checker.write(&[b'x'; 15]).unwrap(), 15);
    assert_eq!(checker.write(&[b'x'; 6]).unwrap(), 0);
    assert_eq!(checker.write(&[b'x'; 5]).unwrap(), 5);
    assert_eq!(checker.bytes(), 20);
}

/// The names are an interface: senders and alerts rely on them.
#[test]
fn names_of_reasons_are_stable() {
    let names: Vec<_> = Reason::VARIANTS.iter().map(Reason::to_string).collect();
    insta::assert_snapshot!(names.join(" "), @"empty_line line_too_long invalid_utf8 control_character unicode_blank not_three_fields empty_node slash_in_name reserved_name empty_name name_tilde open_metrics_name node_too_long name_too_long tag_without_equals empty_tag_name empty_tag_value tag_name_character tag_value_tilde tag_too_long duplicate_tag reserved_tag too_many_tags value_not_a_number value_not_finite timestamp_not_a_number timestamp_too_old timestamp_in_future clocks_differ timestamp_too_large");
    // Answers have the same ones.
    assert_eq!(
        serde_json::json!(Reason::VARIANTS),
        serde_json::json!(names)
    );
}

proptest! {
    /// What is kept is exactly the lines that pass one by one, whatever the bytes.
    #[test]
    fn a_body_equals_its_lines(
        lines in prop::collection::vec(
            prop_oneof![
                Just(b"a;b=c 1 1700000000".to_vec()),
                Just(b"a 1 1700000000\r".to_vec()),
                Just(b"a nan 1700000000".to_vec()),
                // The same tags again and again, good and bad.
                "[ab~]?;(b=c|b=c;d=e|b=c;b=d|b=|) 1 1700000000".prop_map(String::into_bytes),
                "[a-c;=!~.{}\" \t]{0,12} [0-9.e+-]{0,4} 17000000[0-9]{2}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..40),
            ],
            0..20,
        ),
        piece in 1_usize..100,
    ) {
        let body: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        let mut expected = Vec::new();
        let mut refused = 0;
        // A line of any bytes may hold newlines itself.
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if check_line(line, bound()).is_ok() {
                expected.extend_from_slice(line);
                expected.push(b'\n');
            } else {
                refused += 1;
            }
        }
        let lines = checked(&body, piece);
        prop_assert_eq!(lines.good.concat(), expected);
        prop_assert_eq!(lines.counts.rejected_total, refused);
    }
}
