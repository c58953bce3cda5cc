//! The answer to a call.

use std::io::{self, Cursor, Read};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{Response, StatusCode};
use serde::Serialize;

/// What happens after a call.
pub struct Reply {
    /// How long the answer takes to come. The sandbox itself never waits: the server does, and a
    /// caller in process moves its clock, or gives up.
    pub delay: Duration,
    /// What comes then; without it the connection is refused, and the server closes it at once.
    pub answer: Option<Response<Body>>,
}

/// The bytes of an answer. One that a fault cut ends with [`io::ErrorKind::UnexpectedEof`].
#[derive(Debug)]
pub struct Body {
    bytes: Cursor<Vec<u8>>,
    is_cut: bool,
}

impl Body {
    /// The same body, cut off after so many bytes, or in the middle.
    pub(crate) fn cut(mut self, after: Option<usize>) -> Self {
        let bytes = self.bytes.get_mut();
        bytes.truncate(after.unwrap_or(bytes.len() / 2));
        self.is_cut = true;
        self
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.bytes.read(buffer)? {
            0 if self.is_cut && !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// An answer with a body of the given type.
pub(crate) fn response(
    status: StatusCode,
    content: &str,
    body: impl Into<Vec<u8>>,
) -> Response<Body> {
    let mut response = Response::new(Body {
        bytes: Cursor::new(body.into()),
        is_cut: false,
    });
    *response.status_mut() = status;
    add_header(&mut response, CONTENT_TYPE.as_str(), content);
    response
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Only maps with keys that are no text can fail, and there are none.
    response(status, JSON, serde_json::to_vec(value).unwrap_or_default())
}

/// The content type of the API's answers.
pub(crate) const JSON: &str = "application/json; charset=utf-8";

/// Sets a header; one that HTTP does not allow is left out.
pub(crate) fn add_header(response: &mut Response<Body>, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
        response.headers_mut().insert(name, value);
    }
}

/// The same answer, compressed.
pub(crate) fn gzip(mut response: Response<Body>) -> Response<Body> {
    let mut packed = Vec::new();
    let plain = response.body().bytes.get_ref().as_slice();
    // Memory to memory: it cannot fail.
    let _ = GzEncoder::new(plain, Compression::fast()).read_to_end(&mut packed);
    *response.body_mut().bytes.get_mut() = packed;
    add_header(&mut response, CONTENT_ENCODING.as_str(), "gzip");
    response
}
