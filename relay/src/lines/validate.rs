//! The checks of one line: its characters, its fields, then name, value and timestamp.
//!
//! Names and tags are checked as carbon's `TaggedSeries.parse_carbon` and graphite-web's tag index
//! read them. Values and timestamps are read by their form, without computing a number where the form
//! alone tells enough.

use memchr::{memchr, memchr2};

use super::reason::Reason;
use crate::clock::CERTAINLY_PAST;

/// Longest line in bytes, without its newline. Carbon's line receiver (Twisted's
/// `LineOnlyReceiver`) closes the connection over a longer one.
pub const MAX_LINE_BYTES: usize = 16_384;

/// How late the timestamp of a good line may be, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBound {
    /// Up to here a timestamp is good by each clock.
    good: u64,
    /// Beyond this it is too far ahead of each clock.
    possible: u64,
}

impl TimeBound {
    /// At most `max_ahead` seconds ahead of our clock `now` and the sender's clock, if that is known.
    /// Where the two differ, no one knows which is right: what is good by one of them alone is not
    /// decided. A clock of ours that is certainly wrong does not count.
    #[must_use]
    pub fn new(now: u64, senders: Option<u64>, max_ahead: u64) -> Self {
        let ours = (now >= CERTAINLY_PAST).then_some(now);
        let (earlier, later) = match (ours, senders) {
            (Some(ours), Some(senders)) => (ours.min(senders), ours.max(senders)),
            (Some(one), None) | (None, Some(one)) => (one, one),
            (None, None) => (u64::MAX, u64::MAX),
        };
        Self {
            good: earlier.saturating_add(max_ahead),
            possible: later.saturating_add(max_ahead),
        }
    }

    fn check(self, seconds: u64) -> Result<(), Reason> {
        if seconds <= self.good {
            Ok(())
        } else if seconds <= self.possible {
            Err(Reason::ClocksDiffer)
        } else {
            Err(Reason::TimestampInFuture)
        }
    }
}

/// Checks one line without its newline.
///
/// # Errors
/// The first reason found to refuse it.
pub fn check_line(line: &[u8], bound: TimeBound) -> Result<(), Reason> {
    check(line, all_clean(line), &mut None, bound)
}

/// Whether each byte needs no second look: printable ASCII, or what separates lines or fields.
/// Written so that it is done for many bytes at once.
pub(super) fn all_clean(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |clean, byte| {
        clean & ((b' '..=b'~').contains(byte) | (*byte == b'\n') | (*byte == b'\t'))
    })
}

/// `clean` says that there are [only clean](all_clean) bytes, which spares the line the look for wrong
/// characters. `good_tags` are those of the last line that had good ones: the values of one result follow
/// each other, and all have the same tags, which are checked once.
pub(super) fn check<'a>(
    line: &'a [u8],
    clean: bool,
    good_tags: &mut Option<&'a [u8]>,
    bound: TimeBound,
) -> Result<(), Reason> {
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
    check_name(name, good_tags)?;
    check_value(value)?;
    check_timestamp(timestamp, bound)
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

/// Most tags of one series. Graphite knows no such limit; ours keeps the look for duplicates
/// short whatever comes.
pub const MAX_TAGS: usize = 64;

/// Most characters of a tag's name and of its value: the columns of graphite-web's tag index have no
/// more room. The name before the tags is the value of a tag there, too.
pub const MAX_TAG_CHARS: usize = 191;

/// Longest file name of the usual file systems.
const MAX_NODE_BYTES: usize = 255;
/// The last node gets it appended.
const SUFFIX_BYTES: usize = ".wsp".len();
/// Longest untagged name: it becomes a path of at most 4096 bytes, and the data folder comes first.
const MAX_NAME_BYTES: usize = 3840;

/// Checks a name, tagged or not. It holds no blanks and is not empty.
fn check_name<'a>(name: &'a [u8], good_tags: &mut Option<&'a [u8]>) -> Result<(), Reason> {
    if name.first() == Some(&b'~') {
        return Err(Reason::NameTilde);
    }
    // Some of these are sound, but what they become would have to be checked in turn.
    if name.ends_with(br#""}"#) && memchr(b'{', name).is_some() {
        return Err(Reason::OpenMetricsName);
    }
    match memchr(b';', name) {
        None => check_path(name),
        Some(0) => Err(Reason::EmptyName),
        Some(at) => {
            fits(name.get(..at).unwrap_or_default())?;
            let tags = name.get(at + 1..).unwrap_or_default();
            if *good_tags != Some(tags) {
                check_tags(tags)?;
                *good_tags = Some(tags);
            }
            Ok(())
        }
    }
}

/// Whether it has room in the tag index.
fn fits(text: &[u8]) -> Result<(), Reason> {
    let begins_char = |byte: &&u8| **byte & 0xc0 != 0x80;
    if text.len() > MAX_TAG_CHARS && text.iter().filter(begins_char).count() > MAX_TAG_CHARS {
        return Err(Reason::TagTooLong);
    }
    Ok(())
}

/// An untagged name becomes a path: carbon turns each dot into a slash and takes slashes off the
/// front, so that two names may come to be one file. The path of a tagged series is a hash, so neither
/// its characters nor its length matter.
fn check_path(name: &[u8]) -> Result<(), Reason> {
    if name.contains(&b'/') {
        return Err(Reason::SlashInName);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Reason::NameTooLong);
    }
    let mut nodes = name.split(|byte| *byte == b'.').peekable();
    if nodes.peek() == Some(&&b"_tagged"[..]) {
        return Err(Reason::ReservedName);
    }
    while let Some(node) = nodes.next() {
        let suffix = if nodes.peek().is_none() {
            SUFFIX_BYTES
        } else {
            0
        };
        if node.is_empty() {
            return Err(Reason::EmptyNode);
        }
        if node.len() + suffix > MAX_NODE_BYTES {
            return Err(Reason::NodeTooLong);
        }
    }
    Ok(())
}

/// Checks `key=value;key=value…`, which is shorter than a line may be. By hand: most of the time for
/// a line is spent here, and the parts are too short for a search in each.
fn check_tags(tags: &[u8]) -> Result<(), Reason> {
    let mut seen = Seen {
        starts: [0; MAX_TAGS],
        count: 0,
    };
    let mut start = 0;
    loop {
        let rest = tags.get(start..).unwrap_or_default();
        let ends_key = |byte: &u8| matches!(byte, b'=' | b';' | b'!' | b'^');
        let key_end = rest.iter().position(ends_key).unwrap_or(rest.len());
        let (key, rest) = rest.split_at_checked(key_end).unwrap_or_default();
        let value = match rest.split_first() {
            Some((b'=', value)) => value,
            Some((b'!' | b'^', _)) => return Err(Reason::TagNameCharacter),
            _ => return Err(Reason::TagWithoutEquals),
        };
        let end = value.iter().position(|byte| *byte == b';');
        let value = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
        seen.add(tags, start, key, value)?;
        if end.is_none() {
            return Ok(());
        }
        start += key.len() + 1 + value.len() + 1;
    }
}

/// Where the tags seen so far begin.
struct Seen {
    starts: [u16; MAX_TAGS],
    count: usize,
}

impl Seen {
    /// Checks the tag that begins at `start`.
    fn add(&mut self, tags: &[u8], start: usize, key: &[u8], value: &[u8]) -> Result<(), Reason> {
        match (key, value.first()) {
            ([], _) => return Err(Reason::EmptyTagName),
            (_, None) => return Err(Reason::EmptyTagValue),
            (_, Some(b'~')) => return Err(Reason::TagValueTilde),
            (b"name", _) => return Err(Reason::ReservedTag),
            _ => {}
        }
        fits(key)?;
        fits(value)?;
        let is_same = |other: &u16| {
            let other = tags.get(usize::from(*other)..).unwrap_or_default();
            other.get(key.len()) == Some(&b'=') && other.starts_with(key)
        };
        if self.starts.iter().take(self.count).any(is_same) {
            return Err(Reason::DuplicateTag);
        }
        let next = self.starts.get_mut(self.count).ok_or(Reason::TooManyTags)?;
        // Within the line, and so below MAX_LINE_BYTES.
        *next = u16::try_from(start).unwrap_or(u16::MAX);
        self.count += 1;
        Ok(())
    }
}

/// 2000-01-01T00:00:00Z. Graphite itself is younger.
const OLDEST: u64 = 946_684_800;
/// Whisper keeps timestamps in 32 bits.
const LARGEST: u64 = u32::MAX as u64;
/// A number of this many characters or fewer, without exponent, is finite as f64.
const FINITE_CHARS: usize = 300;

/// Checks a value: a decimal number, finite as an f64. A number is computed only where the form alone
/// does not tell.
fn check_value(value: &[u8]) -> Result<(), Reason> {
    let unsigned = match value.split_first() {
        Some((b'+' | b'-', unsigned)) => unsigned,
        _ => value,
    };
    let (whole, rest) = digits(unsigned);
    let (fraction, rest) = digits(rest.strip_prefix(b".").unwrap_or(rest));
    let is_plain = rest.is_empty() && whole.len() + fraction.len() > 0;
    if is_plain && value.len() <= FINITE_CHARS {
        return Ok(());
    }
    let text = std::str::from_utf8(value).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(()),
        // Infinity and NaN by their names, too.
        Ok(_) => Err(Reason::ValueNotFinite),
        Err(_) => Err(Reason::ValueNotANumber),
    }
}

/// The digits at the beginning, and what follows them.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    text.split_at_checked(digits.count()).unwrap_or((text, &[]))
}

/// Checks a timestamp: seconds since 1970 with or without a fraction, between 2000 and the bound.
fn check_timestamp(timestamp: &[u8], bound: TimeBound) -> Result<(), Reason> {
    let unsigned = timestamp.strip_prefix(b"-").unwrap_or(timestamp);
    let (whole, rest) = digits(unsigned);
    let fraction = rest.strip_prefix(b".").unwrap_or(rest);
    if whole.is_empty() || !digits(fraction).1.is_empty() {
        return Err(Reason::TimestampNotANumber);
    }
    // What has room in 32 bits has room here after one digit more.
    let add = |sum: u64, digit: &u8| sum.min(LARGEST + 1) * 10 + u64::from(digit - b'0');
    let seconds = whole.iter().fold(0, add);
    if unsigned.len() < timestamp.len() || seconds < OLDEST {
        Err(Reason::TimestampTooOld)
    } else if seconds > LARGEST {
        Err(Reason::TimestampTooLarge)
    } else {
        bound.check(seconds)
    }
}
