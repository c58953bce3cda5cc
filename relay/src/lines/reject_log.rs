//! Samples of refused lines, for whoever has to find out where they come from: one a minute in the
//! log, more in `rejected/lines.log` of the spool's folder, which is bounded; the metrics count all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use super::reason::Reason;
use crate::clock;
use crate::log_throttle::LogThrottle;

/// Most lines of one post that are kept as samples.
pub const SAMPLES_PER_POST: usize = 20;
/// A sample shows so many bytes of its line.
const SHOWN_BYTES: usize = 200;
/// The file is begun anew at this length; the one before is kept beside it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a line is refused; its number and its text, cut and escaped.
pub type Sample = (Reason, String);

/// The number of a line and its text, cut and escaped.
#[must_use]
pub fn sample(line: u64, text: &[u8]) -> String {
    let shown = text.get(..SHOWN_BYTES).unwrap_or(text);
    let cut = if shown.len() < text.len() { "…" } else { "" };
    let shown = String::from_utf8_lossy(shown);
    format!("line {line}: {}{cut}", shown.escape_debug())
}

/// Where samples go.
pub struct RejectLog {
    dir: PathBuf,
    log: LogThrottle,
    error_log: LogThrottle,
    /// Keeps two posts from writing to the file at once.
    writing: Mutex<()>,
}

impl RejectLog {
    /// Into the spool in this folder.
    #[must_use]
    pub fn new(spool: &Path) -> Self {
        Self {
            dir: spool.join("rejected"),
            log: LogThrottle::default(),
            error_log: LogThrottle::default(),
            writing: Mutex::default(),
        }
    }

    /// Notes samples of the refused lines of a post. May block on the disk.
    pub fn note(&self, samples: &[Sample]) {
        if let Some((reason, sample)) = samples.first()
            && self.log.is_due()
        {
            let sample = format!("{reason} {sample}");
            warn!(
                sample,
                "lines are refused, see rejected/lines.log in the spool: correct whoever sends them"
            );
        }
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.append(samples)
            && self.error_log.is_due()
        {
            warn!(dir = %self.dir.display(), %error, "samples of refused lines cannot be kept: check the permissions of this folder");
        }
    }

    fn append(&self, samples: &[Sample]) -> io::Result<()> {
        let path = self.dir.join("lines.log");
        fs::create_dir_all(&self.dir)?;
        if fs::metadata(&path).is_ok_and(|about| about.len() >= MAX_FILE_BYTES) {
            fs::rename(&path, self.dir.join("lines.log.1"))?;
        }
        let mut file = File::options().create(true).append(true).open(&path)?;
        let now = clock::now();
        let line = |(reason, sample): &Sample| format!("{now} {reason} {sample}\n");
        let lines = samples.iter().map(line);
        file.write_all(lines.collect::<String>().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_cut_and_escaped_and_the_file_is_bounded() {
        let escaped = sample(7, b"a\xff\x1b[31m\"\t1");
        assert_eq!(escaped, "line 7: a\u{fffd}\\u{1b}[31m\\\"\\t1");
        let long = sample(7, &b"x".repeat(5000));
        assert_eq!(long, format!("line 7: {}…", "x".repeat(200)));
        let dir = tempfile::tempdir().unwrap();
        let log = RejectLog::new(dir.path());
        for _ in 0..1000 {
            let samples = vec![(Reason::InvalidUtf8, long.clone()); SAMPLES_PER_POST];
            log.note(&samples);
        }
        let files = fs::read_dir(dir.path().join("rejected")).unwrap();
        let lengths = files.map(|file| file.unwrap().metadata().unwrap().len());
        let lengths: Vec<_> = lengths.collect();
        assert_eq!(lengths.len(), 2);
        assert!(lengths.iter().all(|length| *length < MAX_FILE_BYTES + 6000));
    }
}
