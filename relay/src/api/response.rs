//! Answers, and why a post is refused.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use strum::{IntoStaticStr, VariantNames};

use crate::answer::Counts;
use crate::spool::store::{StoreError, Stored};

/// An answer to a request.
pub type Answer = Response<Full<Bytes>>;

/// Why a post is refused. Its name, in snake case, stands in the metrics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// It has no good line.
    #[error("no usable line in the body")]
    NothingUsable(Counts),
    /// The request is wrong in itself.
    #[error("{0}")]
    BadRequest(&'static str),
    /// No token, or a wrong one.
    #[error("a valid token is needed, send it as `Authorization: Bearer …`")]
    Unauthorized,
    /// A browser sent it for a page.
    #[error("a relay without tokens accepts no posts from browsers (Origin)")]
    ForeignOrigin,
    /// It came too slowly, or stopped coming.
    #[error("the body came too slowly")]
    TimedOut,
    /// The body is larger than this many bytes.
    #[error("the body has more than {0} bytes of lines (max_body_bytes), post them in parts")]
    TooLarge(usize),
    /// The body is packed in a way we do not know.
    #[error("Content-Encoding must be gzip, identity or absent")]
    UnknownEncoding,
    /// The spool is full.
    #[error("the spool is full, post again later")]
    Full,
    /// The spool cannot be written to.
    #[error("the spool cannot be written to, post again later")]
    Disk,
    /// Other bodies take all the memory that there is for bodies.
    #[error("too many bodies at once, post again later")]
    Busy,
    /// The clocks of sender and relay differ, so that lines cannot be judged.
    #[error(
        "clock_skew: the clocks of relay and sender differ, set them right and post again (send a Date header)"
    )]
    ClockSkew,
    /// The relay has not opened its spool yet.
    #[error("the relay is starting, post again later")]
    Starting,
    /// The relay is stopping.
    #[error("the relay is stopping, post again later")]
    Draining,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Disk => Self::Disk,
        }
    }
}

impl Refusal {
    /// The answer.
    fn response(&self) -> Answer {
        // Seconds after which another try makes sense.
        let (status, retry_after) = match self {
            Self::NothingUsable(_) | Self::BadRequest(_) => (StatusCode::BAD_REQUEST, None),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, None),
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, None),
            Self::TimedOut => (StatusCode::REQUEST_TIMEOUT, None),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, None),
            Self::UnknownEncoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
            Self::Full | Self::Disk => (StatusCode::SERVICE_UNAVAILABLE, Some(30)),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            Self::ClockSkew => (StatusCode::SERVICE_UNAVAILABLE, Some(60)),
            Self::Starting | Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, Some(5)),
        };
        let mut response = match self {
            Self::NothingUsable(counts) => {
                let error = self.to_string();
                json(status, &Unusable { error, counts })
            }
            _ => refuse(status, &self.to_string()),
        };
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if *self == Self::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if !matches!(
            self,
            Self::NothingUsable(_) | Self::Full | Self::Disk | Self::ClockSkew
        ) {
            // The body was not read to its end.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Names of what becomes of a post that is stored, beside those of [`Refusal`].
pub const STORED: [&str; 2] = ["stored", "repeated"];

/// The name of what becomes of a post, for the metrics, and its answer.
#[must_use]
pub fn outcome(result: &Result<Stored, Refusal>) -> (&'static str, Answer) {
    let [stored, repeated] = STORED;
    match result {
        Ok(Stored::Now(answer)) => (stored, json(StatusCode::ACCEPTED, answer)),
        Ok(Stored::Before(answer)) => (repeated, json(StatusCode::ACCEPTED, answer)),
        Err(refusal) => (refusal.into(), refusal.response()),
    }
}

/// The answer to a post without a good line.
#[derive(Serialize)]
struct Unusable<'a> {
    error: String,
    #[serde(flatten)]
    counts: &'a Counts,
}

/// An answer that says what is wrong.
#[must_use]
pub fn refuse(status: StatusCode, error: &str) -> Answer {
    json(status, &json!({ "error": error }))
}

/// An answer in JSON.
#[must_use]
pub fn json(status: StatusCode, content: &impl Serialize) -> Answer {
    // These types have only strings as keys, so they always serialize.
    let text = serde_json::to_vec(content).unwrap_or_default();
    with_type(status, "application/json", text)
}

/// An answer of this type.
#[must_use]
pub fn with_type(
    status: StatusCode,
    content_type: &'static str,
    content: impl Into<Bytes>,
) -> Answer {
    let mut response = Response::new(Full::new(content.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
