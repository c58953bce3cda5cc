use super::*;
use crate::clock::CERTAINLY_PAST;
use proptest::prelude::*;

const NOW: u64 = 1_790_000_000;

fn check(line: impl AsRef<[u8]>, expect: Result<(), Reason>) {
    let line = line.as_ref();
    let shown = String::from_utf8_lossy(line);
    assert_eq!(check_line(line, NOW), expect, "{shown}");
    // The same line among good ones has the same verdict, whether the body is clean or not.
    for neighbour in ["good 1 1700000000", "gööd 1 1700000000"] {
        let mut body = [
            neighbour.as_bytes(),
            b"\n",
            line,
            b"\n",
            neighbour.as_bytes(),
            b"\n",
        ]
        .concat();
        let mut refused = Vec::new();
        let sifted = sift(&mut body, NOW, |r| refused.push((r.line, r.reason)));
        let expected: Vec<_> = expect.err().map(|reason| (2, reason)).into_iter().collect();
        assert_eq!(refused, expected, "{shown} beside {neighbour}");
        assert_eq!(sifted.accepted, 3 - expected.len() as u64);
    }
}

#[test]
fn lines_that_graphite_stores_well_are_accepted() {
    for name in [
        "a",
        "system.cp.testdata.DNS(ms);testId=81093;nodeId=11",
        "system.cp.testdata.#Items(Total);testId=1;nodeId=2;stepNumber=0",
        "%Availability",
        "a.{b}[c]*?'\"d/e/../f",
        "größe.温度;ort=Köln",
        "a;t=x=y",
        "a;t=x~y",
        "a;names=1",
        "tag@odd,chars;a:b=c",
        "a~;b~=c~",
        r#"a;b={"c":"d"}e"#,
        r#"a;b="c"}"#,
    ] {
        check(format!("{name} 1 1700000000"), Ok(()));
    }
    for value in [
        "0",
        "-0",
        "+1",
        "835",
        "0.1",
        "1.",
        ".5",
        "1e5",
        "1E-5",
        "2.5e+10",
        "-3.25",
        "1e308",
        "1e-400",
        "12345678901234567890",
    ] {
        check(format!("a {value} 1700000000"), Ok(()));
    }
    for timestamp in [
        "1700000000",
        "1700000000.0",
        "1700000000.9",
        "1700000000.",
        "946684800",
    ] {
        check(format!("a 1 {timestamp}"), Ok(()));
    }
    check("a\t1 \t 1700000000", Ok(()));
    check("  a 1 1700000000  ", Ok(()));
}

#[test]
fn lines_that_harm_carbon_or_vanish_in_it_are_refused() {
    use Reason::*;
    let chars = "ö".repeat(series::MAX_TAG_CHARS);
    let long_node = "n".repeat(256);
    let long_leaf = "n".repeat(252);
    let long_name = "node.".repeat(800);
    let many_tags: String = (0..=series::MAX_TAGS).map(|n| format!(";t{n}=1")).collect();
    for (name, reason) in [
        (";a=b", EmptyName),
        ("~;a=b", NameTilde),
        ("~a;b=c", NameTilde),
        ("~a", NameTilde),
        (r#"a;b={"c":"d"}"#, OpenMetricsName),
        (r#"a{b="c"}"#, OpenMetricsName),
        (r#"a.{b"}"#, OpenMetricsName),
        (&format!("{chars}n;a=b"), TagTooLong),
        (&format!("a;{chars}n=b"), TagTooLong),
        (&format!("a;b={chars}n"), TagTooLong),
        ("a;", TagWithoutEquals),
        ("a;b", TagWithoutEquals),
        ("a;b=c;", TagWithoutEquals),
        ("a;=c", EmptyTagName),
        ("a;b=", EmptyTagValue),
        ("a;b=~c", TagValueTilde),
        ("a;b!=c", TagNameCharacter),
        ("a;b^=c", TagNameCharacter),
        ("a;b=c;b=c", DuplicateTag),
        ("a;b=c;d=e;b=f", DuplicateTag),
        ("a;name=b", ReservedTag),
        (&format!("a{many_tags}"), TooManyTags),
        (&format!("a.{long_leaf}"), NodeTooLong),
        (&format!("{long_node}.a"), NodeTooLong),
        (&long_name, NameTooLong),
        ("a\u{a0}b", UnicodeBlank),
        ("a;b=c\u{2028}d", UnicodeBlank),
        ("a\u{b}b", ControlCharacter),
        ("a\0b", ControlCharacter),
        ("a\u{85}b", ControlCharacter),
        ("a\rb", ControlCharacter),
        ("a\u{7f}b", ControlCharacter),
    ] {
        check(format!("{name} 1 1700000000"), Err(reason));
    }
    for (value, reason) in [
        ("nan", ValueNotFinite),
        ("NaN", ValueNotFinite),
        ("inf", ValueNotFinite),
        ("-Infinity", ValueNotFinite),
        ("1e400", ValueNotFinite),
        (&"9".repeat(400), ValueNotFinite),
        ("None", ValueNotANumber),
        ("0x10", ValueNotANumber),
        ("1,5", ValueNotANumber),
        ("1_000", ValueNotANumber),
        ("--1", ValueNotANumber),
        ("1e", ValueNotANumber),
        (".", ValueNotANumber),
    ] {
        check(format!("a {value} 1700000000"), Err(reason));
    }
    for (timestamp, reason) in [
        ("nan", TimestampNotANumber),
        ("inf", TimestampNotANumber),
        ("N", TimestampNotANumber),
        ("1.7e9", TimestampNotANumber),
        ("17:00", TimestampNotANumber),
        (".5", TimestampNotANumber),
        ("0", TimestampTooOld),
        ("-1", TimestampTooOld),
        ("946684799", TimestampTooOld),
        ("1790043201", TimestampInFuture),
        ("4294967295", TimestampInFuture),
        ("4294967296", TimestampTooLarge),
        ("1700000000000", TimestampTooLarge),
        ("99999999999999999999999", TimestampTooLarge),
    ] {
        check(format!("a 1 {timestamp}"), Err(reason));
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
    check("a 1 1790043200", Ok(()));
    check(format!("a.{} 1 1700000000", "n".repeat(251)), Ok(()));
    check(format!("{}.a 1 1700000000", "n".repeat(255)), Ok(()));
    let tags: String = (0..series::MAX_TAGS).map(|n| format!(";t{n}=1")).collect();
    check(format!("a{tags} 1 1700000000"), Ok(()));
    let chars = "ö".repeat(series::MAX_TAG_CHARS);
    check(format!("{chars};{chars}={chars} 1 1700000000"), Ok(()));
}

#[test]
fn a_clock_that_is_certainly_wrong_costs_no_line() {
    for (now, expect) in [
        (0, Ok(())),
        (CERTAINLY_PAST - 1, Ok(())),
        (CERTAINLY_PAST, Err(Reason::TimestampInFuture)),
    ] {
        assert_eq!(check_line(b"a 1 1790000000", now), expect, "{now}");
    }
    let too_large = check_line(b"a 1 4294967296", 0);
    assert_eq!(too_large, Err(Reason::TimestampTooLarge));
}

fn check_sift(body: &str, lines: &str, refused: &[(u64, Reason)]) {
    let mut seen = Vec::new();
    let mut body = body.as_bytes().to_vec();
    let sifted = sift(&mut body, NOW, |r| seen.push((r.line, r.reason)));
    assert_eq!(String::from_utf8_lossy(&body[..sifted.bytes]), lines);
    assert_eq!(sifted.accepted, lines.lines().count() as u64);
    assert_eq!(seen, refused);
}

#[test]
fn good_lines_are_kept_in_order_and_ended_by_a_newline() {
    use Reason::*;
    check_sift("", "", &[]);
    check_sift("\n", "", &[(1, EmptyLine)]);
    check_sift("a 1 1700000000\n", "a 1 1700000000\n", &[]);
    check_sift("a 1 1700000000\nb 2 17", "a 1 1700000000\n", &[]);
    check_sift(
        "x\na 1 1700000000\n",
        "a 1 1700000000\n",
        &[(1, NotThreeFields)],
    );
    check_sift(
        "a 1 1700000000\r\nb nan 1700000000\nc 3 1700000000\r\n\r\nd 4 1700000000\n",
        "a 1 1700000000\nc 3 1700000000\nd 4 1700000000\n",
        &[(2, ValueNotFinite), (4, EmptyLine)],
    );
}

#[test]
fn names_of_reasons_are_unique_and_in_snake_case() {
    let names: std::collections::HashSet<_> = Reason::ALL.iter().map(|r| r.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    let snake = |name: &&str| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    assert!(names.iter().all(snake));
}

proptest! {
    /// What is kept is exactly the lines that pass one by one, whatever the bytes.
    #[test]
    fn sifting_equals_checking_each_line(
        lines in prop::collection::vec(
            prop_oneof![
                Just(b"a;b=c 1 1700000000".to_vec()),
                Just(b"a 1 1700000000\r".to_vec()),
                Just(b"a nan 1700000000".to_vec()),
                "[a-c;=!~.{}\" \t]{0,12} [0-9.e+-]{0,4} 17000000[0-9]{2}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..40),
            ],
            0..20,
        )
    ) {
        let mut body: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        let mut expected = Vec::new();
        let mut refused = 0;
        // A line of any bytes may hold newlines itself.
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if check_line(line, NOW).is_ok() {
                expected.extend_from_slice(line);
                expected.push(b'\n');
            } else {
                refused += 1;
            }
        }
        let mut seen = 0;
        let sifted = sift(&mut body, NOW, |_| seen += 1);
        prop_assert_eq!(&body[..sifted.bytes], expected);
        prop_assert_eq!(seen, refused);
    }
}
