//! Reading an answer's body: what can be wrong with it as a whole.

use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::answer;
use super::json::{Into, Object};
use super::row::STOPPED;
use crate::host::Host;
use crate::state::Lease;

/// Size of the buffer between the connection and the parser.
const BUFFER: usize = 32 * 1024;

/// Most bytes of a body that is read as a whole.
const SHORT: u64 = 64 * 1024;

/// Why a body could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection broke, or the text ended too soon.
    #[error("the answer broke off: {0}")]
    Truncated(String),
    /// Nothing came for too long, or the run's time was up.
    #[error("the answer took too long")]
    TimedOut,
    /// A web page where data should be: a proxy, or an outage.
    #[error("the answer is a web page{0}, not JSON")]
    Html(String),
    /// No JSON at all, or not the documented shape.
    #[error("the answer is not what the API documents: {0}")]
    Shape(String),
    /// The reader had enough.
    #[error("{STOPPED}")]
    Stopped,
}

/// A body that ends with an error when the run's time is up, however slowly it drips, and that
/// keeps the run's lease meanwhile.
pub struct Timed<'r> {
    inner: Box<dyn Read + 'r>,
    host: &'r dyn Host,
    deadline: DateTime<Utc>,
    lease: Rc<Lease<'r>>,
}

impl<'r> Timed<'r> {
    /// A body that is read up to `deadline`.
    pub fn new(
        inner: Box<dyn Read + 'r>,
        host: &'r dyn Host,
        deadline: DateTime<Utc>,
        lease: Rc<Lease<'r>>,
    ) -> Self {
        Self {
            inner,
            host,
            deadline,
            lease,
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.host.now() >= self.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.lease.keep();
        self.inner.read(into)
    }
}

/// Reads one JSON object into `object`.
///
/// # Errors
/// See [`BodyError`]. What came before the error has been taken by then.
pub fn read_object<'a>(
    body: impl Read + 'a,
    object: &mut impl for<'de> Object<'de>,
) -> Result<(), BodyError> {
    let mut body = BufReader::with_capacity(BUFFER, body);
    if first_byte(&mut body)? == Some(b'<') {
        return Err(BodyError::Html(title(body)));
    }
    let mut json = serde_json::Deserializer::from_reader(body);
    Into(object)
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| classify(&error))
}

/// Reads a short text as JSON, by the very parser that reads answers as a stream: serde_json's other
/// one, for slices, would be tens of kilobytes of wasm more.
///
/// # Errors
/// It is not JSON, or not of this type.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let body: Box<dyn Read + '_> = Box::new(bytes);
    serde_json::from_reader(BufReader::with_capacity(bytes.len(), body))
}

/// Reads a body of at most 64 KiB.
///
/// # Errors
/// It broke off, or did not come in time.
pub fn read_short(body: impl Read) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    let read = body.take(SHORT).read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| broken(&error))
}

/// Reads up to 64 KiB of a body as text, to quote from it in an error.
pub fn read_text(body: impl Read) -> String {
    let mut bytes = Vec::new();
    // What came before a broken connection is still worth a look.
    let _ = body.take(SHORT).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The beginning of a text from outside, on one line, for an error.
pub fn excerpt(text: &str) -> String {
    const MOST: usize = 200;
    let mut short: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .take(MOST + 1)
        .collect();
    if short.chars().count() > MOST {
        short.pop();
        short.push('…');
    }
    short
}

/// The words of an error's body: the message if it is JSON that holds one, else its beginning.
pub fn message(text: &str) -> String {
    let json = parse(text.as_bytes()).unwrap_or_default();
    answer::message(&json).unwrap_or_else(|| excerpt(text))
}

fn first_byte(body: &mut impl BufRead) -> Result<Option<u8>, BodyError> {
    loop {
        let buffer = body.fill_buf().map_err(|error| broken(&error))?;
        let blanks = buffer
            .iter()
            .take_while(|b| b.is_ascii_whitespace())
            .count();
        let (first, empty) = (buffer.get(blanks).copied(), buffer.is_empty());
        // Always, so that the place of an error does not depend on how the body comes in.
        body.consume(blanks);
        if first.is_some() || empty {
            return Ok(first);
        }
    }
}

/// ` titled "…"` if the page has a title.
fn title(body: impl Read) -> String {
    let text = read_text(body);
    let title = text
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"));
    title.map_or_else(String::new, |(title, _)| {
        format!(" titled \"{}\"", excerpt(title))
    })
}

fn classify(error: &serde_json::Error) -> BodyError {
    use serde_json::error::Category;
    match error.classify() {
        Category::Io if error.io_error_kind() == Some(io::ErrorKind::TimedOut) => {
            BodyError::TimedOut
        }
        Category::Io | Category::Eof => BodyError::Truncated(error.to_string()),
        Category::Data if error.to_string().starts_with(STOPPED) => BodyError::Stopped,
        Category::Syntax | Category::Data => BodyError::Shape(excerpt(&error.to_string())),
    }
}

fn broken(error: &io::Error) -> BodyError {
    match error.kind() {
        io::ErrorKind::TimedOut => BodyError::TimedOut,
        _ => BodyError::Truncated(error.to_string()),
    }
}
