//! What is wrong with a setting, where, and what to write instead.

use std::fmt;
use std::io::{Error, ErrorKind};

/// A place in a file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the variable, that holds it.
    pub file: String,
    /// Where in the file; none when something is missing as a whole.
    pub place: Option<Place>,
    /// The line of the file as it stands there, with stars in place of secrets.
    pub line: Option<String>,
    /// The key that it is about, for instance `relay.listen`; of a misspelt key, the likely one.
    pub key: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    /// A problem with a file or a variable as a whole.
    #[must_use]
    pub fn of(file: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            place: None,
            line: None,
            key: None,
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// A file that cannot be read. `missing` is what to do when there is no such file.
    #[must_use]
    pub fn unreadable(file: &str, error: &Error, missing: &str) -> Self {
        let hint = match error.kind() {
            ErrorKind::NotFound => missing,
            ErrorKind::PermissionDenied => {
                "the file is there: let the user that this process runs as read it"
            }
            ErrorKind::IsADirectory => "this is a folder: put the file in its place",
            ErrorKind::InvalidData => "save the file as UTF-8",
            _ => "check the disk and the mount that the file is on",
        };
        Self::of(file, format!("cannot be read: {error}"), hint)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(place) = self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        writeln!(f, ": {}", self.what)?;
        if let (Some(place), Some(line)) = (self.place, &self.line) {
            let number = place.line.to_string();
            writeln!(f, "  {number} | {line}")?;
            let before = usize::try_from(place.column.saturating_sub(1)).unwrap_or(0);
            // A tab in the line is repeated below it, so that the caret stands where it should.
            let pad: String = line
                .chars()
                .chain(std::iter::repeat(' '))
                .take(before)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            writeln!(f, "  {} | {pad}^", " ".repeat(number.len()))?;
        }
        write!(f, "  help: {}", self.hint)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
