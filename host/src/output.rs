//! What the guest prints, line by line.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// A longer line is cut here, so that a guest cannot fill the memory of the host.
const LONGEST_LINE: usize = 64 * 1024;

/// What the report of a run begins with. It has a target of its own, for whoever gets it in another way.
const REPORT: &str = "run=";

/// The component's lines begin with their level: `WARN …`. Others tell of a crash, or go on with an
/// error of several lines.
fn log(line: &str) {
    match line.split_once(' ') {
        Some(("ERROR", text)) if text.starts_with(REPORT) => {
            tracing::error!(target: "component::report", "{text}")
        }
        Some(("WARN", text)) if text.starts_with(REPORT) => {
            tracing::warn!(target: "component::report", "{text}")
        }
        Some(("INFO", text)) if text.starts_with(REPORT) => {
            tracing::info!(target: "component::report", "{text}")
        }
        Some(("ERROR", text)) => tracing::error!(target: "component", "{text}"),
        Some(("WARN", text)) => tracing::warn!(target: "component", "{text}"),
        Some(("INFO", text)) => tracing::info!(target: "component", "{text}"),
        Some(("DEBUG", text)) => tracing::debug!(target: "component", "{text}"),
        _ => tracing::warn!(target: "component", "{line}"),
    }
}

/// Standard output or error of one instance, which become log lines: all handles of the guest add to
/// the same line.
#[derive(Clone, Default)]
pub(crate) struct LineStream(Arc<Mutex<Line>>);

/// A line without an end so far.
#[derive(Default)]
struct Line(Vec<u8>);

impl Line {
    /// Adds what the guest has written, and hands over each line that has an end now.
    fn write(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let rest = part.strip_suffix(b"\n");
            self.0.extend_from_slice(rest.unwrap_or(part));
            if rest.is_some() || self.0.len() >= LONGEST_LINE {
                each(&String::from_utf8_lossy(&self.0));
                self.0.clear();
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            log(&String::from_utf8_lossy(&self.0));
        }
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Of WASI 0.3 alone, which no component here uses.
        Box::new(tokio::io::sink())
    }

    // The provided stream writes in a task of its own and loses the end of what a trapping guest
    // said; this one has written when the guest goes on.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        // A line that a panicking thread left behind is still a line.
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.write(&bytes, log);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(LONGEST_LINE)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINE, Line};

    #[test]
    fn lines_come_whole() {
        let check = |writes: &[&[u8]], expect: &[&str], left: &[u8]| {
            let (mut line, mut lines) = (Line::default(), Vec::new());
            for write in writes {
                line.write(write, |line| lines.push(line.to_owned()));
            }
            assert_eq!(lines, expect);
            assert_eq!(line.0, left);
        };
        check(&[], &[], b"");
        check(&[b"a\nb"], &["a"], b"b");
        check(&[b"a", b"b\n", b"\n", b"c\n"], &["ab", "", "c"], b"");
        check(&[b"\xff\n"], &["\u{fffd}"], b"");
        let long = "x".repeat(LONGEST_LINE);
        check(&[long.as_bytes(), b"y\n"], &[&long, "y"], b"");
    }
}
