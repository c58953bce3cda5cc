//! Times as the API writes and reads them.
//!
//! Inside, a time is a count of ticks: 100 nanoseconds since 1970-01-01 UTC. That is the resolution
//! of .NET, which the API is written in, so every time that the API can write is exact.

use chrono::{DateTime, NaiveDateTime, Utc};

/// Ticks in a second.
pub(crate) const SECOND: i64 = 10_000_000;

/// Ticks from 0001-01-01, where .NET starts to count, to 1970-01-01.
const DOTNET_EPOCH: i64 = 621_355_968_000_000_000;

/// How a test's times are written; the API does all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `2015-08-08T02:01:48.6949806Z`
    Fraction,
    /// `2015-08-08T02:01:48Z`
    Zulu,
    /// `2015-08-08T02:01:48`, which is UTC too
    Bare,
}

/// The ticks of a time; far-off years saturate.
pub(crate) fn ticks(time: DateTime<Utc>) -> i64 {
    let whole = time.timestamp().saturating_mul(SECOND);
    whole.saturating_add(i64::from(time.timestamp_subsec_nanos() / 100))
}

/// Whole seconds since 1970, truncated as the original script truncates.
pub(crate) fn epoch_seconds(ticks: i64) -> i64 {
    ticks.div_euclid(SECOND)
}

/// A time of UTC where clocks are ahead of it; both in ticks.
pub(crate) fn local(ticks: i64, offset_minutes: i32) -> i64 {
    ticks.saturating_add(i64::from(offset_minutes) * 60 * SECOND)
}

/// What `dimension.id` holds: ticks as .NET counts them.
pub(crate) fn dotnet(ticks: i64) -> i64 {
    ticks.saturating_add(DOTNET_EPOCH)
}

/// Writes a time in the given form.
pub(crate) fn write(ticks: i64, form: Form) -> String {
    let seconds = epoch_seconds(ticks);
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let whole = time.format("%Y-%m-%dT%H:%M:%S");
    match form {
        Form::Fraction => format!("{whole}.{:07}Z", ticks.rem_euclid(SECOND)),
        Form::Zulu => format!("{whole}Z"),
        Form::Bare => whole.to_string(),
    }
}

/// Reads a time as callers write it: `T` or a blank between date and time, with or without a
/// fraction and a `Z`; UTC in any case.
pub(crate) fn read(text: &str) -> Option<i64> {
    let text = text
        .trim()
        .trim_end_matches(['Z', 'z'])
        .replacen(' ', "T", 1);
    let time = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    Some(ticks(time.and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimension_ids_are_those_of_a_real_answer() {
        assert_eq!(dotnet(1_438_999_311 * SECOND), 635_745_961_110_000_000);
    }
}
