//! What is asked of Catchpoint in one call, and its address.

use std::fmt::Write;

use chrono::DateTime;

use super::body::BodyError;
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
    /// v1: a span of one test.
    Ranged(u64, TimeRange),
    /// v2: a span of these tests.
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
            Self::LastRaw(tests) | Self::Explorer(tests, _) => tests,
            Self::Ranged(test, _) => std::slice::from_ref(test),
        }
    }

    /// The same question for other tests.
    pub fn with_tests(&self, tests: &[u64]) -> Self {
        match (self, tests) {
            (Self::LastRaw(_), _) => Self::LastRaw(tests.to_vec()),
            (Self::Ranged(_, span), [test, ..]) => Self::Ranged(*test, *span),
            (Self::Ranged(test, span), []) => Self::Ranged(*test, *span),
            (Self::Explorer(_, span), _) => Self::Explorer(tests.to_vec(), *span),
        }
    }

    /// The span that an answer, asked for at the second `asked`, holds all data of: by its own word,
    /// else by what was asked.
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
            (Self::Ranged(_, span), Some(said)) => TimeRange {
                from: span.from.max(said.from),
                to: span.to.min(said.to),
            },
            (Self::Ranged(_, span), None) => TimeRange {
                from: span.from,
                to: span.to.min(asked),
            },
            (Self::Explorer(_, span), _) => *span,
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
            Self::Ranged(test, span) => {
                let path = settings
                    .rawdata_endpoint
                    .split('?')
                    .next()
                    .unwrap_or_default();
                let time = |second| format_time(second, &settings.time_format);
                let (from, to) = (time(span.from), time(span.to));
                format!("{base}/{path}/{test}?startTime={from}&endTime={to}")
            }
            Self::Explorer(tests, span) => {
                let time = |second| format_time(second, "%Y-%m-%dT%H:%M:%S");
                format!(
                    "{}/{}?testIds={}&startTimeUtc={}&endTimeUtc={}",
                    settings.origin(),
                    settings.explorer_endpoint,
                    ids(tests),
                    time(span.from),
                    time(span.to)
                )
            }
        }
    }
}

/// The address of the page that an answer calls `next`. It must be at the same `origin` as the
/// `current` one, because the API key goes along.
///
/// # Errors
/// That it is not.
pub fn next_url(next: &str, current: &str, origin: &str) -> Result<String, BodyError> {
    if next
        .strip_prefix(origin)
        .is_some_and(|rest| rest.starts_with(['/', '?']))
    {
        return Ok(next.to_owned());
    }
    if next.contains("://") || next.starts_with("//") {
        return Err(BodyError::Shape(
            "its next page is on another host".to_owned(),
        ));
    }
    if next.starts_with('/') {
        return Ok(format!("{origin}{next}"));
    }
    let path = current.split('?').next().unwrap_or_default();
    Ok(format!("{path}?{}", next.trim_start_matches('?')))
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
