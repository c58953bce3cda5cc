//! When the cron trigger fires: six fields, seconds first, in UTC, read by the same parser and with
//! the same options as in Spin's cron trigger (day of month *and* day of week must match).

use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;
use std::str::FromStr;
use thiserror::Error;

/// A parsed `cron_expression`.
#[derive(Debug, Clone)]
pub struct Schedule {
    expression: String,
    cron: Cron,
}

/// Why a `cron_expression` is not one.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// Not six fields; a five-field crontab line is the usual case.
    #[error(
        "`cron_expression` has {0} fields; write exactly six, seconds first: \
         `second minute hour day-of-month month day-of-week`, such as `0 */15 * * * *`, in UTC"
    )]
    Fields(usize),
    /// A date that no year has.
    #[error("`cron_expression` never fires: no year has such a day")]
    Never,
    /// A field that is out of range or not understood.
    #[error("`cron_expression` is wrong: {0}")]
    Invalid(String),
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(expression: &str) -> Result<Self, Self::Err> {
        let fields = expression.split_whitespace().count();
        if fields != 6 {
            return Err(ScheduleError::Fields(fields));
        }
        let cron = Cron::new(expression)
            .with_seconds_required()
            .with_dom_and_dow()
            .parse()
            .map_err(|error| {
                ScheduleError::Invalid(error.to_string().trim_end_matches('.').to_owned())
            })?;
        cron.find_next_occurrence(&Utc::now(), false)
            .map_err(|_| ScheduleError::Never)?;
        Ok(Self {
            expression: expression.to_owned(),
            cron,
        })
    }
}

impl Schedule {
    /// The expression as written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The first time after `time` at which the trigger fires; none when the calendar of the
    /// parser ends first.
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron.find_next_occurrence(&time, false).ok()
    }

    /// The shortest time between two firings in the day after `time`, or between the next two.
    pub fn shortest_interval(&self, time: DateTime<Utc>) -> Option<TimeDelta> {
        let mut before = self.next_after(time)?;
        let end = before + TimeDelta::days(1);
        let mut shortest = None;
        while let Some(next) = self.next_after(before) {
            let interval = next - before;
            shortest =
                Some(shortest.map_or(interval, |shortest: TimeDelta| shortest.min(interval)));
            before = next;
            if next >= end {
                break;
            }
        }
        shortest
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;
    use chrono::{DateTime, Utc};

    #[test]
    fn next_times() {
        let check = |expression: &str, after: &str, expect: [&str; 3]| {
            let schedule: Schedule = expression.parse().unwrap();
            let mut time: DateTime<Utc> = after.parse().unwrap();
            let times = expect.map(|_| {
                time = schedule.next_after(time).unwrap();
                time.format("%Y-%m-%dT%H:%M:%S").to_string()
            });
            assert_eq!(times, expect, "{expression}");
        };
        check(
            "0 */15 * * * *",
            "2024-02-28T23:40:00Z",
            [
                "2024-02-28T23:45:00",
                "2024-02-29T00:00:00",
                "2024-02-29T00:15:00",
            ],
        );
        check(
            "30 0 4 * * *",
            "2024-12-31T04:00:30.5Z",
            [
                "2025-01-01T04:00:30",
                "2025-01-02T04:00:30",
                "2025-01-03T04:00:30",
            ],
        );
        // Day of month and day of week both: Friday the 13th. Monday is 1.
        check(
            "0 0 0 13 * 5",
            "2024-01-01T00:00:00Z",
            [
                "2024-09-13T00:00:00",
                "2024-12-13T00:00:00",
                "2025-06-13T00:00:00",
            ],
        );
        check(
            "*/20 * * * * MON",
            "2024-07-01T23:59:30Z",
            [
                "2024-07-01T23:59:40",
                "2024-07-08T00:00:00",
                "2024-07-08T00:00:20",
            ],
        );
    }

    #[test]
    fn the_shortest_interval() {
        let time: DateTime<Utc> = "2024-02-28T23:40:00Z".parse().unwrap();
        for (expression, minutes) in [
            ("0 */15 * * * *", 15),
            ("0 7,22,37,52 * * * *", 15),
            ("0 0,10 * * * *", 10),
            ("0 0 4 * * *", 1440),
            ("0 */15 8-18 * * *", 15),
            ("0 0 0 1 * *", 31 * 1440),
        ] {
            let schedule: Schedule = expression.parse().unwrap();
            let interval = schedule.shortest_interval(time).unwrap();
            assert_eq!(interval.num_minutes(), minutes, "{expression}");
        }
    }

    #[test]
    fn refuses_what_spin_refuses() {
        let refused = |expression: &str| expression.parse::<Schedule>().unwrap_err().to_string();
        for (expression, fields) in [("*/15 * * * *", 5), ("@hourly", 1), ("0 0 0 1 1 * 2030", 7)] {
            let start = format!("`cron_expression` has {fields} fields; write exactly six");
            assert!(refused(expression).starts_with(&start), "{expression}");
        }
        insta::assert_snapshot!(refused("0 61 * * * *"), @"");
        insta::assert_snapshot!(refused("0 every 5 minutes please ok"), @"");
        insta::assert_snapshot!(refused("0 0 0 31 2 *"), @"`cron_expression` never fires: no year has such a day");
    }
}
