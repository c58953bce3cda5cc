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

/// The most bytes of the name or the tags of most lines.
const SHORT: usize = 64;

/// As many blanks.
const BLANKS: &str = "                                                                ";

/// The most bytes of a time with its blank and its line feed, and some more.
const LONGEST_TIME: usize = 16;

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

/// A text that many lines have in common. A copy whose length is not known when this is compiled is a
/// call, in wasm one to the host; so the text has blanks behind it, and is copied as an array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    padded: String,
    len: usize,
}

impl Part {
    /// A part with this text.
    pub fn new(text: String) -> Self {
        let (len, mut padded) = (text.len(), text);
        padded.push_str(BLANKS.get(len..).unwrap_or_default());
        Self { padded, len }
    }

    fn text(&self) -> &[u8] {
        self.padded.as_bytes().get(..self.len).unwrap_or_default()
    }

    fn into_text(mut self) -> String {
        self.padded.truncate(self.len);
        self.padded
    }

    /// Puts the text at the beginning of `to`, and something behind it; its length. None if it has
    /// more than `N` bytes, or `to` less.
    fn put<const N: usize>(&self, to: &mut [u8]) -> Option<usize> {
        let array = self.padded.as_bytes().first_chunk::<N>()?;
        *to.first_chunk_mut()? = *array;
        (self.len <= N).then_some(self.len)
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
    /// The tags and the blank before the number.
    tags: Part,
    /// The time and the line feed, if carbon can store it.
    time: Option<Part>,
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
        let mut tags = std::mem::take(&mut self.tags).into_text();
        tags.clear();
        // Writing into a String does not fail.
        let _ = write!(tags, ";testId={test};nodeId={node}");
        write_tag("stepNumber", step, &mut tags);
        write_tag("hopNumber", hop, &mut tags);
        tags.push(' ');
        self.tags = Part::new(tags);
        let is_stored = (1..=MAX_TIME).contains(&time);
        self.time = is_stored.then(|| Part::new(format!(" {time}\n")));
    }

    /// Adds a label to the row that was begun. Of a value that is too long, the end is cut off: two
    /// series stay apart, because their ids are tags, too. False if the value is blank: a tag without
    /// a value would be stored but never indexed.
    pub fn label(&mut self, label: Label, value: &str) -> bool {
        let value: String = value.trim().chars().take(MAX_TAG_CHARS).collect();
        let mut tags = std::mem::take(&mut self.tags).into_text();
        // The blank before the number.
        tags.pop();
        write_tag(label.as_str(), Some(&value), &mut tags);
        tags.push(' ');
        self.tags = Part::new(tags);
        !value.is_empty()
    }

    /// Appends one line, or nothing and says why not. `number` is a JSON number.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn write(
        &self,
        series: Option<&Part>,
        number: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let other;
        let number = match shortest(number) {
            Some(number) => number,
            None => {
                other = read(number)?;
                &other
            }
        };
        let time = self.time.as_ref().ok_or(EncodeError::TimeOutOfRange)?;
        let series = series.ok_or(EncodeError::NoMetricName)?;
        if self
            .write_short(series, number.as_bytes(), time, out)
            .is_some()
        {
            return Ok(());
        }
        let parts = [
            series.text(),
            self.tags.text(),
            number.as_bytes(),
            time.text(),
        ];
        if parts.map(<[u8]>::len).iter().sum::<usize>() > MAX_LINE {
            return Err(EncodeError::TooLong);
        }
        parts.iter().for_each(|part| out.extend_from_slice(part));
        Ok(())
    }

    /// Appends a line that is as short as most are; else none.
    fn write_short(
        &self,
        series: &Part,
        number: &[u8],
        time: &Part,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let mut line = [0; 2 * SHORT];
        let mut len = series.put::<SHORT>(&mut line)?;
        len += self.tags.put::<SHORT>(line.get_mut(len..)?)?;
        len += put_number(number, line.get_mut(len..)?)?;
        len += time.put::<LONGEST_TIME>(line.get_mut(len..)?)?;
        let end = out.len() + len;
        out.extend_from_slice(&line);
        out.truncate(end);
        Some(())
    }
}

/// Puts a number of up to 16 bytes at the beginning of `to`; its length. It is copied as two arrays
/// that overlap.
fn put_number(number: &[u8], to: &mut [u8]) -> Option<usize> {
    fn put<const N: usize>(number: &[u8], to: &mut [u8]) -> Option<()> {
        *to.first_chunk_mut::<N>()? = *number.first_chunk()?;
        *to.last_chunk_mut::<N>()? = *number.last_chunk()?;
        Some(())
    }
    let to = to.get_mut(..number.len())?;
    match number.len() {
        1 => put::<1>(number, to),
        2..4 => put::<2>(number, to),
        4..8 => put::<4>(number, to),
        8..=16 => put::<8>(number, to),
        _ => None,
    }?;
    Some(number.len())
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
#[cold]
fn read(number: &str) -> Result<String, EncodeError> {
    let value = number.parse::<f64>().unwrap_or(f64::NAN);
    let size = value.abs();
    if !size.is_finite() {
        return Err(EncodeError::NotFinite);
    }
    // Negative zero would read back the same, but only confuse.
    Ok(if size == 0.0 {
        "0".to_owned()
    } else if (1e-4..1e16).contains(&size) {
        format!("{value}")
    } else {
        format!("{value:e}")
    })
}

/// The part of a JSON number's own text that [`read`] would return for it, where that can be
/// told without reading the number: no two decimals of up to 15 digits are the same f64, so that
/// such a text, without the zeros at its end, is the shortest of its value.
fn shortest(number: &str) -> Option<&str> {
    const MOST_DIGITS: usize = 15;
    let (mut end, mut is_fraction) = (0, false);
    // One plain loop over bytes: this is done for each value.
    for (at, byte) in number.bytes().enumerate() {
        if byte.is_ascii_digit() {
            if byte != b'0' || !is_fraction {
                end = at + 1;
            }
        } else if byte == b'.' && end > 0 && !is_fraction {
            is_fraction = true;
        } else if byte != b'-' || at > 0 {
            // An exponent, or no number at all.
            return None;
        }
    }
    let unsigned = number.strip_prefix('-').unwrap_or(number);
    let digits = unsigned.len() - usize::from(is_fraction);
    if !(1..=MOST_DIGITS).contains(&digits) || is_fraction && unsigned.starts_with("0.0000") {
        return None;
    }
    match number.get(..end)? {
        "-0" => Some("0"),
        short => Some(short),
    }
}

#[cfg(test)]
mod tests;
