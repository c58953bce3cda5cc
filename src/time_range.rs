//! Ranges of time: their arithmetic, and how people write them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

/// A range of time in epoch seconds; its end is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeRange {
    /// First second.
    pub from: i64,
    /// First second after it.
    pub to: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        from: i64::MIN,
        to: i64::MAX,
    };

    /// How many seconds it has; 0 if it ends before it begins.
    pub fn seconds(self) -> i64 {
        self.to.saturating_sub(self.from).max(0)
    }

    /// What it shares with another range, if they share a second.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let shared = Self {
            from: self.from.max(other.from),
            to: self.to.min(other.to),
        };
        (shared.from < shared.to).then_some(shared)
    }

    /// The shortest range that holds both.
    pub fn and(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
        }
    }

    /// What is left of it without another range: nothing, one part or two.
    pub fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let before = Self {
            from: self.from,
            to: self.to.min(other.from),
        };
        let after = Self {
            from: self.from.max(other.to),
            to: self.to,
        };
        let parts = if other.from < other.to {
            [before, after]
        } else {
            // An empty range takes nothing away.
            [self, Self { from: 0, to: 0 }]
        };
        parts.into_iter().filter(|part| part.from < part.to)
    }
}

/// Ranges of time that share no second, oldest first.
///
/// They are stored in few bytes, as `[from, length, distance to the next, length, …]`: a value of
/// the store may be no larger than 1 MB on some hosts, and runs leave a short gap between any two of
/// v1's windows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Vec<i64>")]
pub struct Ranges(Vec<TimeRange>);

/// Ranges as they are stored.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    /// As version 0.1 has them.
    Ranges(Vec<TimeRange>),
    Deltas(Vec<i64>),
}

impl Ranges {
    /// The ranges, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = TimeRange> + '_ {
        self.0.iter().copied()
    }

    /// How many seconds they have together.
    pub fn seconds(&self) -> i64 {
        self.iter().map(TimeRange::seconds).sum()
    }

    /// The parts of them that lie in a range.
    pub fn within(&self, range: TimeRange) -> impl Iterator<Item = TimeRange> + '_ {
        self.iter().filter_map(move |own| own.intersection(range))
    }

    /// Takes a range away. Returns how many seconds of it there were.
    pub fn remove(&mut self, range: TimeRange) -> i64 {
        let before = self.seconds();
        self.0 = self.iter().flat_map(|own| own.without(range)).collect();
        before - self.seconds()
    }

    /// Adds a range. It is not joined with its neighbours.
    pub fn add(&mut self, range: TimeRange) {
        self.remove(range);
        if range.from < range.to {
            self.0.push(range);
            self.0.sort_unstable();
        }
    }

    /// Takes away the shortest ranges until there are at most `most`. Returns their seconds.
    pub fn remove_shortest(&mut self, most: usize) -> i64 {
        let before = self.seconds();
        while self.0.len() > most {
            let shortest = self.iter().min_by_key(|range| range.seconds());
            self.0.retain(|range| Some(*range) != shortest);
        }
        before - self.seconds()
    }
}

impl From<Ranges> for Vec<i64> {
    fn from(ranges: Ranges) -> Self {
        let mut at = 0;
        let deltas = ranges.iter().flat_map(|range| {
            let distance = range.from - std::mem::replace(&mut at, range.to);
            [distance, range.seconds()]
        });
        deltas.collect()
    }
}

impl TryFrom<Stored> for Ranges {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let deltas = match stored {
            Stored::Ranges(ranges) => return Ok(Self(ranges)),
            Stored::Deltas(deltas) => deltas,
        };
        let mut at = 0i64;
        let ranges = deltas.chunks(2).map(|delta| {
            let [distance, length] = delta.try_into().ok()?;
            let from = at.checked_add(distance)?;
            at = from.checked_add(length)?;
            Some(TimeRange { from, to: at })
        });
        let ranges: Option<Vec<TimeRange>> = ranges.collect();
        ranges.map(Self).ok_or("ranges that do not come in pairs")
    }
}

/// A duration as a difference of epoch seconds.
pub fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// What to write.
const FORMS: &str = "write a time in UTC as 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z";

/// The range between two times, neither of which may be in the future.
///
/// # Errors
/// What is wrong with them, and what to write.
pub fn parse_range(
    from: Option<&str>,
    to: Option<&str>,
    now: DateTime<Utc>,
) -> Result<TimeRange, String> {
    let (first, end) = (time("from", from)?, time("to", to)?);
    if first >= end {
        return Err(format!(
            "`from` must be before `to`, but {} is not before {}",
            shown(first),
            shown(end)
        ));
    }
    if end > now {
        return Err(format!(
            "`to` is {}, which is in the future; the latest is now, {}",
            shown(end),
            shown(now)
        ));
    }
    Ok(TimeRange {
        from: first.timestamp(),
        to: end.timestamp(),
    })
}

fn time(name: &str, text: Option<&str>) -> Result<DateTime<Utc>, String> {
    let text = text.ok_or_else(|| format!("`{name}` is missing; {FORMS}"))?;
    parse(text.trim()).ok_or_else(|| format!("`{name}` is `{text}`, which is not a time; {FORMS}"))
}

/// A time; in UTC if it does not say otherwise.
fn parse(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let local = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%MZ"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let time = local.or_else(|| day().map(|day| day.and_time(NaiveTime::MIN)));
    time.map(|time| time.and_utc())
}

fn shown(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, to: &str, expect: &str) {
        let now = "2026-03-03T12:00:00Z".parse().unwrap();
        let found = match parse_range(Some(from), Some(to), now) {
            Ok(range) => format!("{}..{}", shown_second(range.from), shown_second(range.to)),
            Err(error) => error,
        };
        assert_eq!(found, expect);
    }

    fn shown_second(second: i64) -> String {
        shown(DateTime::from_timestamp(second, 0).unwrap())
    }

    #[test]
    fn times_are_utc_unless_they_say_otherwise() {
        let day = "2026-03-01T00:00:00Z..2026-03-02T00:00:00Z";
        check("2026-03-01", "2026-03-02", day);
        check("2026-03-01T00:00", "2026-03-02T00:00:00", day);
        check("2026-03-01T00:00Z", "2026-03-02T00:00:00Z", day);
        check("2026-03-01T01:00:00+01:00", " 2026-03-02 ", day);
    }

    #[test]
    fn ranges_intersect_and_subtract() {
        let range = |from, to| TimeRange { from, to };
        let ten = range(0, 10);
        for (other, shared, left) in [
            (
                range(2, 5),
                Some(range(2, 5)),
                vec![range(0, 2), range(5, 10)],
            ),
            (range(0, 10), Some(ten), vec![]),
            (range(-5, 3), Some(range(0, 3)), vec![range(3, 10)]),
            (range(9, 20), Some(range(9, 10)), vec![range(0, 9)]),
            (range(10, 20), None, vec![ten]),
            (range(4, 4), None, vec![ten]),
            (range(6, 4), None, vec![ten]),
        ] {
            assert_eq!(ten.intersection(other), shared, "{other:?}");
            assert_eq!(ten.without(other).collect::<Vec<_>>(), left, "{other:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_write() {
        check(
            "yesterday",
            "2026-03-02",
            "`from` is `yesterday`, which is not a time; write a time in UTC as 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z",
        );
        check(
            "2026-03-02",
            "2026-03-02",
            "`from` must be before `to`, but 2026-03-02T00:00:00Z is not before 2026-03-02T00:00:00Z",
        );
        check(
            "2026-03-02",
            "2026-03-04",
            "`to` is 2026-03-04T00:00:00Z, which is in the future; the latest is now, 2026-03-03T12:00:00Z",
        );
        let now = "2026-03-03T12:00:00Z".parse().unwrap();
        assert_eq!(
            parse_range(None, Some("2026-03-02"), now).unwrap_err(),
            "`from` is missing; write a time in UTC as 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z"
        );
    }
}
