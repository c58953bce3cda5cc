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

use std::io;

use bytes::Bytes;
use memchr::{memchr, memrchr};
use strum::VariantArray as _;

use crate::answer::{MAX_LISTED, Rejected};
pub use reason::{Reason, Refused};
use reject_log::{SAMPLES_PER_POST, Sample};
use validate::{MAX_LINE_BYTES, TimeBound, all_clean, check};

/// Lines are checked in blocks of so many bytes, more than the longest line has.
const BLOCK_BYTES: usize = 64 << 10;

/// The lines of a body, checked.
#[derive(Debug, Default)]
pub struct CheckedLines {
    /// The good lines in order, each ended by a newline; no line lies in two of the blocks.
    pub good: Vec<Bytes>,
    /// How many these are.
    pub accepted: u64,
    /// The refused ones, at most [`MAX_LISTED`].
    pub rejected: Vec<Rejected>,
    /// How many were refused.
    pub rejected_total: u64,
    /// These by their reason, in the order of [`Reason::VARIANTS`].
    pub by_reason: [u64; Reason::VARIANTS.len()],
    /// Some of them.
    pub samples: Vec<Sample>,
}

impl CheckedLines {
    /// How many lines were refused for this reason.
    #[must_use]
    pub fn refused(&self, reason: Reason) -> u64 {
        self.by_reason.get(reason as usize).copied().unwrap_or(0)
    }

    fn refuse(&mut self, refused: Refused<'_>) {
        let Refused { line, reason, .. } = refused;
        if let Some(count) = self.by_reason.get_mut(reason as usize) {
            *count += 1;
        }
        self.rejected_total += 1;
        if self.rejected.len() < MAX_LISTED {
            let reason = reason.name().to_owned();
            self.rejected.push(Rejected { line, reason });
        }
        if self.samples.len() < SAMPLES_PER_POST {
            self.samples.push(Sample::new(refused));
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
    good_bytes: usize,
    /// What came since the last line that was checked.
    block: Vec<u8>,
    lines: CheckedLines,
}

impl Checker {
    /// For a body of at most `max_bytes`, with timestamps up to this bound.
    #[must_use]
    pub fn new(bound: TimeBound, max_bytes: usize) -> Self {
        Self {
            bound,
            max_bytes,
            bytes: 0,
            good_bytes: 0,
            block: Vec::new(),
            lines: CheckedLines::default(),
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
        self.good_bytes + self.block.capacity()
    }

    /// Checks what is left, and gives all lines. The last one may lack its newline.
    #[must_use]
    pub fn finish(mut self) -> CheckedLines {
        if self.block.last().is_some_and(|last| *last != b'\n') {
            self.reserve(1);
            self.block.push(b'\n');
        }
        self.check_block();
        self.lines
    }

    /// Checks the whole lines of the block, and leaves the rest of it for the next one.
    fn check_block(&mut self) {
        let Some(end) = memrchr(b'\n', &self.block) else {
            // One line, too long: enough of it stays to find so when its end comes.
            self.block.truncate(MAX_LINE_BYTES + 1);
            return;
        };
        let rest = self.block.split_off(end + 1);
        let mut block = std::mem::take(&mut self.block);
        if !rest.is_empty() {
            self.reserve(BLOCK_BYTES);
            self.block.extend_from_slice(&rest);
        }
        let first = self.lines.accepted + self.lines.rejected_total + 1;
        let (bytes, accepted) = keep_good(&mut block, first, self.bound, |refused| {
            self.lines.refuse(refused);
        });
        self.lines.accepted += accepted;
        block.truncate(bytes);
        if bytes < block.capacity() / 2 {
            block.shrink_to_fit();
        }
        self.good_bytes += block.capacity();
        if !block.is_empty() {
            self.lines.good.push(Bytes::from(block));
        }
    }

    /// Makes room in the block for so many bytes more. Small bodies take what they need, and large ones
    /// blocks of one size, which the heap can use again and again.
    fn reserve(&mut self, bytes: usize) {
        let length = self.block.len() + bytes;
        let capacity = if length > BLOCK_BYTES / 4 {
            BLOCK_BYTES
        } else {
            length.next_power_of_two()
        };
        if length > self.block.capacity() {
            let more = capacity.max(length) - self.block.len();
            self.block.reserve_exact(more);
        }
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
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = BLOCK_BYTES.saturating_sub(self.block.len());
            let piece;
            (piece, rest) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.reserve(piece.len());
            self.block.extend_from_slice(piece);
            if self.block.len() >= BLOCK_BYTES {
                self.check_block();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Moves the good lines of `block` together at its front, and calls `on_refused` for each of the
/// others, in order; `number` is that of the first line. Each line must be ended by a `\n`. The lines
/// stay as they came, but for a `\r` before the `\n`, which is taken off. Gives the length of the good
/// ones, and how many they are. A block without a bad line is not moved at all.
fn keep_good(
    block: &mut [u8],
    mut number: u64,
    bound: TimeBound,
    mut on_refused: impl FnMut(Refused<'_>),
) -> (usize, u64) {
    let clean = all_clean(block);
    let mut kept = Kept::default();
    let mut accepted = 0;
    let mut start = 0;
    while let Some(length) = block.get(start..).and_then(|rest| memchr(b'\n', rest)) {
        let end = start + length;
        let raw = block.get(start..end).unwrap_or_default();
        let line = raw.strip_suffix(b"\r").unwrap_or(raw);
        match check(line, clean, bound) {
            Ok(()) => {
                accepted += 1;
                if line.len() < raw.len() {
                    let carriage_return = start + line.len();
                    kept.cut(block, carriage_return, end);
                }
            }
            Err(reason) => {
                on_refused(Refused {
                    line: number,
                    reason,
                    text: line,
                });
                kept.cut(block, start, end + 1);
            }
        }
        start = end + 1;
        number += 1;
    }
    kept.cut(block, start, start);
    (kept.end, accepted)
}

/// The part of a block that is kept, moved together at its front.
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
    fn cut(&mut self, block: &mut [u8], from: usize, to: usize) {
        if self.end < self.run && self.run < from {
            block.copy_within(self.run..from, self.end);
        }
        self.end += from - self.run;
        self.run = to;
    }
}

#[cfg(test)]
mod tests;
