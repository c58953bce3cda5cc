//! What is asked of Catchpoint in one call, and its address.

use std::fmt::Write;

use chrono::DateTime;

use crate::config::catchpoint::CatchpointSettings;
use crate::time_range::TimeRange;

/// The length of LastRaw's window, in seconds.
pub const WINDOW: i64 = 15 * 60;

/// A LastRaw window that began longer ago than this, in seconds, is a mistake.
const LONGEST_WINDOW: i64 = 3600;

/// One question to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// v1: the last 15 minutes of these tests.
    LastRaw(Vec<u64>),
    /// v1: a past time range of these tests. The address for one test is seen in many clients, the
    /// one for several tests in a single one.
    Ranged(Vec<u64>, TimeRange),
    /// v2 and later: a past time range of these tests.
    Explorer(Vec<u64>, TimeRange),
    /// v2 and later: which tests there are, as far as this part of the query lets them through.
    Tests(String),
}

impl Query {
    /// The name that calls are counted under.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LastRaw(_) => "lastraw",
            Self::Ranged(..) => "ranged",
            Self::Explorer(..) => "explorer",
            Self::Tests(_) => "tests",
        }
    }

    /// The tests it asks for.
    pub fn tests(&self) -> &[u64] {
        match self {
            Self::LastRaw(tests) | Self::Ranged(tests, _) | Self::Explorer(tests, _) => tests,
            Self::Tests(_) => &[],
        }
    }

    /// The same question for other tests.
    pub fn with_tests(&self, tests: &[u64]) -> Self {
        let tests = tests.to_vec();
        match self {
            Self::LastRaw(_) => Self::LastRaw(tests),
            Self::Ranged(_, range) => Self::Ranged(tests, *range),
            Self::Explorer(_, range) => Self::Explorer(tests, *range),
            Self::Tests(_) => self.clone(),
        }
    }

    /// The time range it asks for, unless that is "the last 15 minutes".
    pub fn range(&self) -> Option<TimeRange> {
        match self {
            Self::LastRaw(_) | Self::Tests(_) => None,
            Self::Ranged(_, range) | Self::Explorer(_, range) => Some(*range),
        }
    }

    /// The same question for another time range, if it has one.
    pub fn with_range(&self, range: TimeRange) -> Self {
        match self {
            Self::LastRaw(_) | Self::Tests(_) => self.clone(),
            Self::Ranged(tests, _) => Self::Ranged(tests.clone(), range),
            Self::Explorer(tests, _) => Self::Explorer(tests.clone(), range),
        }
    }

    /// The time range that an answer, asked for at the second `asked`, holds all results of: as it
    /// says itself, else as it was asked. `rows` is from its first result to its last.
    pub fn covered(
        &self,
        said: Option<TimeRange>,
        rows: Option<TimeRange>,
        asked: i64,
    ) -> TimeRange {
        match self {
            // Never more than the API can know by then: it would move a cursor over what is to come,
            // or close gaps that it did not fill.
            Self::LastRaw(_) | Self::Tests(_) => {
                let window = TimeRange {
                    from: asked - WINDOW,
                    to: asked,
                };
                let said = said.unwrap_or(window);
                let begins_long_ago = said.from < asked - LONGEST_WINDOW;
                let from = if begins_long_ago { window } else { said }.from;
                let to = said.to.min(asked);
                TimeRange { from, to }
            }
            Self::Ranged(_, span) | Self::Explorer(_, span) => {
                // Whether an API states the range that it has looked at, or where its results are, is
                // not documented. One that ends with a result on both sides says nothing of the time
                // beyond, unless an end of it is one that was asked for: then the rest was left out.
                let is_of_rows = |said: &TimeRange| {
                    let ends = TimeRange {
                        to: said.to.saturating_add(1),
                        ..*said
                    };
                    let is_asked = said.from == span.from || said.to == span.to;
                    said.from == said.to || (Some(ends) == rows && !is_asked)
                };
                let said = said.filter(|said| !is_of_rows(said));
                let said = said.unwrap_or(TimeRange { to: asked, ..*span });
                TimeRange {
                    from: span.from.max(said.from),
                    to: span.to.min(said.to),
                }
            }
        }
    }

    /// Its address.
    pub fn url(&self, settings: &CatchpointSettings) -> String {
        let (protocol, domain) = (&settings.protocol, &settings.domain);
        let v1 = format!("{protocol}://{domain}/v1/{}", settings.rawdata_endpoint);
        let ids = list(self.tests());
        match self {
            Self::LastRaw(_) => format!("{v1}={ids}"),
            Self::Ranged(tests, range) => {
                let [from, to] = times(*range, &settings.time_format);
                let tests = match tests.as_slice() {
                    [test] => format!("{}/{test}?", path_of(&v1)),
                    _ => format!("{v1}={ids}&"),
                };
                format!("{tests}startTime={from}&endTime={to}")
            }
            Self::Explorer(_, range) => {
                let [from, to] = times(*range, "%Y-%m-%dT%H:%M:%S");
                let origin = settings.origin();
                let endpoint = &settings.explorer_endpoint;
                let mark = if endpoint.contains('?') { '&' } else { '?' };
                let mut url = format!(
                    "{origin}/{endpoint}{mark}testIds={ids}&startTimeUtc={from}&endTimeUtc={to}"
                );
                // Which dimensions it has by default is not documented, and without step and hop their
                // values would overwrite one another.
                if !settings.dimension_ids.is_empty() && !endpoint.contains("dimensionIds=") {
                    url += &format!("&dimensionIds={}", list(&settings.dimension_ids));
                }
                url
            }
            Self::Tests(filter) => {
                let (origin, endpoint) = (settings.origin(), &settings.explorer_endpoint);
                let path = path_of(endpoint).split("/explorer/").next();
                let path = path.unwrap_or_default();
                format!("{origin}/{path}?pageSize=100{filter}")
            }
        }
    }
}

/// Numbers with commas between them.
fn list(numbers: &[impl ToString]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    numbers.join(",")
}

/// An address without its query.
pub fn path_of(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// The two ends of a range as parts of a URL.
fn times(range: TimeRange, format: &str) -> [String; 2] {
    [range.from, range.to].map(|second| {
        let time = DateTime::from_timestamp(second, 0).unwrap_or_default();
        let mut text = String::new();
        // The format was tried out when it was read; `to_string` would panic over one that is none.
        let _ = write!(text, "{}", time.format(format));
        // Of what a time format can bring in, only `:` needs no escape in a query.
        let escaped: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        escaped.replace("%3A", ":")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_believed_within_bounds() {
        let lastraw = Query::LastRaw(vec![7]);
        let check = |said: Option<(i64, i64)>, expect| {
            let span = |(from, to)| TimeRange { from, to };
            assert_eq!(lastraw.covered(said.map(span), None, 10_000), span(expect));
        };
        check(None, (9_100, 10_000));
        check(Some((9_100, 10_000)), (9_100, 10_000));
        check(Some((8_200, 9_990)), (8_200, 9_990));
        // Into the future, and from the beginning of time.
        check(Some((9_100, 99_000)), (9_100, 10_000));
        check(Some((0, 10_000)), (9_100, 10_000));
        // Of another day: nothing is covered.
        check(Some((1_000, 1_900)), (9_100, 1_900));
        check(Some((20_000, 20_900)), (20_000, 10_000));
    }

    /// An answer may state the range that it has looked at, or where its results are.
    #[test]
    fn c02_a_stated_range_is_believed_unless_it_is_only_that_of_the_rows() {
        let span = |(from, to)| TimeRange { from, to };
        let (asked, later) = (span((1_000, 5_000)), 6_000);
        let explorer = Query::Explorer(vec![7], asked);
        let check = |said: (i64, i64), rows: Option<(i64, i64)>, expect| {
            let covered = explorer.covered(Some(span(said)), rows.map(span), later);
            assert_eq!(covered, span(expect), "{said:?} {rows:?}");
        };
        let all = (1_000, 5_000);
        assert_eq!(explorer.covered(None, None, later), asked);
        check(all, None, all);
        check((0, 9_000), Some((2_000, 3_001)), all);
        // What it has looked at is less.
        check((2_000, 3_000), None, (2_000, 3_000));
        check((2_000, 3_000), Some((2_000, 2_991)), (2_000, 3_000));
        check((2_000, 3_000), Some((2_010, 3_001)), (2_000, 3_000));
        check((1_000, 3_000), Some((1_000, 3_001)), (1_000, 3_000));
        check((4_000, 5_000), Some((4_000, 5_001)), (4_000, 5_000));
        // Of the rows alone.
        check((2_000, 3_000), Some((2_000, 3_001)), all);
        check((2_000, 2_000), Some((2_000, 2_001)), all);
        check((2_000, 2_000), None, all);
        // Another time: nothing is covered.
        check((7_000, 8_000), None, (7_000, 5_000));
    }
}
