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
}

impl Query {
    /// The name that calls are counted under.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LastRaw(_) => "lastraw",
            Self::Ranged(..) => "ranged",
            Self::Explorer(..) => "explorer",
        }
    }

    /// The tests it asks for.
    pub fn tests(&self) -> &[u64] {
        match self {
            Self::LastRaw(tests) | Self::Ranged(tests, _) | Self::Explorer(tests, _) => tests,
        }
    }

    /// The same question for other tests.
    pub fn with_tests(&self, tests: &[u64]) -> Self {
        let tests = tests.to_vec();
        match self {
            Self::LastRaw(_) => Self::LastRaw(tests),
            Self::Ranged(_, range) => Self::Ranged(tests, *range),
            Self::Explorer(_, range) => Self::Explorer(tests, *range),
        }
    }

    /// The time range it asks for, unless that is "the last 15 minutes".
    pub fn range(&self) -> Option<TimeRange> {
        match self {
            Self::LastRaw(_) => None,
            Self::Ranged(_, range) | Self::Explorer(_, range) => Some(*range),
        }
    }

    /// The same question for another time range; LastRaw has none.
    pub fn with_range(&self, range: TimeRange) -> Self {
        match self {
            Self::LastRaw(tests) => Self::LastRaw(tests.clone()),
            Self::Ranged(tests, _) => Self::Ranged(tests.clone(), range),
            Self::Explorer(tests, _) => Self::Explorer(tests.clone(), range),
        }
    }

    /// The time range that an answer, asked for at the second `asked`, holds all results of: as it
    /// says itself, else as it was asked.
    pub fn covered(&self, said: Option<TimeRange>, asked: i64) -> TimeRange {
        match (self, said) {
            // Never more than the API can know by then: it would move a cursor over what is to come,
            // or close gaps that it did not fill.
            (Self::LastRaw(_), Some(said)) => TimeRange {
                from: if said.from < asked - LONGEST_WINDOW {
                    asked - WINDOW
                } else {
                    said.from
                },
                to: said.to.min(asked),
            },
            // The window that the API documents, ending no later than the call was made.
            (Self::LastRaw(_), None) => TimeRange {
                from: asked - WINDOW,
                to: asked,
            },
            (Self::Ranged(_, span) | Self::Explorer(_, span), Some(said)) => TimeRange {
                from: span.from.max(said.from),
                to: span.to.min(said.to),
            },
            (Self::Ranged(_, span), None) => TimeRange {
                from: span.from,
                to: span.to.min(asked),
            },
            (Self::Explorer(_, span), None) => *span,
        }
    }

    /// Its address.
    pub fn url(&self, settings: &CatchpointSettings) -> String {
        let ids = |tests: &[u64]| {
            tests
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        let base = format!("{}://{}/v1", settings.protocol, settings.domain);
        match self {
            Self::LastRaw(tests) => format!("{base}/{}={}", settings.rawdata_endpoint, ids(tests)),
            Self::Ranged(tests, range) => {
                let endpoint = &settings.rawdata_endpoint;
                let time = |second| format_time(second, &settings.time_format);
                let (from, to) = (time(range.from), time(range.to));
                match tests.as_slice() {
                    [test] => {
                        let path = path_of(endpoint);
                        format!("{base}/{path}/{test}?startTime={from}&endTime={to}")
                    }
                    _ => format!(
                        "{base}/{endpoint}={}&startTime={from}&endTime={to}",
                        ids(tests)
                    ),
                }
            }
            Self::Explorer(tests, range) => {
                let time = |second| format_time(second, "%Y-%m-%dT%H:%M:%S");
                let endpoint = &settings.explorer_endpoint;
                let mark = if endpoint.contains('?') { '&' } else { '?' };
                let mut url = format!(
                    "{}/{endpoint}{mark}testIds={}&startTimeUtc={}&endTimeUtc={}",
                    settings.origin(),
                    ids(tests),
                    time(range.from),
                    time(range.to)
                );
                // Which dimensions it has by default is not documented, and without step and hop their
                // values would overwrite one another.
                if !settings.dimension_ids.is_empty() && !endpoint.contains("dimensionIds=") {
                    let ids: Vec<String> =
                        settings.dimension_ids.iter().map(u32::to_string).collect();
                    let _ = write!(url, "&dimensionIds={}", ids.join(","));
                }
                url
            }
        }
    }
}

/// An address without its query.
pub fn path_of(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// A time as part of a URL.
fn format_time(second: i64, format: &str) -> String {
    let time = DateTime::from_timestamp(second, 0).unwrap_or_default();
    let mut text = String::new();
    // The format was tried out when it was read; `to_string` would panic over one that is none.
    let _ = write!(text, "{}", time.format(format));
    // Of what a time format can bring in, only `:` needs no escape in a query.
    form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace("%3A", ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_believed_within_bounds() {
        let lastraw = Query::LastRaw(vec![7]);
        let check = |said: Option<(i64, i64)>, expect| {
            let span = |(from, to)| TimeRange { from, to };
            assert_eq!(lastraw.covered(said.map(span), 10_000), span(expect));
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
}
