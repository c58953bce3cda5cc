//! The way of a post: let in by its head, read and checked, stored, answered.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, DATE, HeaderMap, HeaderValue, ORIGIN};
use tracing::warn;

use super::response::Refusal;
use super::{Service, Store};
use crate::blocking;
use crate::clock;
use crate::lines::validate::TimeBound;
use crate::lines::{CheckedLines, Reason};
use crate::server::admission::Ticket;
use crate::spool::keys::Key;
use crate::spool::store::{Post, Stored};

/// A post that was let in: what its head says.
pub(super) struct Admitted<'a> {
    store: &'a Store,
    is_gzip: bool,
    key: Option<HeaderValue>,
    /// The sender's clock, in seconds since 1970.
    date: Option<u64>,
    /// When the one result was measured that the lines are of, in seconds since 1970.
    result_time: Option<u64>,
}

impl Service {
    /// Decides by the head alone, before anything of the body is read.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        body: &Incoming,
        ticket: &Ticket,
    ) -> Result<Admitted<'_>, Refusal> {
        match &self.tokens {
            Some(tokens) if !tokens.current().allow(headers) => {
                self.note_unauthorized(ticket, headers.contains_key(AUTHORIZATION));
                return Err(Refusal::Unauthorized);
            }
            Some(_) => {}
            // A page of any site may have a browser post to a relay on its user's machine. No sender
            // but a browser says where a page is from.
            None if headers.contains_key(ORIGIN) => return Err(Refusal::ForeignOrigin),
            None => {}
        }
        if self.is_stopping() {
            return Err(Refusal::Draining);
        }
        let store = self.store.get().ok_or(Refusal::Starting)?;
        let is_gzip = match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None => false,
            Some(name) if name.eq_ignore_ascii_case(b"identity") => false,
            Some(name) if name.eq_ignore_ascii_case(b"gzip") => true,
            Some(_) => return Err(Refusal::UnknownEncoding),
        };
        self.reader.admit(body)?;
        Ok(Admitted {
            store,
            is_gzip,
            key: headers.get("idempotency-key").cloned(),
            date: date(headers),
            result_time: seconds(headers.get("result-time")),
        })
    }

    /// Logs that a request had no valid token.
    pub(super) fn note_unauthorized(&self, ticket: &Ticket, has_one: bool) {
        if self.unauthorized_log.is_due() {
            warn!(
                sender = %ticket.sender, has_one,
                "requests without a valid token are refused with 401 (logged once a minute): give the \
                 sender a line of the token file (the component's variable relay_token)"
            );
        }
    }

    /// Reads, checks and stores the body of a post that was let in.
    pub(super) async fn take(
        &self,
        head: Admitted<'_>,
        body: &mut Incoming,
        ticket: &Ticket,
    ) -> Result<Stored, Refusal> {
        let _under_way = self.under_way.subscribe();
        let mut place = ticket.post().await;
        let bound = TimeBound::new(clock::now(), head.date, self.max_future_seconds);
        let wants_digest = head.key.is_some();
        let (lines, room) = tokio::select! {
            read = self.reader.read(body, head.is_gzip, bound, wants_digest) => read?,
            () = place.refused() => return Err(Refusal::Busy),
        };
        if !place.store() {
            return Err(Refusal::Busy);
        }
        if clocks_differ(&lines, head.date) {
            return Err(Refusal::ClockSkew);
        }
        self.note_rejected(&lines).await;
        if lines.counts.accepted == 0 {
            return Err(Refusal::NothingUsable(lines.counts));
        }
        let first_block = lines.good.first().cloned();
        let key = head.key.zip(lines.digest);
        let post = Post {
            lines: lines.good,
            counts: lines.counts,
            key: key.map(|(key, digest)| Key::new(key.as_bytes(), &digest)),
        };
        let stored = head.store.committer.store(post, Some(room)).await?;
        if let Stored::Now(answer) = &stored {
            self.history.stored(first_block.as_deref());
            if let Some(time) = head.result_time {
                let age = clock::now().saturating_sub(time);
                self.metrics.result_age_seconds.observe(age as f64);
                self.metrics.result_lines.inc_by(answer.counts.accepted);
            }
        }
        Ok(stored)
    }

    /// Counts the refused lines, and keeps samples of them.
    async fn note_rejected(&self, lines: &CheckedLines) {
        if lines.samples.is_empty() {
            return;
        }
        for (reason, count) in &lines.by_reason {
            self.metrics.lines_rejected.add(reason.into(), *count);
        }
        self.history.refused(lines);
        let log = Arc::clone(&self.reject_log);
        let samples = lines.samples.clone();
        blocking::run(move || log.note(&samples)).await;
    }
}

/// Whether it is not the lines' fault that they seem to be from the future: clocks differ. Without a
/// clock of the sender that shows when no line at all is good.
fn clocks_differ(lines: &CheckedLines, date: Option<u64>) -> bool {
    let has = |reason| lines.by_reason.contains_key(&reason);
    let all_ahead = date.is_none() && lines.counts.accepted == 0 && has(Reason::TimestampInFuture);
    all_ahead || has(Reason::ClocksDiffer)
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
