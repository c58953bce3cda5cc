//! When a cron trigger fires: six fields, seconds first, in UTC, read by the same parser and with
//! the same options as in Spin's cron trigger (croner; day of month *and* day of week must match).

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
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
        "`cron_expression = \"{expression}\"` has {fields} fields; write exactly six, seconds first: \
         `second minute hour day-of-month month day-of-week`, such as `0 */15 * * * *`, in UTC"
    )]
    Fields {
        /// As written.
        expression: String,
        /// How many there are.
        fields: usize,
    },
    /// A date that no year has.
    #[error("`cron_expression = \"{expression}\"` never fires: no year has such a day")]
    Never {
        /// As written.
        expression: String,
    },
    /// A field that is out of range or not understood.
    #[error("`cron_expression = \"{expression}\"`: {reason}")]
    Invalid {
        /// As written.
        expression: String,
        /// The parser's reason.
        reason: String,
    },
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(expression: &str) -> Result<Self, Self::Err> {
        let fields = expression.split_whitespace().count();
        if fields != 6 {
            return Err(ScheduleError::Fields {
                expression: expression.to_owned(),
                fields,
            });
        }
        let invalid = |error: croner::errors::CronError| ScheduleError::Invalid {
            expression: expression.to_owned(),
            reason: error.to_string().trim_end_matches('.').to_owned(),
        };
        let cron = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Disallowed)
            .dom_and_dow(true)
            .sloppy_ranges(true)
            .build()
            .parse(expression)
            .map_err(invalid)?;
        cron.find_next_occurrence(&Utc::now(), false)
            .map_err(|_| ScheduleError::Never {
                expression: expression.to_owned(),
            })?;
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
}

#[cfg(test)]
mod tests {
    use super::Schedule;
    use chrono::{DateTime, Utc};

    fn check(expression: &str, after: &str, expect: [&str; 3]) {
        let schedule: Schedule = expression.parse().unwrap();
        let mut time: DateTime<Utc> = after.parse().unwrap();
        let times = expect.map(|_| {
            time = schedule.next_after(time).unwrap();
            time.format("%Y-%m-%dT%H:%M:%S").to_string()
        });
        assert_eq!(times, expect, "{expression}");
    }

    #[test]
    fn next_times() {
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

    fn refused(expression: &str) -> String {
        expression.parse::<Schedule>().unwrap_err().to_string()
    }

    #[test]
    fn refuses_what_spin_refuses() {
        insta::assert_snapshot!(refused("*/15 * * * *"), @r#"`cron_expression = "*/15 * * * *"` has 5 fields; write exactly six, seconds first: `second minute hour day-of-month month day-of-week`, such as `0 */15 * * * *`, in UTC"#);
        insta::assert_snapshot!(refused("@hourly"), @r#"`cron_expression = "@hourly"` has 1 fields; write exactly six, seconds first: `second minute hour day-of-month month day-of-week`, such as `0 */15 * * * *`, in UTC"#);
        insta::assert_snapshot!(refused("0 0 0 1 1 * 2030"), @r#"`cron_expression = "0 0 0 1 1 * 2030"` has 7 fields; write exactly six, seconds first: `second minute hour day-of-month month day-of-week`, such as `0 */15 * * * *`, in UTC"#);
        insta::assert_snapshot!(refused("0 61 * * * *"), @r#"`cron_expression = "0 61 * * * *"`: Component error: Number out of bounds"#);
        insta::assert_snapshot!(refused("0 every 5 minutes please ok"), @r#"`cron_expression = "0 every 5 minutes please ok"`: Pattern contains illegal characters: CronPattern contains illegal character 'E' in part 'EVERY'"#);
        insta::assert_snapshot!(refused("0 0 0 31 2 *"), @r#"`cron_expression = "0 0 0 31 2 *"` never fires: no year has such a day"#);
    }
}
