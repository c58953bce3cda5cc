//! A sample as a line of Graphite's plaintext protocol: naming and escaping, nothing else.
//!
//! The series names of samples that carbon can take are the original script's, byte for byte:
//!
//! ```text
//! system.cp.testdata.<Metric>;testId=<test>;nodeId=<node>[;stepNumber=<step>][;hopNumber=<hop>] <value> <time>
//! ```
//!
//! `<Metric>` is the metric's name without its spaces. What carbon would lose or choke on (other
//! blanks, control characters, `;`, a tag value beginning with `~`) becomes `_`.

use std::fmt::Write;

use crate::sample::Sample;

/// The longest line that carbon takes, with its line feed: carbon closes the connection at 16,385
/// bytes (measured on carbon 1.1.10).
const MAX_LINE: usize = 16_384;

/// The last second that carbon can store.
const MAX_TIME: i64 = u32::MAX as i64;

/// Why a sample cannot become a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// The metric has no name, or one of spaces only.
    NoMetricName,
    /// The value is infinite or not a number.
    NotFinite,
    /// The time is not one that carbon stores: before 1970 or after 2106.
    TimeOutOfRange,
    /// The line would be longer than carbon takes.
    TooLong,
}

impl Unfit {
    /// The name that the run report counts it under.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoMetricName => "no_metric_name",
            Self::NotFinite => "not_finite",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::TooLong => "too_long",
        }
    }
}

/// Appends the line of a sample, or nothing and says why not.
///
/// # Errors
/// See [`Unfit`].
pub fn write_line(prefix: &str, sample: &Sample<'_>, out: &mut String) -> Result<(), Unfit> {
    let start = out.len();
    let written = write_fields(prefix, sample, out);
    let result = match written {
        Ok(()) if out.len() - start > MAX_LINE => Err(Unfit::TooLong),
        other => other,
    };
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn write_fields(prefix: &str, sample: &Sample<'_>, out: &mut String) -> Result<(), Unfit> {
    if !sample.value.is_finite() {
        return Err(Unfit::NotFinite);
    }
    if !(1..=MAX_TIME).contains(&sample.time) {
        return Err(Unfit::TimeOutOfRange);
    }
    out.push_str(prefix);
    out.push('.');
    let name = out.len();
    out.extend(sample.metric.chars().filter(|c| *c != ' ').map(sound));
    if out.len() == name {
        return Err(Unfit::NoMetricName);
    }
    // Writing into a String does not fail.
    let _ = write!(out, ";testId={};nodeId={}", sample.test, sample.node);
    write_tag("stepNumber", sample.step, out);
    write_tag("hopNumber", sample.hop, out);
    out.push(' ');
    write_value(sample.value, out);
    let _ = writeln!(out, " {}", sample.time);
    Ok(())
}

/// A tag without a value would be stored but never indexed, so it is left out.
fn write_tag(name: &str, value: Option<&str>, out: &mut String) {
    let value = value.unwrap_or_default().trim();
    if value.is_empty() {
        return;
    }
    out.push(';');
    out.push_str(name);
    out.push('=');
    let rest = match value.strip_prefix('~') {
        Some(rest) => {
            out.push('_');
            rest
        }
        None => value,
    };
    out.extend(rest.chars().map(sound));
}

/// The character itself if it can stand in a series name.
fn sound(c: char) -> char {
    if c == ';' || c.is_whitespace() || c.is_control() {
        '_'
    } else {
        c
    }
}

/// The shortest form that reads back to the same value, without the `.0` of whole numbers; very
/// large and very small ones with an exponent, from the same bounds on as in the original.
fn write_value(value: f64, out: &mut String) {
    let size = value.abs();
    // Negative zero would read back the same, but only confuse.
    let _ = if size == 0.0 {
        write!(out, "0")
    } else if (1e-4..1e16).contains(&size) {
        write!(out, "{value}")
    } else {
        write!(out, "{value:e}")
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: Sample<'_> = Sample {
        metric: "DNS (ms)",
        test: 81_093,
        node: 257,
        step: None,
        hop: None,
        value: 835.0,
        time: 1_438_999_311,
    };

    fn line(sample: Sample<'_>) -> Result<String, Unfit> {
        let mut out = String::from("kept\n");
        write_line("system.cp.testdata", &sample, &mut out)?;
        Ok(out.strip_prefix("kept\n").unwrap().to_owned())
    }

    #[track_caller]
    fn check(sample: Sample<'_>, expect: &str) {
        assert_eq!(
            line(sample).unwrap(),
            format!("system.cp.testdata.{expect}\n")
        );
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
        let start = "DNS(ms);testId=81093;nodeId=257";
        let end = "835 1438999311";
        check(
            Sample {
                step: Some("2"),
                ..SAMPLE
            },
            &format!("{start};stepNumber=2 {end}"),
        );
        check(
            Sample {
                hop: Some("7"),
                ..SAMPLE
            },
            &format!("{start};hopNumber=7 {end}"),
        );
        let both = Sample {
            step: Some("2"),
            hop: Some("7"),
            ..SAMPLE
        };
        check(both, &format!("{start};stepNumber=2;hopNumber=7 {end}"));
        check(
            Sample {
                step: Some(" "),
                ..SAMPLE
            },
            &format!("{start} {end}"),
        );
        let bad = Sample {
            step: Some("~a;b\u{a0}c\n"),
            ..SAMPLE
        };
        check(bad, &format!("{start};stepNumber=_a_b_c {end}"));
    }

    #[test]
    fn values_are_short_and_exact() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (835.0, "835"),
            (-12.5, "-12.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.00001, "1e-5"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e16, "1e16"),
            (f64::MAX, "1.7976931348623157e308"),
        ] {
            check(
                Sample { value, ..SAMPLE },
                &format!("DNS(ms);testId=81093;nodeId=257 {text} 1438999311"),
            );
        }
    }

    #[test]
    fn what_carbon_cannot_take_is_refused() {
        let long = "x".repeat(MAX_LINE);
        for (sample, why) in [
            (
                Sample {
                    metric: "  ",
                    ..SAMPLE
                },
                Unfit::NoMetricName,
            ),
            (
                Sample {
                    value: f64::NAN,
                    ..SAMPLE
                },
                Unfit::NotFinite,
            ),
            (
                Sample {
                    value: f64::INFINITY,
                    ..SAMPLE
                },
                Unfit::NotFinite,
            ),
            (Sample { time: 0, ..SAMPLE }, Unfit::TimeOutOfRange),
            (
                Sample {
                    time: MAX_TIME + 1,
                    ..SAMPLE
                },
                Unfit::TimeOutOfRange,
            ),
            (
                Sample {
                    metric: &long,
                    ..SAMPLE
                },
                Unfit::TooLong,
            ),
        ] {
            assert_eq!(line(sample), Err(why));
        }
    }

    proptest! {
        #[test]
        fn a_line_has_three_sound_fields_and_reads_back(
            metric in "\\PC{0,40}|[ ;~a\u{0}-\u{20}]{0,9}",
            step in proptest::option::of(".{0,9}"),
            hop in proptest::option::of(".{0,9}"),
            value in any::<f64>(),
            time in any::<i64>(),
        ) {
            let sample = Sample { metric: &metric, step: step.as_deref(), hop: hop.as_deref(), value, time, ..SAMPLE };
            if let Ok(line) = line(sample) {
                let body = line.strip_suffix('\n').unwrap();
                prop_assert!(!body.contains('\n'));
                let fields: Vec<&str> = body.split_whitespace().collect();
                prop_assert_eq!(fields.len(), 3);
                prop_assert_eq!(fields[1].parse::<f64>().unwrap(), value);
                prop_assert_eq!(fields[2].parse::<i64>().unwrap(), time);
                for tag in fields[0].split(';').skip(1) {
                    let (name, value) = tag.split_once('=').unwrap();
                    prop_assert!(!name.is_empty() && !value.is_empty() && !value.starts_with('~'));
                }
            }
        }
    }
}
