//! The way of a post: let in by its head, read and checked, stored, answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, DATE, EXPECT, HeaderMap, HeaderValue, ORIGIN,
};
use strum::VariantArray as _;
use tracing::warn;

use super::body::{Decoder, Encoding, linger};
use super::response::Outcome;
use super::{Service, Store};
use crate::blocking;
use crate::clock;
use crate::lines::validate::TimeBound;
use crate::lines::{CheckedLines, Reason};
use crate::server::admission::Ticket;
use crate::spool::keys::Key;
use crate::spool::store::{Post, StoreError, Stored};

/// Longest idempotency key.
const MAX_KEY_BYTES: usize = 255;

/// What the head of a post says.
struct Head<'a> {
    store: &'a Store,
    encoding: Encoding,
    key: Option<Vec<u8>>,
    /// The sender's clock, in seconds since 1970.
    date: Option<u64>,
    /// When the one result was measured that the lines are of, in seconds since 1970.
    result_time: Option<u64>,
}

impl Service {
    pub(super) async fn post(
        &self,
        request: Request<Incoming>,
        ticket: &Ticket,
        sender: SocketAddr,
    ) -> Outcome {
        let (head, mut body) = request.into_parts();
        let (outcome, asked) = match self.admit(&head.headers, body.size_hint().lower(), sender) {
            Ok(admitted) => (self.take(admitted, &mut body, ticket).await, true),
            Err(outcome) => (outcome, !head.headers.contains_key(EXPECT)),
        };
        // A sender that waits to be asked for the body (100-continue) does not send it.
        if asked && !body.is_end_stream() {
            tokio::spawn(linger(body));
        }
        outcome
    }

    /// Decides by the head alone, before anything of the body is read.
    fn admit(
        &self,
        headers: &HeaderMap,
        body_bytes: u64,
        sender: SocketAddr,
    ) -> Result<Head<'_>, Outcome> {
        match &self.tokens {
            Some(tokens) if !tokens.current().allow(headers) => {
                self.note_unauthorized(sender, headers.contains_key(AUTHORIZATION));
                return Err(Outcome::Unauthorized);
            }
            Some(_) => {}
            // A page of any site may have a browser post to a relay on its user's machine. No sender
            // but a browser says where a page is from.
            None if headers.contains_key(ORIGIN) => return Err(Outcome::ForeignOrigin),
            None => {}
        }
        if self.is_stopping() {
            return Err(Outcome::Draining);
        }
        let store = self.store.get().ok_or(Outcome::Starting)?;
        let encoding = match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None => Encoding::Identity,
            Some(name) if name.eq_ignore_ascii_case(b"identity") => Encoding::Identity,
            Some(name) if name.eq_ignore_ascii_case(b"gzip") => Encoding::Gzip,
            Some(_) => return Err(Outcome::UnknownEncoding),
        };
        let limit = self.reader.max_bytes();
        if body_bytes > limit as u64 {
            return Err(Outcome::TooLarge(limit));
        }
        let key = match headers.get("idempotency-key").map(HeaderValue::as_bytes) {
            Some(text) if text.is_empty() || text.len() > MAX_KEY_BYTES => {
                return Err(Outcome::BadRequest(
                    "Idempotency-Key must have 1 to 255 characters",
                ));
            }
            key => key.map(<[u8]>::to_vec),
        };
        Ok(Head {
            store,
            encoding,
            key,
            date: date(headers),
            result_time: seconds(headers.get("result-time")),
        })
    }

    /// Logs that a request had no valid token.
    pub(super) fn note_unauthorized(&self, sender: SocketAddr, has_one: bool) {
        if self.unauthorized_log.is_due() {
            warn!(
                %sender, has_one,
                "requests without a valid token are refused with 401 (logged once a minute)"
            );
        }
    }

    /// Reads, checks and stores the body of a post that was let in.
    async fn take(&self, head: Head<'_>, body: &mut Incoming, ticket: &Ticket) -> Outcome {
        let _under_way = self.under_way.subscribe();
        let place = ticket.post().await;
        let bound = TimeBound::new(clock::now(), head.date, self.max_future_seconds);
        let limit = self.reader.max_bytes();
        let decoder = Decoder::new(head.encoding, bound, limit, head.key.is_some());
        let read = tokio::select! {
            read = self.reader.read(body, decoder) => read,
            () = place.refused() => Err(Outcome::Busy),
        };
        let (lines, digest, room) = match read {
            Ok(read) => read,
            Err(outcome) => return outcome,
        };
        if !place.store() {
            return Outcome::Busy;
        }
        if clocks_differ(&lines, head.date) {
            return Outcome::ClockSkew;
        }
        self.note_rejected(&lines).await;
        if lines.counts.accepted == 0 {
            return Outcome::NothingUsable(lines.counts);
        }
        let first_block = lines.good.first().cloned();
        let post = Post {
            lines: lines.good,
            counts: lines.counts,
            key: head
                .key
                .zip(digest)
                .map(|(key, digest)| Key::new(&key, &digest)),
        };
        match head.store.committer.store(post, Some(room)).await {
            Ok(Stored::Now(answer)) => {
                self.history.stored(first_block.as_deref());
                if let Some(time) = head.result_time {
                    let age = clock::now().saturating_sub(time);
                    self.metrics.result_age_seconds.observe(age as f64);
                    self.metrics.result_lines.inc_by(answer.counts.accepted);
                }
                Outcome::Stored(answer)
            }
            Ok(Stored::Before(answer)) => Outcome::Repeated(answer),
            Err(StoreError::Full) => Outcome::Full,
            Err(StoreError::Disk) => Outcome::Disk,
        }
    }

    /// Counts the refused lines, and keeps samples of them.
    async fn note_rejected(&self, lines: &CheckedLines) {
        if lines.counts.rejected_total == 0 {
            return;
        }
        for (reason, count) in Reason::VARIANTS.iter().zip(lines.by_reason) {
            self.metrics.lines_rejected.add(reason.name(), count);
        }
        self.history.refused(lines);
        let log = Arc::clone(&self.reject_log);
        let (samples, total) = (lines.samples.clone(), lines.counts.rejected_total);
        blocking::run(move || log.note(&samples, total)).await;
    }
}

/// Whether it is not the lines' fault that they seem to be from the future: clocks differ. Without a
/// clock of the sender that shows when no line at all is good.
fn clocks_differ(lines: &CheckedLines, date: Option<u64>) -> bool {
    let all_ahead = date.is_none()
        && lines.counts.accepted == 0
        && lines.refused(Reason::TimestampInFuture) > 0;
    all_ahead || lines.refused(Reason::ClocksDiffer) > 0
}

/// A header that is a number of seconds; what is none is of no use, and costs no line.
fn seconds(value: Option<&HeaderValue>) -> Option<u64> {
    value?.to_str().ok()?.trim().parse().ok()
}

/// The `Date` header in seconds since 1970.
fn date(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let time = httpdate::parse_http_date(text).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}
