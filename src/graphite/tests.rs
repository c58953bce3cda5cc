use proptest::prelude::*;

use super::*;

/// One value that is to be a line.
#[derive(Clone, Copy)]
struct Sample<'a> {
    metric: &'a str,
    step: Option<&'a str>,
    hop: Option<&'a str>,
    label: &'a str,
    number: &'a str,
    time: i64,
}

const SAMPLE: Sample<'_> = Sample {
    metric: "DNS (ms)",
    step: None,
    hop: None,
    label: "",
    number: "835.0",
    time: 1_438_999_311,
};

fn line(sample: Sample<'_>) -> Result<String, EncodeError> {
    let mut row = RowEncoder::default();
    row.begin(81_093, 257, sample.step, sample.hop, sample.time);
    row.label(Label::TestName, sample.label);
    let series = series("system.cp.testdata", sample.metric).map(Part::new);
    let mut out = b"kept\n".to_vec();
    let written = row.write(series.as_ref(), sample.number, &mut out);
    let out = String::from_utf8(out).unwrap();
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
fn a_label_is_cut_at_a_character() {
    let mut row = RowEncoder::default();
    row.begin(1, 2, None, None, 3);
    assert!(row.label(Label::NodeName, &"ä".repeat(300)));
    assert!(row.label(Label::TestName, " ~a;b\u{2028}c=d "));
    assert!(!row.label(Label::StepName, " \n"));
    let mut line = Vec::new();
    row.write(Some(&Part::new("s".to_owned())), "4", &mut line)
        .unwrap();
    let node = "ä".repeat(191);
    let expect = format!("s;testId=1;nodeId=2;nodeName={node};testName=_a_b_c=d 4 3\n");
    assert_eq!(String::from_utf8(line).unwrap(), expect);
}

/// Short lines are made in another way than long ones.
#[test]
fn lines_of_any_length_are_whole() {
    for metric in [1, 44, 45, 46, 60, 300].map(|len| "m".repeat(len)) {
        for label in [0, 1, 17, 18, 19, 60, 150].map(|len| "l".repeat(len)) {
            for number in [
                "1",
                "-1",
                "0.5",
                "1234",
                "1234567.5",
                "-1234567890.12345",
                "1e300",
            ] {
                let sample = Sample {
                    metric: &metric,
                    label: &label,
                    number,
                    ..SAMPLE
                };
                let tag = match label.as_str() {
                    "" => String::new(),
                    label => format!(";testName={label}"),
                };
                let series = format!("{metric};testId=81093;nodeId=257{tag}");
                check(sample, &format!("{series} {number} 1438999311"));
            }
        }
    }
}

/// The names that are known, of tests of all types.
const METRICS: &str = "DNS (ms), Connect (ms), SSL (ms), Send (ms), Wait (ms), Time To First Byte (ms), Load (ms), \
    Response (ms), Redirect (ms), Server Response (ms), File Size, Downloaded Bytes, Total Downloaded Bytes, \
    Throughput, DOM Load (ms), Content Load (ms), Document Complete (ms), Webpage Response (ms), Speed Index, \
    Wire Time (ms), Client Time (ms), Render Start (ms), Time to Title (ms), Webpage Throughput, # Connections, \
    # Hosts, # Zones, # Items (Total), # Redirect, # Html, Html Bytes, # Image, Image Bytes, # Script, \
    Script Bytes, # Css, Css Bytes, # Flash, Flash Bytes, # Xml, Xml Bytes, # Media, Media Bytes, # Font, \
    Font Bytes, # Other, Other Bytes, % Ping Packet Loss, Ping Round Trip (ms), % Availability, \
    % Content Availability, Apdex, % Satisfied, % Tolerating, % Frustrated, % Not Frustrated, # Runs, \
    Page Speed Score, # JS Errors per Page, # Content Load Errors, # Tests with JS Errors, # DNS Failures, \
    # Connection Failures, # SSL Failures, # Response Failures, # Timeout Failures, # Test Errors, \
    % Self Bottleneck, % Third Party Bottleneck, Self Downloaded Bytes, First Paint, First Contentful Paint, \
    Time To Interactive, Visually Complete (ms), Frames Per Second, % Downtime, % Adjusted Availability, \
    # Purged Runs, Test Time (ms), Signal Quality, Signal Strength (dBm), Jitter (ms), Hops, ASNs, Cities, \
    Countries, # Sends, # Receives, Send Data Bytes, Receive Data Bytes, Helo Time (ms), Logout, List, Search, \
    Fetch, PositiveOffset, NegativeOffset, RoundTripDelay, HandshakeTime, ExpirationTime";

#[test]
fn slugs_of_known_metrics_do_not_collide() {
    let mut slugs: Vec<String> = METRICS.split(", ").map(slug).collect();
    for slug in &slugs {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(slug.chars().all(is_allowed) && !slug.is_empty(), "{slug}");
    }
    for known in ["dns_ms", "pct_availability", "num_hosts", "num_items_total"] {
        assert!(slugs.iter().any(|slug| slug == known), "{known}");
    }
    let count = slugs.len();
    slugs.sort_unstable();
    slugs.dedup();
    assert_eq!((count, slugs.len()), (100, 100));
}

#[test]
fn metrics_whose_slugs_are_the_same_keep_their_names() {
    let metrics = ["A (b)", "a b", "C d", "Größe", "中文", " "].map(|name| Some(name.to_owned()));
    let metrics = [metrics.as_slice(), &[None]].concat();
    let names = |slugs| {
        let names = all_series("p", &metrics, slugs).into_iter();
        names.map(Option::unwrap_or_default).collect::<Vec<_>>()
    };
    let slugs = ["p.A(b)", "p.ab", "p.c_d", "p.gr_e", "p.中文", "", ""];
    assert_eq!(names(true), slugs);
    assert_eq!(names(false)[2..4], ["p.Cd", "p.Größe"]);
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
        if let Some(text) = shortest(&number) {
            prop_assert_eq!(text, read(&number).unwrap());
        }
    }

    #[test]
    fn a_line_has_three_fields_and_reads_back(
        metric in "\\PC{0,40}|[ ;~a\u{0}-\u{20}]{0,9}",
        step in proptest::option::of(".{0,9}"),
        hop in proptest::option::of(".{0,9}"),
        number in numbers(),
        time in any::<i64>(),
        label in ".{0,9}|[ ;~a\u{0}-\u{20}]{0,9}",
    ) {
        let (step, hop) = (step.as_deref(), hop.as_deref());
        let sample = Sample { metric: &metric, step, hop, label: &label, number: &number, time };
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
