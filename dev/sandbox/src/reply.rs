//! The answer to a call. Its body is made while it is read, so that an answer of any size needs the
//! memory of one item.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

/// What happens after a call.
#[derive(Debug)]
pub struct Reply {
    /// How long the answer takes to come. The sandbox itself never waits: the server does, and a
    /// caller in process moves its clock, or gives up.
    pub delay: Duration,
    /// What comes then.
    pub outcome: Outcome,
}

/// How a call ends.
#[derive(Debug)]
pub enum Outcome {
    /// With an answer.
    Answer(Response<Body>),
    /// Without one: the connection is refused. The server closes it at once.
    Refused,
}

impl Reply {
    /// The answer, if there is one.
    pub fn answer(self) -> Option<Response<Body>> {
        match self.outcome {
            Outcome::Answer(response) => Some(response),
            Outcome::Refused => None,
        }
    }
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        Self {
            delay: Duration::ZERO,
            outcome: Outcome::Answer(response),
        }
    }
}

/// A body that is made while it is read. One that a fault cut ends with
/// [`io::ErrorKind::UnexpectedEof`].
pub struct Body {
    source: Box<dyn Read + Send>,
    /// How many bytes come before the cut, if there is one.
    left: Option<u64>,
}

impl Body {
    pub(crate) fn new(source: impl Read + Send + 'static) -> Self {
        let source = Box::new(source);
        Self { source, left: None }
    }

    pub(crate) fn chunks(chunks: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Self {
        let chunk = Cursor::default();
        Self::new(Chunks { chunks, chunk })
    }

    pub(crate) fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(Cursor::new(bytes.into()))
    }

    /// The same body, cut off after so many bytes.
    pub(crate) fn cut(self, after: u64) -> Self {
        Self {
            left: Some(after),
            ..self
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.left else {
            return self.source.read(buffer);
        };
        match (&mut self.source).take(left).read(buffer)? {
            // A cut body has no good end, even if it was shorter than the cut.
            0 if !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.left = Some(left.saturating_sub(read as u64));
                Ok(read)
            }
        }
    }
}

struct Chunks<I> {
    chunks: I,
    chunk: Cursor<Vec<u8>>,
}

impl<I: Iterator<Item = Vec<u8>>> Read for Chunks<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.chunk.read(buffer)? {
                0 if !buffer.is_empty() => match self.chunks.next() {
                    Some(chunk) => self.chunk = Cursor::new(chunk),
                    None => return Ok(0),
                },
                read => return Ok(read),
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// An answer with a body of the given type.
pub(crate) fn response(status: StatusCode, content: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    response(status, JSON, Body::whole(to_json(value)))
}

/// The content type of the API's answers.
pub(crate) const JSON: &str = "application/json; charset=utf-8";

/// JSON of any type of this crate.
#[expect(
    clippy::expect_used,
    reason = "only maps with keys that are no strings can fail"
)]
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the types of this crate have no such maps")
}

/// The members of a JSON array, with the commas between them.
pub(crate) fn members(
    members: impl Iterator<Item = Vec<u8>> + Send,
) -> impl Iterator<Item = Vec<u8>> + Send {
    members.enumerate().map(|(n, mut member)| {
        if n > 0 {
            member.insert(0, b',');
        }
        member
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Body {
        Body::chunks(["one", "", "two", "three"].into_iter().map(Vec::from))
    }

    #[test]
    fn a_body_is_its_chunks() {
        assert_eq!(io::read_to_string(body()).unwrap(), "onetwothree");
    }

    #[test]
    fn a_cut_body_gives_what_is_before_the_cut_and_then_fails() {
        let check = |after, expect: &str| {
            let mut read = Vec::new();
            let mut cut = body().cut(after);
            let error = cut.read_to_end(&mut read).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(
                cut.read(&mut [0]).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof
            );
            assert_eq!(read, expect.as_bytes());
        };
        check(0, "");
        check(3, "one");
        check(4, "onet");
        check(11, "onetwothree");
        check(99, "onetwothree");
    }
}
