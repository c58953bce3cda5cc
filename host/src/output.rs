//! What the guest prints, line by line.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// A longer line is cut here, so that a guest cannot fill the memory of the host.
const LONGEST_LINE: usize = 64 * 1024;

/// Takes the lines that guests print; clones share it. The default makes log lines of them.
#[derive(Clone)]
pub struct GuestOutput {
    sink: Arc<dyn Fn(&str) + Send + Sync>,
}

impl GuestOutput {
    /// Hands each line, without its end, to `sink`.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            sink: Arc::new(sink),
        }
    }

    /// A stream for one instance.
    pub(crate) fn stream(&self) -> LineStream {
        let line = Line {
            text: Vec::new(),
            output: self.clone(),
        };
        LineStream {
            line: Arc::new(Mutex::new(line)),
        }
    }
}

impl Default for GuestOutput {
    fn default() -> Self {
        Self::new(log)
    }
}

/// The component's lines begin with their level: `WARN …`. Others tell of a crash, or go on with an
/// error of several lines.
fn log(line: &str) {
    match line.split_once(' ') {
        Some(("ERROR", text)) => tracing::error!(target: "component", "{text}"),
        Some(("WARN", text)) => tracing::warn!(target: "component", "{text}"),
        Some(("INFO", text)) => tracing::info!(target: "component", "{text}"),
        Some(("DEBUG", text)) => tracing::debug!(target: "component", "{text}"),
        _ => tracing::warn!(target: "component", "{line}"),
    }
}

/// Standard output or error of one instance: all handles of the guest add to the same line.
#[derive(Clone)]
pub(crate) struct LineStream {
    line: Arc<Mutex<Line>>,
}

struct Line {
    text: Vec<u8>,
    output: GuestOutput,
}

impl Line {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.split_last() {
                Some((b'\n', rest)) => {
                    self.text.extend_from_slice(rest);
                    self.end();
                }
                _ => self.text.extend_from_slice(part),
            }
            if self.text.len() >= LONGEST_LINE {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        (self.output.sink)(&String::from_utf8_lossy(&self.text));
        self.text.clear();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.end();
        }
    }
}

impl LineStream {
    fn append(&self, bytes: &[u8]) {
        // A line that a panicking thread left behind is still a line.
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.write(bytes);
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
        self.append(&bytes);
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
    use super::{GuestOutput, LONGEST_LINE};
    use std::sync::{Arc, Mutex};

    fn check(writes: &[&[u8]], expect: &[&str]) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let output = GuestOutput::new(move |line| sink.lock().unwrap().push(line.to_owned()));
        let stream = output.stream();
        for write in writes {
            // Another handle each time, as a guest may do.
            stream.clone().append(write);
        }
        drop(stream);
        assert_eq!(*lines.lock().unwrap(), expect);
    }

    #[test]
    fn lines_come_whole() {
        check(&[], &[]);
        check(&[b"a\nb"], &["a", "b"]);
        check(&[b"a", b"b\n", b"\n", b"c\n"], &["ab", "", "c"]);
        check(&[b"\xff\n"], &["\u{fffd}"]);
        let long = vec![b'x'; LONGEST_LINE];
        let text = String::from_utf8(long.clone()).unwrap();
        check(&[&long, b"y\n"], &[&text, "y"]);
    }
}
