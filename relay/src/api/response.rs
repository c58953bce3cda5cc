//! What becomes of a request, and the answer it gets.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use strum::{IntoStaticStr, VariantNames};

use crate::answer::{Answer, Counts};

/// What becomes of a post. Its name, in snake case, stands in the metrics.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// Its lines are on disk.
    Stored(Answer),
    /// They were before, under the same idempotency key; this is the answer given then.
    Repeated(Answer),
    /// It has no good line.
    NothingUsable(Counts),
    /// No token, or a wrong one.
    Unauthorized,
    /// A browser sent it for a page.
    ForeignOrigin,
    /// The request is wrong in itself.
    BadRequest(&'static str),
    /// It came too slowly, or stopped coming.
    TimedOut,
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body is packed in a way we do not know.
    UnknownEncoding,
    /// The spool is full.
    Full,
    /// The spool cannot be written to.
    Disk,
    /// Other bodies take all the memory that there is for bodies.
    Busy,
    /// The clocks of sender and relay differ, so that lines cannot be judged.
    ClockSkew,
    /// The relay has not opened its spool yet.
    Starting,
    /// The relay is stopping.
    Draining,
}

impl Outcome {
    /// Its status; seconds after which another try makes sense; whether the body was read to its end,
    /// so that the connection can carry another request; and what is wrong.
    const fn parts(&self) -> (StatusCode, Option<u32>, bool, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const LATER: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::Stored(_) | Self::Repeated(_) => (StatusCode::ACCEPTED, None, true, ""),
            Self::NothingUsable(_) => (BAD, None, true, "no usable line in the body"),
            Self::BadRequest(why) => (BAD, None, false, why),
            Self::Unauthorized => {
                let why = "a valid token is needed, send it as `Authorization: Bearer …`";
                (StatusCode::UNAUTHORIZED, None, false, why)
            }
            Self::ForeignOrigin => {
                let why = "a relay without tokens accepts no posts from browsers (Origin)";
                (StatusCode::FORBIDDEN, None, false, why)
            }
            Self::TimedOut => {
                let why = "the body came too slowly";
                (StatusCode::REQUEST_TIMEOUT, None, false, why)
            }
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, None, false, ""),
            Self::UnknownEncoding => {
                let why = "Content-Encoding must be gzip, identity or absent";
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, None, false, why)
            }
            Self::Full => (LATER, Some(30), true, "the spool is full, post again later"),
            Self::Disk => {
                let why = "the spool cannot be written to, post again later";
                (LATER, Some(30), true, why)
            }
            Self::Busy => {
                let why = "too many bodies at once, post again later";
                (LATER, Some(1), false, why)
            }
            Self::ClockSkew => {
                let why = "clock_skew: the clocks of relay and sender differ, set them right and post again (send a Date header)";
                (LATER, Some(60), true, why)
            }
            Self::Starting => {
                let why = "the relay is starting, post again later";
                (LATER, Some(5), false, why)
            }
            Self::Draining => {
                let why = "the relay is stopping, post again later";
                (LATER, Some(5), false, why)
            }
        }
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> Response<Full<Bytes>> {
        let (status, retry_after, body_was_read, why) = self.parts();
        let mut response = match self {
            Self::Stored(answer) | Self::Repeated(answer) => json(status, answer),
            Self::NothingUsable(counts) => json(status, &Unusable { error: why, counts }),
            Self::TooLarge(limit) => {
                let why = format!(
                    "the body has more than {limit} bytes of lines (max_body_bytes), post them in parts"
                );
                refuse(status, &why)
            }
            _ => refuse(status, why),
        };
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if *self == Self::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if !body_was_read {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The answer to a post without a good line.
#[derive(Serialize)]
struct Unusable<'a> {
    error: &'a str,
    #[serde(flatten)]
    counts: &'a Counts,
}

/// An answer that says what is wrong.
#[must_use]
pub fn refuse(status: StatusCode, error: &str) -> Response<Full<Bytes>> {
    json(status, &json!({ "error": error }))
}

/// An answer in JSON.
#[must_use]
pub fn json(status: StatusCode, content: &impl Serialize) -> Response<Full<Bytes>> {
    // These types have only strings as keys, so they always serialize.
    let text = serde_json::to_vec(content).unwrap_or_default();
    with_type(status, "application/json", text)
}

/// An answer of this type.
#[must_use]
pub fn with_type(
    status: StatusCode,
    content_type: &'static str,
    content: Vec<u8>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(content)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
