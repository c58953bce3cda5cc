//! A measured value as a line of Graphite's plaintext protocol: naming and escaping, nothing else.
//!
//! The series names of values that carbon can take are the original script's, byte for byte:
//!
//! ```text
//! system.cp.testdata.<Metric>;testId=<test>;nodeId=<node>[;stepNumber=<step>][;hopNumber=<hop>] <value> <time>
//! ```
//!
//! `<Metric>` is the metric's name without its spaces. What carbon would lose or misread (other
//! blanks, control characters, `;`, a tag value that begins with `~`) becomes `_`. The configuration may
//! ask for slugs in place of these names, and for labels: further tags that hold names.
//!
//! A line is made of four parts, because an answer repeats most of them: the name once for each
//! metric ([`series`]), tags and time once for each row ([`RowEncoder`]), and the number.

use std::fmt::Write;

use crate::config::graphite::Label;

/// The longest line that carbon takes, with its line feed: carbon closes the connection at 16,385
/// bytes (measured on carbon 1.1.10).
const MAX_LINE: usize = 16_384;

/// The most characters of a tag's value: the relay accepts no longer one, because graphite-web's tag
/// index has no more room.
const MAX_TAG_CHARS: usize = 191;

/// The last second that carbon can store.
const MAX_TIME: i64 = u32::MAX as i64;

/// Why a value cannot become a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EncodeError {
    /// The metric has no name, or one of spaces only.
    NoMetricName,
    /// The value is infinite or not a number.
    NotFinite,
    /// The time is not one that carbon stores: before 1970 or after 2106.
    TimeOutOfRange,
    /// The line would be longer than carbon takes.
    TooLong,
}

impl EncodeError {
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

/// The name of a metric's series, before the tags; none if the metric has no name.
pub fn series(prefix: &str, metric: &str) -> Option<String> {
    let mut name = format!("{prefix}.");
    let prefix = name.len();
    name.extend(metric.chars().filter(|c| *c != ' ').map(sanitize));
    (name.len() > prefix).then_some(name)
}

/// The same for all metrics of an answer, as slugs if `slugs`. Metrics whose slugs are empty or equal
/// keep their own names, because their series would be one.
pub fn all_series(prefix: &str, metrics: &[Option<String>], slugs: bool) -> Vec<Option<String>> {
    let slug_of = |metric: &Option<String>| metric.as_deref().map(slug).unwrap_or_default();
    let slugs: Vec<String> = match slugs {
        true => metrics.iter().map(slug_of).collect(),
        false => Vec::new(),
    };
    let is_unique = |slug: &&String| {
        let same = slugs.iter().filter(|other| other == slug);
        !slug.is_empty() && same.count() == 1
    };
    let name = |(at, metric): (usize, &Option<String>)| {
        let slug = slugs.get(at).filter(is_unique);
        series(prefix, slug.or(metric.as_ref())?)
    };
    metrics.iter().enumerate().map(name).collect()
}

/// A metric's name in lower-case ASCII letters, digits and `_`: `dns_ms` for `DNS (ms)`, and
/// `pct_availability`, `num_hosts` for `% Availability`, `# Hosts`.
pub fn slug(metric: &str) -> String {
    let metric = metric.replace('%', " pct ").replace('#', " num ");
    let metric = metric.to_ascii_lowercase();
    let words = metric.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("_")
}

/// What all lines of one row share: one test run on one node, of one step or hop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowEncoder {
    tags: String,
    time: Option<String>,
}

impl RowEncoder {
    /// Begins a row. Step and hop are texts because Catchpoint sends them so; `time` is in seconds
    /// since the epoch.
    pub fn begin(
        &mut self,
        test: u64,
        node: u64,
        step: Option<&str>,
        hop: Option<&str>,
        time: i64,
    ) {
        self.tags.clear();
        // Writing into a String does not fail.
        let _ = write!(self.tags, ";testId={test};nodeId={node}");
        write_tag("stepNumber", step, &mut self.tags);
        write_tag("hopNumber", hop, &mut self.tags);
        self.tags.push(' ');
        self.time = (1..=MAX_TIME).contains(&time).then(|| format!(" {time}\n"));
    }

    /// Adds a label to the row that was begun. Of a value that is too long, the end is cut off: two
    /// series stay apart, because their ids are tags, too. False if the value is blank: a tag without
    /// a value would be stored but never indexed.
    pub fn label(&mut self, label: Label, value: &str) -> bool {
        let value: String = value.trim().chars().take(MAX_TAG_CHARS).collect();
        // The blank before the number.
        self.tags.pop();
        write_tag(label.as_str(), Some(&value), &mut self.tags);
        self.tags.push(' ');
        !value.is_empty()
    }

    /// Appends one line, or nothing and says why not. `number` is a JSON number.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn write(
        &self,
        series: Option<&str>,
        number: &str,
        out: &mut String,
    ) -> Result<(), EncodeError> {
        let short = shortest(number);
        let value = match short {
            Some(_) => 0.0,
            None => number.parse::<f64>().unwrap_or(f64::NAN),
        };
        if !value.is_finite() {
            return Err(EncodeError::NotFinite);
        }
        let time = self.time.as_deref().ok_or(EncodeError::TimeOutOfRange)?;
        let series = series.ok_or(EncodeError::NoMetricName)?;
        let start = out.len();
        out.push_str(series);
        out.push_str(&self.tags);
        match short {
            Some(text) => out.push_str(text),
            None => write_value(value, out),
        }
        out.push_str(time);
        if out.len() - start > MAX_LINE {
            out.truncate(start);
            return Err(EncodeError::TooLong);
        }
        Ok(())
    }
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
    out.extend(rest.chars().map(sanitize));
}

/// The character itself if it can stand in a series name, else `_`.
fn sanitize(c: char) -> char {
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

/// The part of a JSON number's own text that [`write_value`] would write of it, where that can be
/// told without reading the number: no two decimals of up to 15 digits are the same f64, so that
/// such a text, without the zeros at its end, is the shortest of its value.
fn shortest(number: &str) -> Option<&str> {
    let unsigned = number.strip_prefix('-').unwrap_or(number);
    // Plain loops over bytes: this is done for each value.
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let bytes = unsigned.as_bytes();
    let whole = digits(bytes);
    let count = match bytes.get(whole..)? {
        [] => whole,
        [b'.', fraction @ ..] if digits(fraction) == fraction.len() => whole + fraction.len(),
        // An exponent, or no number at all.
        _ => return None,
    };
    if count > 15 || whole == 0 || bytes.starts_with(b"0.0000") {
        return None;
    }
    let short = match count == whole {
        true => unsigned,
        false => unsigned.trim_end_matches('0').trim_end_matches('.'),
    };
    match short {
        "0" => Some("0"),
        _ => number.get(..number.len() - unsigned.len() + short.len()),
    }
}

#[cfg(test)]
mod tests;
