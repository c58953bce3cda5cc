//! The file name of a batch, which says all that there is to know about it.

use std::fmt;

/// What the name of a batch's file carries: `{sequence}-{lines}-{bytes}-{checksum}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchName {
    /// Microseconds since 1970 at arrival, or one more than the batch before if that is greater:
    /// unique and rising, even when the clock is set back. 16 digits until the year 2286.
    pub sequence: u64,
    /// Lines in the file.
    pub lines: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// CRC-32 of the file.
    pub checksum: u32,
}

/// What a file in the folder of batches is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lines.
    Lines,
    /// Lines that a relay of version 0.1 had confirmed.
    Sent,
    /// The answers that a relay of version 0.1 gave to the posts of a batch.
    Answers,
}

impl BatchName {
    /// The file name of the batch.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{self}.lines")
    }

    /// Reads a file name. None unless it is exactly as [`file`](Self::file) or version 0.1 writes it.
    pub(super) fn parse_file(file: &str) -> Option<(Self, Kind)> {
        let (stem, suffix) = file.rsplit_once('.')?;
        let kind = match suffix {
            "lines" => Kind::Lines,
            "sent" => Kind::Sent,
            "answers" => Kind::Answers,
            _ => return None,
        };
        Some((Self::parse(stem)?, kind))
    }

    /// Reads a name, as it is displayed.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut number = || parts.next()?.parse().ok();
        let name = Self {
            sequence: number()?,
            lines: number()?,
            bytes: number()?,
            checksum: u32::from_str_radix(parts.next()?, 16).ok()?,
        };
        // Only one spelling counts, so that a name and its file belong together one to one.
        (name.to_string() == text && name.lines <= name.bytes).then_some(name)
    }
}

impl fmt::Display for BatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sequence,
            lines,
            bytes,
            checksum,
        } = self;
        write!(f, "{sequence:016}-{lines}-{bytes}-{checksum:08x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, expect: Option<(BatchName, Kind)>) {
        assert_eq!(BatchName::parse_file(file), expect, "{file}");
        if let Some((name, Kind::Lines)) = expect {
            assert_eq!(name.file(), file);
        }
    }

    #[test]
    fn only_names_written_by_us_are_read() {
        let name = BatchName {
            sequence: 1_700_000_000_000_000,
            lines: 12,
            bytes: 1020,
            checksum: 0xbeef,
        };
        let stem = "1700000000000000-12-1020-0000beef";
        check(&format!("{stem}.lines"), Some((name, Kind::Lines)));
        check(&format!("{stem}.sent"), Some((name, Kind::Sent)));
        check(&format!("{stem}.answers"), Some((name, Kind::Answers)));
        for file in [
            stem,
            "",
            "README",
            ".nfs0001",
            "1700000000000000-12-1020-0000beef.lines~",
            "1700000000000000-12-1020-0000BEEF.lines",
            "1700000000000000-12-1020-beef.lines",
            "1700000000000000-012-1020-0000beef.lines",
            "1700000000000000-+12-1020-0000beef.lines",
            "1700000000000000-12-1020-0000beef-1.lines",
            "700-12-1020-0000beef.lines",
            "1700000000000000-1021-1020-0000beef.lines",
            "99999999999999999999999-12-1020-0000beef.lines",
        ] {
            check(file, None);
        }
    }
}
