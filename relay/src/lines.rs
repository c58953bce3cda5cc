//! Checks Graphite plaintext lines before carbon can see them.
//!
//! One bad line can cost its neighbours: carbon closes the connection over invalid UTF-8 or an
//! overlong line and loses all that follows, a timestamp in milliseconds loses the good points
//! written with it, and one malformed tag makes graphite-web refuse a whole batch for its tag
//! index. So each line that carbon, whisper or graphite-web 1.1.10 would stumble over, or would
//! drop without a word, is refused here and answered with its [`Reason`].
//!
//! What they do store well is let through: `#`, `(`, `)`, `%`, brackets, quotes, slashes and any
//! printable character of Unicode.
//!
//! # Layout
//! - this file: a body of lines is [sifted](sift) into the good ones and the refused ones
//! - [`reason`] why a line is refused
//! - [`series`] the rules for names and tags
//! - [`number`] the rules for values and timestamps

pub mod number;
pub mod reason;
pub mod series;

use memchr::{memchr, memchr2};

pub use reason::Reason;

/// Longest line in bytes, without its newline. Carbon's line receiver (Twisted's
/// `LineOnlyReceiver`) closes the connection over a longer one.
pub const MAX_LINE_BYTES: usize = 16_384;

/// A refused line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused<'a> {
    /// Its number in the body, from 1.
    pub line: u64,
    /// Why.
    pub reason: Reason,
    /// Its bytes, without the newline.
    pub text: &'a [u8],
}

/// What is left of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sifted {
    /// The good lines are so many bytes at the front of the body.
    pub bytes: usize,
    /// How many lines they are.
    pub accepted: u64,
}

/// Moves the good lines of `body` together at its front, and calls `on_refused` for each of the
/// others, in order. Each line must be ended by a `\n`; what follows the last one is left out. The
/// lines stay as they came, but for a `\r` before the `\n`, which is taken off. `now` is the time
/// in seconds since 1970, against which timestamps are held if it
/// [can be right](crate::clock::CERTAINLY_PAST).
///
/// A body without a bad line is not moved at all.
pub fn sift(body: &mut [u8], now: u64, mut on_refused: impl FnMut(Refused<'_>)) -> Sifted {
    let clean = all_clean(body);
    let mut kept = Kept::default();
    let mut accepted = 0;
    let mut start = 0;
    let mut number = 1;
    while let Some(length) = body.get(start..).and_then(|rest| memchr(b'\n', rest)) {
        let end = start + length;
        let raw = body.get(start..end).unwrap_or_default();
        let line = raw.strip_suffix(b"\r").unwrap_or(raw);
        match check(line, clean, now) {
            Ok(()) => {
                accepted += 1;
                if line.len() < raw.len() {
                    let carriage_return = start + line.len();
                    kept.cut(body, carriage_return, end);
                }
            }
            Err(reason) => {
                on_refused(Refused {
                    line: number,
                    reason,
                    text: line,
                });
                kept.cut(body, start, end + 1);
            }
        }
        start = end + 1;
        number += 1;
    }
    kept.cut(body, start, start);
    Sifted {
        bytes: kept.end,
        accepted,
    }
}

/// The part of a body that is kept, moved together at its front.
#[derive(Default)]
struct Kept {
    /// Where the moved part ends.
    end: usize,
    /// From here on nothing is decided or moved yet.
    run: usize,
}

impl Kept {
    /// Keeps all up to `from` and leaves out what lies between `from` and `to`. Each call begins
    /// where the one before has ended or later, so that `end <= run <= from <= to`.
    fn cut(&mut self, body: &mut [u8], from: usize, to: usize) {
        if self.end < self.run && self.run < from {
            body.copy_within(self.run..from, self.end);
        }
        self.end += from - self.run;
        self.run = to;
    }
}

/// Checks one line without its newline.
///
/// # Errors
/// The first reason found to refuse it.
pub fn check_line(line: &[u8], now: u64) -> Result<(), Reason> {
    check(line, all_clean(line), now)
}

/// Whether each byte needs no second look: printable ASCII, or what separates lines or fields.
/// Written so that it is done for many bytes at once.
fn all_clean(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |clean, byte| {
        clean & ((b' '..=b'~').contains(byte) | (*byte == b'\n') | (*byte == b'\t'))
    })
}

/// `clean` says that the whole body consists of clean bytes, which spares each line the look for
/// wrong characters.
fn check(line: &[u8], clean: bool, now: u64) -> Result<(), Reason> {
    if line.len() > MAX_LINE_BYTES {
        return Err(Reason::LineTooLong);
    }
    if !clean {
        characters(line)?;
    }
    let (name, rest) = field(line);
    let (value, rest) = field(rest);
    let (timestamp, rest) = field(rest);
    if name.is_empty() {
        return Err(Reason::EmptyLine);
    }
    if timestamp.is_empty() || !field(rest).0.is_empty() {
        return Err(Reason::NotThreeFields);
    }
    series::check(name)?;
    number::check_value(value)?;
    number::check_timestamp(timestamp, now)
}

/// The next field, empty if there is none, and what follows it.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    let line = line.get(blanks.count()..).unwrap_or_default();
    let end = memchr2(b' ', b'\t', line).unwrap_or(line.len());
    line.split_at_checked(end).unwrap_or((line, &[]))
}

/// Refuses what is not printable, and blanks that Python's `str.split` takes for separators.
fn characters(line: &[u8]) -> Result<(), Reason> {
    let text = simdutf8::basic::from_utf8(line).map_err(|_| Reason::InvalidUtf8)?;
    for char in text.chars() {
        if char == '\t' {
            continue;
        }
        if char.is_control() {
            return Err(Reason::ControlCharacter);
        }
        if char != ' ' && char.is_whitespace() {
            return Err(Reason::UnicodeBlank);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
