//! Samples of refused lines, for whoever has to find out where they come from: a few in the log,
//! more in `rejected/lines.log` of the spool's folder. Both are bounded; the metrics count all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::reason::{Reason, Refused};
use crate::clock;

/// Most lines of one post that are kept as samples.
pub const SAMPLES_PER_POST: usize = 20;
/// A sample shows so many bytes of its line.
const SHOWN_BYTES: usize = 200;
/// The file is begun anew at this length; the one before is kept beside it.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Lines logged in one [`LOG_PERIOD`].
const LOGGED: u32 = 10;
const LOG_PERIOD: Duration = Duration::from_secs(60);

/// A refused line, cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    line: u64,
    /// Why it was refused.
    pub reason: Reason,
    /// The line.
    pub text: String,
}

impl Sample {
    /// Takes a sample.
    #[must_use]
    pub fn new(refused: Refused<'_>) -> Self {
        let shown = refused.text.get(..SHOWN_BYTES).unwrap_or(refused.text);
        let mut text = String::from_utf8_lossy(shown).escape_debug().to_string();
        if shown.len() < refused.text.len() {
            text.push('…');
        }
        Self {
            line: refused.line,
            reason: refused.reason,
            text,
        }
    }
}

/// Where samples go.
pub struct RejectLog {
    dir: PathBuf,
    state: Mutex<State>,
}

struct State {
    period: Instant,
    logged: u32,
    unlogged: u64,
    /// Whether it was said in this period that samples cannot be kept.
    complained: bool,
}

impl State {
    fn new() -> Self {
        Self {
            period: Instant::now(),
            logged: 0,
            unlogged: 0,
            complained: false,
        }
    }
}

impl RejectLog {
    /// Into the spool in this folder.
    #[must_use]
    pub fn new(spool: &Path) -> Self {
        Self {
            dir: spool.join("rejected"),
            state: Mutex::new(State::new()),
        }
    }

    /// Notes the refused lines of a post: some of them, and how many there were. May block on the
    /// disk.
    pub fn note(&self, samples: &[Sample], total: u64) {
        // Also keeps two posts from writing to the file at once.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.log(samples, total);
        if let Err(error) = self.append(samples)
            && !std::mem::replace(&mut state.complained, true)
        {
            warn!(dir = %self.dir.display(), %error, "samples of refused lines cannot be kept");
        }
    }

    fn append(&self, samples: &[Sample]) -> io::Result<()> {
        let path = self.dir.join("lines.log");
        fs::create_dir_all(&self.dir)?;
        let mut file = File::options().create(true).append(true).open(&path)?;
        if file.metadata()?.len() >= MAX_FILE_BYTES {
            fs::rename(&path, self.dir.join("lines.log.1"))?;
            file = File::options().create(true).append(true).open(&path)?;
        }
        let now = clock::now();
        let mut text = String::new();
        for Sample {
            line,
            reason,
            text: sample,
        } in samples
        {
            text.push_str(&format!("{now} {reason} line {line}: {sample}\n"));
        }
        file.write_all(text.as_bytes())
    }
}

impl State {
    fn log(&mut self, samples: &[Sample], total: u64) {
        if self.period.elapsed() >= LOG_PERIOD {
            if self.unlogged > 0 {
                warn!(
                    lines = self.unlogged,
                    "more lines were refused, see rejected/lines.log in the spool"
                );
            }
            *self = Self::new();
        }
        let mut logged = 0;
        for Sample { line, reason, text } in samples {
            if self.logged >= LOGGED {
                break;
            }
            warn!(%reason, line, text, "a line is refused");
            self.logged += 1;
            logged += 1;
        }
        self.unlogged += total - logged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &[u8]) -> Sample {
        Sample::new(Refused {
            line: 7,
            reason: Reason::InvalidUtf8,
            text,
        })
    }

    #[test]
    fn a_sample_is_cut_and_escaped() {
        assert_eq!(
            sample(b"a\xff\x1b[31m\"\t1").text,
            "a\u{fffd}\\u{1b}[31m\\\"\\t1"
        );
        let long = sample(&b"x".repeat(5000)).text;
        assert_eq!(long, "x".repeat(200) + "…");
    }

    #[test]
    fn the_file_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let log = RejectLog::new(dir.path());
        let samples = vec![sample(&b"x".repeat(5000)); SAMPLES_PER_POST];
        for _ in 0..1000 {
            log.note(&samples, 100_000);
        }
        let length = |name: &str| {
            fs::metadata(dir.path().join("rejected").join(name))
                .unwrap()
                .len()
        };
        let post_bytes = 20 * 300;
        for name in ["lines.log", "lines.log.1"] {
            assert!(length(name) < MAX_FILE_BYTES + post_bytes, "{name}");
        }
        assert_eq!(
            fs::read_dir(dir.path().join("rejected")).unwrap().count(),
            2
        );
        let text = fs::read_to_string(dir.path().join("rejected/lines.log")).unwrap();
        let line = text.lines().next().unwrap();
        assert!(line.contains(" invalid_utf8 line 7: xxx"), "{line}");
    }

    #[test]
    fn the_log_shows_some_and_counts_the_rest() {
        let log = RejectLog::new(Path::new("/nowhere"));
        let mut state = log.state.lock().unwrap();
        state.log(&vec![sample(b"x"); 4], 4);
        assert_eq!((state.logged, state.unlogged), (4, 0));
        state.log(&vec![sample(b"x"); 20], 100);
        assert_eq!((state.logged, state.unlogged), (LOGGED, 94));
        state.log(&[sample(b"x")], 1);
        assert_eq!((state.logged, state.unlogged), (LOGGED, 95));
    }
}
