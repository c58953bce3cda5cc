//! Reading the body of an answer: with a deadline, and in short for messages.

use std::io::{self, Read};

use chrono::{DateTime, Utc};

use super::Host;

/// Most bytes of a body that is read for a message.
const SHORT: u64 = 64 * 1024;

/// A body that ends with an error at a deadline, however slowly it arrives.
pub struct DeadlineReader<'r, R> {
    inner: R,
    host: &'r dyn Host,
    deadline: DateTime<Utc>,
    /// Called before each read, to keep the run's lease.
    tick: &'r dyn Fn(),
}

impl<'r, R> DeadlineReader<'r, R> {
    /// A body that is read up to `deadline`; `tick` is called before each read.
    pub fn new(inner: R, host: &'r dyn Host, deadline: DateTime<Utc>, tick: &'r dyn Fn()) -> Self {
        Self {
            inner,
            host,
            deadline,
            tick,
        }
    }
}

impl<R: Read> Read for DeadlineReader<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.host.now() >= self.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        (self.tick)();
        self.inner.read(into)
    }
}

/// Reads up to 64 KiB of a body as text. A broken connection ends it: what came before is still
/// worth a message.
pub fn read_text(body: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = body.take(SHORT).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The beginning of a text from outside, on one line, for a message.
pub fn excerpt(text: &str) -> String {
    const MOST: usize = 200;
    let words: Vec<&str> = text.split_whitespace().take(MOST).collect();
    let line = words.join(" ");
    let mut chars = line.chars().map(|c| if c.is_control() { '_' } else { c });
    let mut short: String = chars.by_ref().take(MOST).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
