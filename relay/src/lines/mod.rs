//! Checks Graphite plaintext lines before carbon can see them.
//!
//! One bad line can cost its neighbours: carbon closes the connection over invalid UTF-8 or an
//! overlong line and loses all that follows, a timestamp in milliseconds loses the good points
//! written with it, and one malformed tag makes graphite-web refuse a whole batch for its tag
//! index. So each line that carbon, whisper or graphite-web 1.1.10 would stumble over, or would
//! drop without a word, is refused here and answered with its [`Reason`].
//!
//! What they do store well is let through: `#`, `(`, `)`, `%`, brackets, quotes and any printable
//! character of Unicode.
//!
//! # Layout
//! - this file: a body, in pieces as it comes, becomes [`CheckedLines`]
//! - [`validate`] the checks of one line
//! - [`reason`] why a line is refused
//! - [`reject_log`] samples of refused lines, in the log and in a file

pub mod reason;
pub mod reject_log;
pub mod validate;

use std::collections::BTreeMap;
use std::io;

use bytes::{Bytes, BytesMut};
use memchr::{memchr_iter, memrchr};
use sha2::{Digest as _, Sha256};

use crate::answer::{Counts, MAX_LISTED, Rejected};
pub use reason::Reason;
use reject_log::{SAMPLES_PER_POST, Sample, sample};
use validate::{MAX_LINE_BYTES, TimeBound, all_clean, check};

/// Lines are checked as soon as there are so many bytes, more than the longest line has.
const BLOCK_BYTES: usize = 64 << 10;

/// The lines of a body, checked.
#[derive(Debug, Default)]
pub struct CheckedLines {
    /// The good lines in order, each ended by a newline; no line lies in two of the blocks.
    pub good: Vec<Bytes>,
    /// How many these are, and the refused ones.
    pub counts: Counts,
    /// How many were refused for each reason.
    pub by_reason: BTreeMap<Reason, u64>,
    /// Some of the refused ones.
    pub samples: Vec<Sample>,
    /// The SHA-256 of the good lines, if that is wanted.
    pub digest: Option<[u8; 32]>,
}

impl CheckedLines {
    fn refuse(&mut self, reason: Reason, text: &[u8]) {
        *self.by_reason.entry(reason).or_default() += 1;
        self.counts.rejected_total += 1;
        let line = self.counts.accepted + self.counts.rejected_total;
        if self.counts.rejected.len() < MAX_LISTED {
            self.counts.rejected.push(Rejected { line, reason });
        }
        if self.samples.len() < SAMPLES_PER_POST {
            self.samples.push((reason, sample(line, text)));
        }
    }
}

/// Checks a body while it comes, and keeps its good lines only.
#[derive(Debug)]
pub struct Checker {
    bound: TimeBound,
    max_bytes: usize,
    /// Written so far.
    bytes: usize,
    /// What came since the last line that was checked.
    block: BytesMut,
    lines: CheckedLines,
    /// Takes the good lines; none if nobody wants their digest.
    pub digest: Option<Sha256>,
}

impl Checker {
    /// For a body of at most `max_bytes`, with timestamps up to this bound.
    #[must_use]
    pub fn new(bound: TimeBound, max_bytes: usize) -> Self {
        Self {
            bound,
            max_bytes,
            bytes: 0,
            block: BytesMut::new(),
            lines: CheckedLines::default(),
            digest: None,
        }
    }

    /// How much of the body was written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much memory its lines take.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.lines.good.iter().map(Bytes::len).sum::<usize>() + self.block.capacity()
    }

    /// Checks what is left, and gives all lines. The last one may lack its newline.
    #[must_use]
    pub fn finish(mut self) -> CheckedLines {
        if self.block.last().is_some_and(|last| *last != b'\n') {
            self.block.extend_from_slice(b"\n");
        }
        self.check_block();
        self.lines.digest = self.digest.map(|digest| digest.finalize().into());
        self.lines
    }

    /// Checks the whole lines of the block, and leaves the rest of it for the next one.
    fn check_block(&mut self) {
        let Some(end) = memrchr(b'\n', &self.block) else {
            // One line, too long: enough of it stays to find so when its end comes.
            self.block.truncate(MAX_LINE_BYTES + 1);
            return;
        };
        let block = self.block.split_to(end + 1).freeze();
        let good = self.keep_good(&block).map_or(block, Bytes::from);
        if !good.is_empty() {
            if let Some(digest) = &mut self.digest {
                digest.update(&good);
            }
            self.lines.good.push(good);
        }
    }

    /// Notes the good and the refused lines of a block; each must be ended by a `\n`. The good ones stay
    /// as they came, but for a `\r` before the `\n`, which is taken off. Gives them, or none if the block
    /// holds nothing else.
    fn keep_good(&mut self, block: &[u8]) -> Option<Vec<u8>> {
        let clean = all_clean(block);
        let mut good = None;
        // From here on nothing is decided or kept yet.
        let mut run = 0;
        let mut leave_out = |from: usize, to: usize| {
            let good = good.get_or_insert_with(|| Vec::with_capacity(block.len()));
            good.extend_from_slice(block.get(run..from).unwrap_or_default());
            run = to;
        };
        let (mut start, mut good_tags) = (0, None);
        for newline in memchr_iter(b'\n', block) {
            let raw = block.get(start..newline).unwrap_or_default();
            let text = raw.strip_suffix(b"\r").unwrap_or(raw);
            match check(text, clean, &mut good_tags, self.bound) {
                Ok(()) => {
                    self.lines.counts.accepted += 1;
                    if text.len() < raw.len() {
                        leave_out(start + text.len(), newline);
                    }
                }
                Err(reason) => {
                    self.lines.refuse(reason, text);
                    leave_out(start, newline + 1);
                }
            }
            start = newline + 1;
        }
        let mut good = good?;
        good.extend_from_slice(block.get(run..).unwrap_or_default());
        good.shrink_to_fit();
        Some(good)
    }
}

/// Writing more than there is room for writes nothing: it gives 0, which `write_all` takes for an
/// error.
impl io::Write for Checker {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.max_bytes - self.bytes {
            return Ok(0);
        }
        self.bytes += bytes.len();
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK_BYTES {
            self.check_block();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
