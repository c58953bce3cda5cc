//! When the cron trigger fires: six fields, seconds first, in UTC, read by the same parser and with
//! the same options as in Spin's cron trigger (day of month *and* day of week must match).

use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;
use serde::Deserialize;

/// A parsed `cron_expression`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Schedule {
    expression: String,
    cron: Cron,
}

impl TryFrom<String> for Schedule {
    type Error = String;

    fn try_from(expression: String) -> Result<Self, String> {
        let fields = expression.split_whitespace().count();
        if fields != 6 {
            return Err(format!(
                "`cron_expression` has {fields} fields; write exactly six, seconds first: `second \
                 minute hour day-of-month month day-of-week`, such as `0 */15 * * * *`, in UTC"
            ));
        }
        let cron = Cron::new(&expression)
            .with_seconds_required()
            .with_dom_and_dow()
            .parse()
            .map_err(|error| {
                let error = error.to_string();
                format!(
                    "`cron_expression` is wrong: {}",
                    error.trim_end_matches('.')
                )
            })?;
        cron.find_next_occurrence(&Utc::now(), false)
            .map_err(|_| "`cron_expression` never fires: no year has such a day")?;
        Ok(Self { expression, cron })
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
        let mut shortest = TimeDelta::MAX;
        while let Some(next) = self.next_after(before) {
            shortest = shortest.min(next - before);
            if next >= end {
                return Some(shortest);
            }
            before = next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;
    use chrono::{DateTime, Utc};

    #[test]
    fn fires_as_in_spin() {
        for (expression, times, minutes) in [
            ("0 */15 * * * *", "02-28 23:45:00, 02-29 00:00:00", 15),
            ("0 7,22,37,52 * * * *", "02-28 23:52:00, 02-29 00:07:00", 15),
            ("0 0,10 * * * *", "02-29 00:00:00, 02-29 00:10:00", 10),
            ("30 0 4 * * *", "02-29 04:00:30, 03-01 04:00:30", 1440),
            ("0 */15 8-18 * * *", "02-29 08:00:00, 02-29 08:15:00", 15),
            ("0 0 0 1 * *", "03-01 00:00:00, 04-01 00:00:00", 31 * 1440),
            // Day of month and day of week both: Friday the 13th. Monday is 1.
            ("0 0 0 13 * 5", "09-13 00:00:00, 12-13 00:00:00", 91 * 1440),
            ("0 */20 * * * MON", "03-04 00:00:00, 03-04 00:20:00", 20),
        ] {
            let schedule = Schedule::try_from(expression.to_owned()).unwrap();
            let start: DateTime<Utc> = "2024-02-28T23:40:00Z".parse().unwrap();
            let first = schedule.next_after(start).unwrap();
            let found = [first, schedule.next_after(first).unwrap()];
            let found = found.map(|time| time.format("%m-%d %T").to_string());
            assert_eq!(found.join(", "), times, "{expression}");
            let interval = schedule.shortest_interval(start).unwrap();
            assert_eq!(interval.num_minutes(), minutes, "{expression}");
        }
    }

    #[test]
    fn refuses_what_spin_refuses() {
        let six = "fields; write exactly six";
        for (expression, said) in [
            ("*/15 * * * *", six),
            ("@hourly", six),
            ("0 0 0 1 1 * 2030", six),
            (
                "0 61 * * * *",
                "is wrong: Component error: Number out of bounds",
            ),
            (
                "0 every 5 minutes please ok",
                "is wrong: Component error: Invalid number",
            ),
            (
                "0 0 0 31 2 *",
                "`cron_expression` never fires: no year has such a day",
            ),
        ] {
            let refused = Schedule::try_from(expression.to_owned()).unwrap_err();
            assert!(refused.contains(said), "{expression} {refused}");
        }
    }
}
