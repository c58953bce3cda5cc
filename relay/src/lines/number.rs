//! The rules for values and timestamps. Both are read by their form, without computing a number
//! where the form alone tells enough.

use super::Reason;
use crate::clock::CERTAINLY_PAST;

/// How far ahead of our clock a timestamp may be, in seconds. Whisper stores no point a day ahead.
/// Half of that leaves room for a clock that was set to local time instead of UTC: a clock that
/// is wrong must not cost good data.
pub const MAX_AHEAD: u64 = 12 * 3600;

/// 2000-01-01T00:00:00Z. Graphite itself is younger.
const OLDEST: u64 = 946_684_800;
/// Whisper keeps timestamps in 32 bits.
const LARGEST: u64 = u32::MAX as u64;
/// A number of this many digits or fewer, without exponent, is finite as f64.
const FINITE_DIGITS: usize = 300;

/// Checks a value: a decimal number, finite as an f64.
pub(super) fn check_value(value: &[u8]) -> Result<(), Reason> {
    match form(value) {
        Some(Form::Plain) if value.len() <= FINITE_DIGITS => Ok(()),
        Some(_) => {
            let number: Option<f64> = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
            match number {
                Some(number) if number.is_finite() => Ok(()),
                Some(_) => Err(Reason::ValueNotFinite),
                None => Err(Reason::ValueNotANumber),
            }
        }
        None if is_not_finite(value) => Err(Reason::ValueNotFinite),
        None => Err(Reason::ValueNotANumber),
    }
}

/// Checks a timestamp: seconds since 1970 with or without a fraction, between 2000 and
/// [`MAX_AHEAD`] after `now`, unless `now` is certainly wrong.
pub(super) fn check_timestamp(timestamp: &[u8], now: u64) -> Result<(), Reason> {
    let whole_end = timestamp
        .iter()
        .position(|byte| *byte == b'.')
        .unwrap_or(timestamp.len());
    let (whole, fraction) = timestamp.split_at_checked(whole_end).unwrap_or_default();
    if whole.first() == Some(&b'-') && form(timestamp) == Some(Form::Plain) {
        return Err(Reason::TimestampTooOld);
    }
    let digits = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
    if whole.is_empty() || !digits(whole) || !digits(fraction.get(1..).unwrap_or_default()) {
        return Err(Reason::TimestampNotANumber);
    }
    // 19 digits fit into 64 bits.
    let seconds = if whole.len() <= 19 {
        whole
            .iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    } else {
        u64::MAX
    };
    if seconds > LARGEST {
        Err(Reason::TimestampTooLarge)
    } else if seconds < OLDEST {
        Err(Reason::TimestampTooOld)
    } else if now >= CERTAINLY_PAST && seconds > now.saturating_add(MAX_AHEAD) {
        Err(Reason::TimestampInFuture)
    } else {
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    WithExponent,
}

/// The form of a decimal number: `[+-] digits [. digits] [e [+-] digits]`, with a digit on at
/// least one side of the point. None for anything else.
fn form(text: &[u8]) -> Option<Form> {
    let text = unsigned(text);
    let (whole, text) = digits(text);
    let (fraction, text) = match text.split_first() {
        Some((b'.', text)) => digits(text),
        _ => (0, text),
    };
    if whole + fraction == 0 {
        return None;
    }
    match text.split_first() {
        None => Some(Form::Plain),
        Some((b'e' | b'E', exponent)) => {
            let (count, rest) = digits(unsigned(exponent));
            (count > 0 && rest.is_empty()).then_some(Form::WithExponent)
        }
        Some(_) => None,
    }
}

fn unsigned(text: &[u8]) -> &[u8] {
    match text.split_first() {
        Some((b'+' | b'-', text)) => text,
        _ => text,
    }
}

/// How many digits the text begins with, and what follows them.
fn digits(text: &[u8]) -> (usize, &[u8]) {
    let count = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    (count, text.get(count..).unwrap_or_default())
}

fn is_not_finite(text: &[u8]) -> bool {
    let text = unsigned(text);
    ["nan", "inf", "infinity"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}
