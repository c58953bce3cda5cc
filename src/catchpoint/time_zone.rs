//! The time zone that an answer says its times are in, as an offset from UTC.
//!
//! All public answers are in UTC. Another zone must not be taken for UTC: it is converted where its
//! offset is stated, else the answer is an error. A name such as "Pacific Time" states none, because
//! it does not say whether it is summer there.

use super::error::{CallError, Kind};
use super::lenient::{self, Json, Named, Raw, whole_number};
use crate::host::body::excerpt;

/// v1's id of UTC.
const UTC: u64 = 4;

/// The furthest that a zone is from UTC, in hours.
const FURTHEST: f64 = 14.0;

/// v1's `timezone`: how many seconds its times are ahead of UTC.
///
/// # Errors
/// A zone whose offset is not stated.
pub fn of_name(timezone: Raw<'_>) -> Result<i64, CallError> {
    let Some(raw) = timezone else {
        return Ok(0);
    };
    let (id, name) = match raw.0.as_bytes().first() {
        Some(b'{') => Named::of(timezone).map_or((None, None), |zone| (zone.id, zone.name)),
        Some(b'"') => (None, timezone),
        _ => (timezone, None),
    };
    let name = lenient::text(name).unwrap_or_default();
    let name = name.trim();
    let mut utc = ["UTC", "Etc/UTC", "Coordinated Universal Time"].into_iter();
    if utc.any(|utc| name.eq_ignore_ascii_case(utc)) || raw.0 == "{}" {
        return Ok(0);
    }
    let by_id = (whole_number(id) == Some(UTC)).then_some(0);
    offset(name).or(by_id).ok_or_else(|| unknown(raw))
}

/// v2's `timeZoneOffSet`, hours as a number or a text: how many seconds its times are ahead of UTC.
///
/// # Errors
/// It is neither.
pub fn of_offset(hours: Raw<'_>) -> Result<i64, CallError> {
    let Some(raw) = hours else {
        return Ok(0);
    };
    let text = lenient::text(hours).unwrap_or_default();
    let number: Option<f64> = text.trim().parse().ok();
    let seconds = match number.filter(|hours| hours.abs() <= FURTHEST) {
        Some(hours) => Some((hours * 3600.0) as i64),
        None => offset(text.trim()),
    };
    seconds.ok_or_else(|| unknown(raw))
}

fn unknown(zone: Json<'_>) -> CallError {
    CallError::new(Kind::TimeZone, excerpt(zone.0))
}

/// `-08:00`, `UTC+5`, `(GMT-03:30)`, in seconds.
fn offset(text: &str) -> Option<i64> {
    let text = text.trim_start_matches('(').trim_end_matches(')');
    let text = text.trim_start_matches("UTC").trim_start_matches("GMT");
    let (sign, rest) = match text.split_at_checked(1)? {
        ("-", rest) => (-1, rest),
        ("+", rest) => (1, rest),
        _ => (1, text),
    };
    let mut parts = rest.split(':');
    let mut part = |most: i64| match parts.next() {
        None => Some(0),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|number| *number <= most)
        }
        Some(_) => None,
    };
    let (hours, minutes, seconds) = (part(FURTHEST as i64)?, part(59)?, part(59)?);
    parts.next().is_none().then_some(())?;
    Some(sign * (hours * 3600 + minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c10_a_zone_is_converted_or_an_error() {
        for (json, expect) in [
            (r#"{"id":4,"name":"UTC"}"#, Some(0)),
            (r#"{"id":4}"#, Some(0)),
            (r#""utc""#, Some(0)),
            ("{}", Some(0)),
            (r#"{"id":9,"name":"(UTC-08:00)"}"#, Some(-8 * 3600)),
            (r#"{"id":9,"name":"UTC+5:30"}"#, Some(5 * 3600 + 1800)),
            (
                r#"{"id":9,"name":"(UTC-08:00) Pacific Time (US & Canada)"}"#,
                None,
            ),
            (r#"{"id":9,"name":"Pacific"}"#, None),
            (r#"{"id":9}"#, None),
            ("9", None),
            ("[]", None),
        ] {
            let raw = serde_json::from_str(json).unwrap();
            assert_eq!(of_name(Some(raw)).ok(), expect, "{json}");
        }
        assert_eq!(of_name(None), Ok(0));
    }

    #[test]
    fn c10_an_offset_is_in_hours() {
        for (json, expect) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("-8", Some(-8 * 3600)),
            ("5.5", Some(5 * 3600 + 1800)),
            (r#""-08:00""#, Some(-8 * 3600)),
            (r#""-03:30:00""#, Some(-3 * 3600 - 1800)),
            (r#""00:00:00""#, Some(0)),
            // Minutes, perhaps, but in which direction?
            ("480", None),
            (r#""Pacific""#, None),
            (r#""""#, None),
            ("{}", None),
        ] {
            let raw = serde_json::from_str(json).unwrap();
            assert_eq!(of_offset(Some(raw)).ok(), expect, "{json}");
        }
        assert_eq!(of_offset(None), Ok(0));
    }
}
