//! What becomes of a request, and the answer it gets.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use strum::{IntoStaticStr, VariantNames};

use crate::answer::{Answer, Rejected};

/// What becomes of a post. Its name, in snake case, stands in the metrics.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// Its lines are on disk.
    Stored(Answer),
    /// They were before, under the same idempotency key; this is the answer given then.
    Repeated(Answer),
    /// It has no good line.
    NothingUsable {
        /// The refused lines.
        rejected: Vec<Rejected>,
        /// How many there are.
        rejected_total: u64,
    },
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

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<&'a [Rejected]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_total: Option<u64>,
}

impl<'a> Refusal<'a> {
    const fn new(error: &'a str) -> Self {
        Self {
            error,
            accepted: None,
            rejected: None,
            rejected_total: None,
        }
    }
}

impl Outcome {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Stored(_) | Self::Repeated(_) => StatusCode::ACCEPTED,
            Self::NothingUsable { .. } | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Full
            | Self::Disk
            | Self::Busy
            | Self::ClockSkew
            | Self::Starting
            | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds after which another try makes sense.
    const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::ClockSkew => Some(60),
            Self::Full | Self::Disk => Some(30),
            Self::Starting | Self::Draining => Some(5),
            Self::Busy => Some(1),
            _ => None,
        }
    }

    /// Whether the body was read to its end, so that the connection can carry another request.
    const fn body_was_read(&self) -> bool {
        matches!(
            self,
            Self::Stored(_)
                | Self::Repeated(_)
                | Self::NothingUsable { .. }
                | Self::Full
                | Self::Disk
                | Self::ClockSkew
        )
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> Response<Full<Bytes>> {
        let mut response = match self {
            Self::Stored(answer) | Self::Repeated(answer) => json(self.status(), answer),
            Self::NothingUsable {
                rejected,
                rejected_total,
            } => json(
                self.status(),
                &Refusal {
                    accepted: Some(0),
                    rejected: Some(rejected),
                    rejected_total: Some(*rejected_total),
                    ..Refusal::new("no usable line in the body")
                },
            ),
            Self::TooLarge(limit) => refuse(
                self.status(),
                &format!(
                    "the body has more than {limit} bytes of lines (max_body_bytes), post them in parts"
                ),
            ),
            other => refuse(other.status(), other.why()),
        };
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if *self == Self::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if !self.body_was_read() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    const fn why(&self) -> &'static str {
        match self {
            Self::Unauthorized => "a valid token is needed, send it as `Authorization: Bearer …`",
            Self::ForeignOrigin => "a relay without tokens accepts no posts from browsers (Origin)",
            Self::BadRequest(why) => why,
            Self::TimedOut => "the body came too slowly",
            Self::UnknownEncoding => "Content-Encoding must be gzip, identity or absent",
            Self::Full => "the spool is full, post again later",
            Self::Disk => "the spool cannot be written to, post again later",
            Self::Busy => "too many bodies at once, post again later",
            Self::ClockSkew => {
                "clock_skew: the clocks of relay and sender differ, set them right and post again (send a Date header)"
            }
            Self::Starting => "the relay is starting, post again later",
            Self::Draining => "the relay is stopping, post again later",
            Self::Stored(_)
            | Self::Repeated(_)
            | Self::NothingUsable { .. }
            | Self::TooLarge(_) => "",
        }
    }
}

/// An answer that says what is wrong.
#[must_use]
pub fn refuse(status: StatusCode, error: &str) -> Response<Full<Bytes>> {
    json(status, &Refusal::new(error))
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
