use proptest::prelude::*;

use super::*;

/// One value that is to be a line.
#[derive(Clone, Copy)]
struct Sample<'a> {
    metric: &'a str,
    step: Option<&'a str>,
    hop: Option<&'a str>,
    number: &'a str,
    time: i64,
}

const SAMPLE: Sample<'_> = Sample {
    metric: "DNS (ms)",
    step: None,
    hop: None,
    number: "835.0",
    time: 1_438_999_311,
};

fn line(sample: Sample<'_>) -> Result<String, EncodeError> {
    let mut row = RowEncoder::default();
    row.begin(81_093, 257, sample.step, sample.hop, sample.time);
    let series = series("system.cp.testdata", sample.metric);
    let mut out = String::from("kept\n");
    let written = row.write(series.as_deref(), sample.number, &mut out);
    let line = out.strip_prefix("kept\n").unwrap();
    assert_eq!(written.is_err(), line.is_empty());
    written.map(|()| line.to_owned())
}

#[track_caller]
fn check(sample: Sample<'_>, expect: &str) {
    let expect = format!("system.cp.testdata.{expect}\n");
    assert_eq!(line(sample), Ok(expect));
}

#[test]
fn names_equal_the_originals() {
    let name = |metric| Sample { metric, ..SAMPLE };
    let rest = ";testId=81093;nodeId=257 835 1438999311";
    check(SAMPLE, &format!("DNS(ms){rest}"));
    check(name("# Items (Total)"), &format!("#Items(Total){rest}"));
    check(name("% Availability"), &format!("%Availability{rest}"));
    check(
        name("Größe {a}[b]*?'\"/"),
        &format!("Größe{{a}}[b]*?'\"/{rest}"),
    );
}

#[test]
fn step_and_hop_are_tags() {
    let part = |step, hop| Sample {
        step,
        hop,
        ..SAMPLE
    };
    let check = |sample, tags: &str| {
        let series = format!("DNS(ms);testId=81093;nodeId=257{tags}");
        check(sample, &format!("{series} 835 1438999311"));
    };
    check(part(Some("2"), None), ";stepNumber=2");
    check(part(None, Some("7")), ";hopNumber=7");
    check(part(Some("2"), Some("7")), ";stepNumber=2;hopNumber=7");
    check(part(Some(" "), None), "");
    check(part(Some("~a;b\u{a0}c\n"), None), ";stepNumber=_a_b_c");
}

#[test]
fn values_are_short_and_exact() {
    for (number, text) in [
        ("0", "0"),
        ("-0", "0"),
        ("0.00", "0"),
        ("-0.0", "0"),
        ("835.0", "835"),
        ("100", "100"),
        ("-12.50", "-12.5"),
        ("1e2", "100"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-5"),
        ("9007199254740993", "9007199254740992"),
        ("1e16", "1e16"),
        ("10000000000000000", "1e16"),
        ("1.7976931348623157e308", "1.7976931348623157e308"),
    ] {
        let expect = format!("DNS(ms);testId=81093;nodeId=257 {text} 1438999311");
        check(Sample { number, ..SAMPLE }, &expect);
    }
}

#[test]
fn what_carbon_cannot_take_is_refused() {
    let long = "x".repeat(MAX_LINE);
    let metric = |metric| Sample { metric, ..SAMPLE };
    let number = |number| Sample { number, ..SAMPLE };
    let time = |time| Sample { time, ..SAMPLE };
    for (sample, why) in [
        (metric("  "), EncodeError::NoMetricName),
        (metric(&long), EncodeError::TooLong),
        (number("1e400"), EncodeError::NotFinite),
        (number("-1e400"), EncodeError::NotFinite),
        (number(""), EncodeError::NotFinite),
        (time(0), EncodeError::TimeOutOfRange),
        (time(MAX_TIME + 1), EncodeError::TimeOutOfRange),
    ] {
        assert_eq!(line(sample), Err(why));
    }
}

/// Numbers as JSON can have them.
fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        "-?0\\.0{0,6}[0-9]{1,17}",
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|v| v.to_string()),
        any::<f32>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|v| v.to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A number's own text is passed through only where it is what its value would be written as.
    #[test]
    fn a_number_is_written_as_its_value(number in numbers()) {
        let value: f64 = number.parse().unwrap();
        if let Some(text) = shortest(&number) {
            let mut expect = String::new();
            write_value(value, &mut expect);
            prop_assert_eq!(text, expect);
        }
    }

    #[test]
    fn a_line_has_three_fields_and_reads_back(
        metric in "\\PC{0,40}|[ ;~a\u{0}-\u{20}]{0,9}",
        step in proptest::option::of(".{0,9}"),
        hop in proptest::option::of(".{0,9}"),
        number in numbers(),
        time in any::<i64>(),
    ) {
        let (step, hop) = (step.as_deref(), hop.as_deref());
        let sample = Sample { metric: &metric, step, hop, number: &number, time };
        if let Ok(line) = line(sample) {
            let body = line.strip_suffix('\n').unwrap();
            prop_assert!(!body.contains('\n'));
            let fields: Vec<&str> = body.split_whitespace().collect();
            prop_assert_eq!(fields.len(), 3);
            prop_assert_eq!(fields[1].parse::<f64>().unwrap(), number.parse::<f64>().unwrap());
            prop_assert_eq!(fields[2].parse::<i64>().unwrap(), time);
            for tag in fields[0].split(';').skip(1) {
                let (name, value) = tag.split_once('=').unwrap();
                prop_assert!(!name.is_empty() && !value.is_empty() && !value.starts_with('~'));
            }
        }
    }
}
